// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <poll.h>

#include "absl/strings/str_cat.h"
#include "demo/serve.h"
#include "sdk/connection.h"

namespace linchpin::demo {
namespace {

// In TLS 1.3 a client's handshake ends before the server has judged it: the byte that comes back
// is what shows that it was let in.
absl::Status CallOnce(const tls::ClientTls& client, const CallOptions& options, Events* events) {
  if (options.unjudged) return CallUnjudged(client, options);
  auto connection =
      tls::Connection::Connect(client, options.address, options.expected_id, kPatience);
  if (!connection.ok()) return connection.status();
  if (absl::Status sent = (*connection)->Write("?", kPatience); !sent.ok()) return sent;
  auto byte = (*connection)->Read(1, kPatience);
  if (!byte.ok()) return byte.status();
  if (byte->empty()) return absl::UnavailableError("the server has closed before its byte");
  events->Succeeded((*connection)->peer_id(), (*connection)->group());
  return absl::OkStatus();
}

}  // namespace

absl::Status Call(const tls::ClientTls& client, const CallOptions& options, int stop_fd,
                  Events* events) {
  const int interval_ms = static_cast<int>(absl::ToInt64Milliseconds(options.interval));
  const int a_second = interval_ms > 0 ? 1 + 1000 / interval_ms : 100;
  uint64_t failed = 0;
  pollfd stop{stop_fd, POLLIN, 0};
  for (int made = 0; options.connections == 0 || made < options.connections; ++made) {
    if (absl::Status done = CallOnce(client, options, events); !done.ok()) {
      ++failed;
      events->Failed(ReasonWord(done), std::string(done.message()));
    }
    if (made % a_second == 0) events->Counts();
    if (poll(&stop, 1, interval_ms) != 0) break;
  }
  events->Counts();
  if (failed == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(failed, " connections were refused or failed"));
}

}  // namespace linchpin::demo
