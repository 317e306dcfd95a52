// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Sends back what it is sent, to those whom peer policy lets in.
//
//   echo_server PORT

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "sdk/connection.h"
#include "sdk/context_source.h"
#include "sdk/tls.h"

namespace tls = linchpin::tls;

namespace {

constexpr absl::Duration kPatience = absl::Minutes(1);

void Serve(const tls::ServerTls& server, int listener) {
  while (true) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    auto connection = tls::Connection::Accept(server, fd, absl::Seconds(10));
    if (!connection.ok()) continue;  // the reason is in the log
    std::printf("%s is connected\n", (*connection)->peer_id().c_str());
    while (true) {
      auto data = (*connection)->Read(4096, kPatience);
      if (!data.ok() || data->empty()) break;
      if (!(*connection)->Write(*data, kPatience).ok()) break;
    }
  }
}

int Listen(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return -1;
  return listen(fd, 64) == 0 ? fd : -1;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc != 2) return std::fprintf(stderr, "usage: echo_server PORT\n"), 2;
  auto source = tls::ContextSource::Open({});
  if (!source.ok()) return std::fprintf(stderr, "%s\n", source.status().ToString().c_str()), 1;
  if (auto ready = (*source)->WaitReady(absl::Seconds(30)); !ready.ok()) {
    return std::fprintf(stderr, "%s\n", ready.ToString().c_str()), 1;
  }
  auto server = tls::ServerTls::Make(*source, {.max_connection_age = absl::Hours(1)});
  const int listener = Listen(std::atoi(argv[1]));
  if (!server.ok() || listener < 0) return std::fprintf(stderr, "cannot listen\n"), 1;
  std::printf("%s listens on port %s\n", (*source)->Current()[0].spiffe_id.c_str(), argv[1]);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back(Serve, std::cref(**server), listener);
  for (std::thread& thread : threads) thread.join();
}
