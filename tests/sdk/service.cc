// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sdk/service.h"

#include <sys/un.h>

#include <cstring>

namespace linchpin::test {
namespace {

using ConnectionOr = absl::StatusOr<std::unique_ptr<tls::Connection>>;

void Greet(ConnectionOr* connection, bool first) {
  if (!connection->ok()) return;
  tls::Connection& c = ***connection;
  if (first) {
    if (absl::Status sent = c.Write("x", kLong); !sent.ok()) {
      *connection = sent;
      return;
    }
  }
  absl::StatusOr<std::string> got = c.Read(1, kLong);
  if (!got.ok() || got->empty()) {
    *connection = got.ok() ? absl::UnavailableError("the peer has closed") : got.status();
    return;
  }
  if (first) return;
  if (absl::Status sent = c.Write("y", kLong); !sent.ok()) *connection = sent;
}

}  // namespace

Listener::Listener() : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = dir_.Join("s");
  std::memcpy(address.sun_path, path.data(), path.size());
  EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(listen(fd_, 16), 0);
}

Pair Meet(const tls::ClientTls& client, const tls::ServerTls& server,
          const std::string& expected_id) {
  Listener listener;
  Pair pair;
  std::thread serving([&] {
    pair.server = tls::Connection::Accept(server, listener.Accept(), kLong);
    Greet(&pair.server, false);
  });
  pair.client = tls::Connection::Connect(client, listener.address(), expected_id, kLong);
  Greet(&pair.client, true);
  // A client that fails must not leave its server waiting for a byte.
  if (!pair.client.ok()) pair.client = pair.client.status();
  serving.join();
  return pair;
}

void ExpectAlive(Pair& pair) {
  ASSERT_OK(pair.client);
  ASSERT_OK(pair.server);
  EXPECT_OK((*pair.client)->Write("a", kLong));
  EXPECT_THAT((*pair.server)->Read(1, kLong), IsOkAndHolds(std::string("a")));
  EXPECT_OK((*pair.server)->Write("b", kLong));
  EXPECT_THAT((*pair.client)->Read(1, kLong), IsOkAndHolds(std::string("b")));
}

}  // namespace linchpin::test
