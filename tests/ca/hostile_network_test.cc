// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A thousand at a time of what a network sends to the port of the nodes, while a node is served.

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>

#include "base/process.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/server_world.h"

namespace linchpin::test {
namespace {

using namespace std::string_literals;
using absl::StatusCode;

constexpr int kMany = 1000;

class Socket {
 public:
  explicit Socket(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  // The CA may have closed it already.
  void Say(const std::string& bytes) const {
    (void)send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

 private:
  int fd_;
};

// A ClientHello of TLS 1.3, made by hand: without a share, so that the server answers and waits.
std::string ClientHello() {
  const auto u16 = [](size_t n) {
    return std::string{static_cast<char>(n >> 8), static_cast<char>(n)};
  };
  const auto extension = [&](int type, const std::string& body) {
    return u16(type) + u16(body.size()) + body;
  };
  const std::string extensions = extension(43, "\x02\x03\x04"s) +
                                 extension(10, u16(2) + u16(0x0017)) +
                                 extension(13, u16(4) + u16(0x0403) + u16(0x0804)) +
                                 extension(51, u16(0)) + extension(16, u16(3) + "\x02h2"s);
  const std::string body = "\x03\x03"s + std::string(32, 'r') + "\x00"s + u16(2) + "\x13\x01"s +
                           "\x01\x00"s + u16(extensions.size()) + extensions;
  const std::string message = "\x01\x00"s + u16(body.size()) + body;
  return "\x16\x03\x01"s + u16(message.size()) + message;
}

class HostileNetwork : public Server {
 protected:
  void SetUp() override {
    base::RaiseOpenFiles();
    Server::SetUp();
    auto registered = Register("/web");
    ASSERT_OK(registered);
    identity_ = registered->identity_id();
    node_ = Join("a");
    ASSERT_NE(node_, nullptr);
  }
  void TearDown() override {
    node_.reset();
    Server::TearDown();
  }
  // A new connection, not only the one that is there.
  void ExpectNodesAreServed() {
    EXPECT_OK(Issue(*node_, identity_, *x509::MakeCertificateRequest(node_key_)));
    EXPECT_OK(Issue(*Connect(), identity_, *x509::MakeCertificateRequest(node_key_)));
  }
  void Until(const std::function<bool(const rpc::TcpListener::Counts&)>& reached) {
    const absl::Time end = Clock().Now() + absl::Seconds(60);
    while (!reached(server_->node_connections())) {
      ASSERT_LT(Clock().Now(), end);
      poll(nullptr, 0, 20);
    }
  }
  std::vector<Socket> Thousand(const std::string& bytes) {
    std::vector<Socket> sockets;
    for (int i = 0; i < kMany; ++i) {
      sockets.emplace_back(server_->port());
      if (!bytes.empty()) sockets.back().Say(bytes);
    }
    return sockets;
  }

  std::string identity_;
  std::unique_ptr<ca::v1::NodeService::Stub> node_;
};

TEST_F(HostileNetwork, SilentAndHalfHellosWaitOutsideGrpc) {
  const std::vector<Socket> silent = Thousand("");
  const std::vector<Socket> half = Thousand(ClientHello().substr(0, 60));
  Until([](const auto& counts) { return counts.parked == 2 * kMany; });
  EXPECT_LE(server_->node_connections().served, 4u);
  ExpectNodesAreServed();
  Until([](const auto& counts) { return counts.parked == 0 && counts.overdue == 2 * kMany; });
  ExpectNodesAreServed();
}

TEST_F(HostileNetwork, WhatIsNoTlsIsClosedAtOnce) {
  const std::vector<Socket> garbage = Thousand("\xde\xad\xbe\xef garbage"s);
  const std::vector<Socket> web = Thousand("GET / HTTP/1.1\r\nHost: ca\r\n\r\n");
  const std::vector<Socket> plain = Thousand("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  Until([](const auto& counts) { return counts.parked == 0 && counts.foreign == 3 * kMany; });
  ExpectNodesAreServed();
}

TEST_F(HostileNetwork, HandshakesThatNeverEndAreEndedByADeadline) {
  const std::vector<Socket> halves = Thousand(ClientHello());
  Until([](const auto& counts) { return counts.parked == 0 && counts.served >= kMany; });
  ExpectNodesAreServed();
  Until([](const auto& counts) { return counts.served <= 4; });
  ExpectNodesAreServed();
}

TEST_F(HostileNetwork, GarbageAfterTheHelloEndsTheConnection) {
  const std::vector<Socket> garbage = Thousand(ClientHello() + std::string(500, 'x'));
  Until([](const auto& counts) { return counts.parked == 0 && counts.served <= 4; });
  ExpectNodesAreServed();
}

TEST_F(HostileNetwork, AThousandStrangersGetNothingAndTakeNothing) {
  const auto held = held_;  // a stranger's is another
  for (int i = 0; i < kMany; ++i) {
    ASSERT_THAT(Issue(*Stranger(), identity_, "x"), StatusIs(StatusCode::kUnauthenticated));
  }
  held_ = held;
  Until([](const auto& counts) { return counts.served <= 4; });
  ExpectNodesAreServed();
}

}  // namespace
}  // namespace linchpin::test
