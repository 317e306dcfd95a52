// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Sends one line to an echo server and prints what comes back.
//
//   echo_client HOST:PORT SPIFFE-ID TEXT

#include <cstdio>
#include <string>

#include "sdk/connection.h"
#include "sdk/context_source.h"
#include "sdk/tls.h"

namespace tls = linchpin::tls;

namespace {

constexpr absl::Duration kPatience = absl::Seconds(10);

absl::StatusOr<std::string> Ask(const std::string& address, const std::string& expected_id,
                                const std::string& text) {
  auto source = tls::ContextSource::Open({});
  if (!source.ok()) return source.status();
  if (auto ready = (*source)->WaitReady(absl::Seconds(30)); !ready.ok()) return ready;
  auto client = tls::ClientTls::Make(*source, {});
  if (!client.ok()) return client.status();
  auto connection = tls::Connection::Connect(**client, address, expected_id, kPatience);
  if (!connection.ok()) return connection.status();
  if (auto sent = (*connection)->Write(text, kPatience); !sent.ok()) return sent;
  std::string answer;
  while (answer.size() < text.size()) {
    auto data = (*connection)->Read(4096, kPatience);
    if (!data.ok()) return data.status();
    if (data->empty()) break;
    answer += *data;
  }
  return answer;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: echo_client HOST:PORT SPIFFE-ID TEXT\n");
    return 2;
  }
  auto answer = Ask(argv[1], argv[2], argv[3]);
  if (!answer.ok()) {
    std::fprintf(stderr, "%s\n", answer.status().ToString().c_str());
    return 1;
  }
  std::printf("%s\n", answer->c_str());
}
