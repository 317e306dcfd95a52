// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/relay.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

#include "gtest/gtest.h"

namespace linchpin::rpc {
namespace {

using State = Relay::State;

class RelayTest : public ::testing::Test {
 protected:
  RelayTest() {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, caller_), 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, server_), 0);
    relay_ = std::make_unique<Relay>(caller_[1], server_[1]);
  }
  ~RelayTest() override {
    relay_.reset();
    for (const int fd : {caller_[0], server_[0]}) {
      if (fd >= 0) close(fd);
    }
  }

  State Pump() {
    return relay_->Pump([this](absl::string_view bytes) {
      seen_.append(bytes.data(), bytes.size());
      return admit_;
    });
  }
  static std::string Read(int fd) {
    std::string got(1 << 20, '\0');
    const ssize_t size = recv(fd, got.data(), got.size(), 0);
    got.resize(size < 0 ? 0 : static_cast<size_t>(size));
    return got;
  }
  // Until the socket takes no more.
  static size_t Fill(int fd) {
    const std::string piece(8192, 'x');
    size_t filled = 0;
    while (true) {
      const ssize_t size = send(fd, piece.data(), piece.size(), MSG_NOSIGNAL);
      if (size <= 0) return filled;
      filled += static_cast<size_t>(size);
    }
  }
  static void Close(int& fd) {
    close(fd);
    fd = -1;
  }

  int caller_[2];
  int server_[2];
  bool admit_ = true;
  std::string seen_;
  std::unique_ptr<Relay> relay_;
};

TEST_F(RelayTest, CarriesBothWays) {
  ASSERT_EQ(send(caller_[0], "ask", 3, 0), 3);
  ASSERT_EQ(send(server_[0], "answer", 6, 0), 6);
  EXPECT_EQ(Pump(), State::kOpen);
  EXPECT_EQ(Read(server_[0]), "ask");
  EXPECT_EQ(Read(caller_[0]), "answer");
  EXPECT_EQ(seen_, "ask");
  EXPECT_EQ(relay_->CallerEvents(), uint32_t{EPOLLIN});
  EXPECT_EQ(relay_->ServerEvents(), uint32_t{EPOLLIN});
}

TEST_F(RelayTest, WhatIsNotAdmittedIsNotPassedOn) {
  admit_ = false;
  ASSERT_EQ(send(caller_[0], "ask", 3, 0), 3);
  EXPECT_EQ(Pump(), State::kRefused);
  EXPECT_EQ(Read(server_[0]), "");
}

TEST_F(RelayTest, FromOneWhoDoesNotReadNothingIsTaken) {
  size_t sent = 0;
  while (relay_->CallerEvents() == EPOLLIN) {
    sent += Fill(server_[0]);
    ASSERT_EQ(Pump(), State::kOpen);
  }
  sent += Fill(server_[0]);
  EXPECT_EQ(relay_->CallerEvents(), uint32_t{EPOLLOUT});
  EXPECT_EQ(relay_->ServerEvents(), 0u);
  ASSERT_EQ(send(caller_[0], "more", 4, 0), 4);
  EXPECT_EQ(Pump(), State::kOpen);
  EXPECT_EQ(seen_, "");
  size_t got = 0;
  while (got < sent) {
    got += Read(caller_[0]).size();
    ASSERT_EQ(Pump(), State::kOpen);
  }
  EXPECT_EQ(got, sent) << "nothing is lost";
  EXPECT_EQ(seen_, "more");
}

TEST_F(RelayTest, WaitsForAServerThatDoesNotRead) {
  size_t sent = 0;
  while (relay_->CallerEvents() == EPOLLIN) {
    sent += Fill(caller_[0]);
    ASSERT_EQ(Pump(), State::kOpen);
  }
  EXPECT_EQ(relay_->CallerEvents(), 0u);
  EXPECT_EQ(relay_->ServerEvents(), uint32_t{EPOLLIN | EPOLLOUT});
  ASSERT_EQ(send(server_[0], "answer", 6, 0), 6);
  EXPECT_EQ(Pump(), State::kOpen);
  EXPECT_EQ(Read(caller_[0]), "answer");
  size_t got = 0;
  while (got < sent) {
    got += Read(server_[0]).size();
    ASSERT_EQ(Pump(), State::kOpen);
  }
  EXPECT_EQ(got, sent);
}

TEST_F(RelayTest, SaysWhoHasGoneAfterTheLastWords) {
  ASSERT_EQ(send(server_[0], "bye", 3, 0), 3);
  Close(server_[0]);
  EXPECT_EQ(Pump(), State::kServerGone);
  EXPECT_EQ(Read(caller_[0]), "bye");
}

TEST_F(RelayTest, ACallerThatHangsUpHasGone) {
  Close(caller_[0]);
  EXPECT_EQ(Pump(), State::kCallerGone);
}

TEST_F(RelayTest, HangingUpEndsWhenTheServerHasClosed) {
  relay_->HangUp();
  EXPECT_EQ(recv(caller_[0], seen_.data(), 0, 0), 0);
  EXPECT_EQ(Read(caller_[0]), "");
  Fill(server_[0]);
  while (!relay_->Drain()) {
    if (server_[0] >= 0) Close(server_[0]);
  }
  EXPECT_EQ(server_[0], -1);
}

TEST_F(RelayTest, FromACallerWhoIsNotHeardNothingIsTaken) {
  ASSERT_EQ(send(caller_[0], "later", 5, 0), 5);
  relay_->Hear(false);
  EXPECT_EQ(Pump(), State::kOpen);
  EXPECT_EQ(seen_, "");
  EXPECT_EQ(relay_->CallerEvents(), 0u);
  ASSERT_EQ(send(server_[0], "answer", 6, 0), 6);
  EXPECT_EQ(Pump(), State::kOpen);
  EXPECT_EQ(Read(caller_[0]), "answer");
  relay_->Hear(true);
  EXPECT_EQ(Pump(), State::kOpen);
  EXPECT_EQ(seen_, "later");
}

}  // namespace
}  // namespace linchpin::rpc
