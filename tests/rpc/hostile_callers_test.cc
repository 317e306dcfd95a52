// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "rpc/channel.h"
#include "tests/rpc/local_fixture.h"
#include "tests/rpc/node_server.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::CallGetTrust;
using ::linchpin::test::StatusIs;

constexpr int kDeadline = 30'000;  // ms
const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const std::string kSettings{0, 0, 0, 4, 0, 0, 0, 0, 0};

bool Closed(int fd) {
  pollfd asked{fd, POLLIN | POLLRDHUP, 0};
  while (poll(&asked, 1, kDeadline) == 1) {
    std::array<char, 4096> bytes;
    if (recv(fd, bytes.data(), bytes.size(), 0) <= 0) return true;
  }
  return false;
}

bool StaysOpen(int fd) {
  pollfd asked{fd, POLLRDHUP, 0};
  return poll(&asked, 1, 0) == 0;
}

// Room for 24 parked, or 6 served, of one user; four users would fill it.
class HostileCallersTest : public LocalServerTest {
 protected:
  explicit HostileCallersTest(absl::Duration patience = absl::Hours(1))
      : LocalServerTest({.places = 1280, .places_of_user = 24, .kept = 16, .patience = patience}) {}
  ~HostileCallersTest() override {
    for (const int fd : open_) close(fd);
    for (const pid_t heir : heirs_) {
      kill(heir, SIGKILL);
      waitpid(heir, nullptr, 0);
    }
  }

  int Caller(const std::string& first_bytes = "") {
    const int fd = Socket();
    open_.push_back(fd);
    EXPECT_TRUE(Connect(fd, path_));
    if (!first_bytes.empty()) {
      EXPECT_EQ(send(fd, first_bytes.data(), first_bytes.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(first_bytes.size()));
    }
    return fd;
  }
  // Polls what the server says of itself.
  template <typename Predicate>
  bool Await(Predicate predicate) {
    for (int tries = 0; tries < kDeadline / 5; ++tries) {
      if (predicate(server_->counts())) return true;
      poll(nullptr, 0, 5);
    }
    return false;
  }

  std::vector<int> open_;
  std::vector<pid_t> heirs_;
};

class ImpatientTest : public HostileCallersTest {
 protected:
  ImpatientTest() : HostileCallersTest(absl::Milliseconds(200)) {}
};

TEST_F(HostileCallersTest, ASilentConnectionIsNotServed) {
  Serve();
  const int silent = Caller();
  const int half = Caller(kPreface.substr(0, 3));
  const int without_settings = Caller(kPreface);
  EXPECT_TRUE(Await([](const auto& counts) { return counts.parked == 3; }));
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
  for (const int fd : {silent, half, without_settings}) EXPECT_TRUE(StaysOpen(fd));
  EXPECT_EQ(server_->counts().parked, 3u);
}

TEST_F(HostileCallersTest, WhatComesInPiecesIsServedOnceItIsWhole) {
  Serve();
  const int fd = Caller();
  for (const char byte : kPreface + kSettings) {
    EXPECT_EQ(server_->counts().served, 0u);
    ASSERT_EQ(send(fd, &byte, 1, MSG_NOSIGNAL), 1);
  }
  EXPECT_TRUE(Await([](const auto& counts) { return counts.served == 1; }));
  char settings[9];
  EXPECT_EQ(recv(fd, settings, sizeof(settings), MSG_WAITALL), 9);
  EXPECT_EQ(settings[3], 4) << "SETTINGS of the server";
}

TEST_F(ImpatientTest, PatienceWithTheSilentEnds) {
  Serve();
  for (const std::string& bytes : {std::string(), kPreface.substr(0, 3), kPreface}) {
    EXPECT_TRUE(Closed(Caller(bytes)));
  }
  EXPECT_TRUE(Await([](const auto& counts) { return counts.overdue == 3 && counts.parked == 0; }));
}

TEST_F(HostileCallersTest, GarbageIsClosedAtOnceAndOthersAreServed) {
  Serve();
  for (int i = 0; i < 1000; ++i) {
    const char first = static_cast<char>(i % 255 < 'P' ? i % 255 : i % 255 + 1);
    const int fd = Caller(std::string(1 + i % 50, first));
    EXPECT_TRUE(Closed(fd));
    close(fd);
    open_.pop_back();
  }
  EXPECT_TRUE(Await([](const auto& counts) { return counts.foreign == 1000; }));
  EXPECT_EQ(server_->counts().served, 0u);
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
}

TEST_F(HostileCallersTest, OneWhoHangsUpIsForgotten) {
  Serve();
  for (const std::string& bytes : {std::string(), kPreface.substr(0, 3), kPreface + kSettings}) {
    for (int i = 0; i < 100; ++i) {
      close(Caller(bytes));
      open_.pop_back();
    }
  }
  // Until the last is, its user may have too many.
  EXPECT_TRUE(Await([&](const auto&) { return CallGetTrust(UnixChannel(path_)).ok(); }));
  EXPECT_TRUE(Await([](const auto& counts) { return counts.parked + counts.served == 0; }));
}

TEST_F(HostileCallersTest, AUsersOldestSilentConnectionsGoWhenItHasTooMany) {
  Serve();
  std::vector<int> callers;
  for (int i = 0; i < 50; ++i) callers.push_back(Caller());
  // Root's share has what is kept for it.
  const int held = getuid() == 0 ? 40 : 24;
  for (int i = 0; i < 50 - held; ++i) EXPECT_TRUE(Closed(callers[static_cast<size_t>(i)])) << i;
  EXPECT_TRUE(Await([&](const auto& c) { return c.parked == static_cast<size_t>(held); }));
  EXPECT_TRUE(StaysOpen(callers.back()));
}

TEST_F(HostileCallersTest, AUsersServedConnectionsAreLimitedAndGiveTheirPlacesBack) {
  Serve();
  const size_t served = getuid() == 0 ? 10 : 6;
  std::vector<int> callers;
  for (size_t i = 0; i < served; ++i) callers.push_back(Caller(kPreface + kSettings));
  EXPECT_TRUE(Await([&](const auto& counts) { return counts.served == served; }));
  const int excess = Caller();
  const std::string begin = kPreface + kSettings;
  (void)send(excess, begin.data(), begin.size(), MSG_NOSIGNAL);  // it may be closed already
  EXPECT_TRUE(Closed(excess));
  for (const int fd : callers) EXPECT_TRUE(StaysOpen(fd));
  EXPECT_TRUE(Await([&](const auto& counts) { return counts.refused == 1; }));
  close(callers[0]);
  open_.erase(open_.begin());
  EXPECT_TRUE(Await([&](const auto& counts) { return counts.served == served - 1; }));
  EXPECT_OK(CallGetTrust(UnixChannel(path_)));
}

// A call of no method, in as few bytes as can be.
std::string EmptyCall(uint32_t stream) {
  const std::string block = "\x83\x86\x84";  // POST, http, the path /
  std::string frame{0, 0, static_cast<char>(block.size()), 1, 5};
  for (int shift = 24; shift >= 0; shift -= 8) frame.push_back(static_cast<char>(stream >> shift));
  return frame + block;
}

TEST_F(HostileCallersTest, AUserWhoCallsTooOftenIsHeardMoreSlowlyAndNobodyIsHungUpOn) {
  if (getuid() != 0) GTEST_SKIP() << "another user is needed: run as root";
  constexpr uid_t kUser = 54321;
  ASSERT_EQ(chmod(dir_.path().c_str(), 0711), 0);
  Connector first(path_, kUser);
  Connector second(path_, kUser);
  Connector innocent(path_, kUser);
  Serve();
  constexpr uint32_t kCalls = 3000;  // of each: together more than there may be at once
  std::vector<std::thread> callers;
  std::atomic<int> answered = 0;
  for (const Connector* connector : {&first, &second}) {
    const int fd = connector->TakeFd();
    open_.push_back(fd);
    callers.emplace_back([fd] {
      std::string bytes = kPreface + kSettings;
      for (uint32_t i = 0; i < kCalls; ++i) bytes += EmptyCall(2 * i + 1);
      EXPECT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(bytes.size()));
    });
    callers.emplace_back([fd, &answered] {
      const std::string last = EmptyCall(2 * kCalls - 1).substr(5, 4);
      std::string heard;
      char bytes[4096];
      while (heard.find(last) == std::string::npos) {
        const ssize_t size = recv(fd, bytes, sizeof(bytes), 0);
        if (size <= 0) return;
        heard.append(bytes, static_cast<size_t>(size));
      }
      ++answered;
    });
  }
  EXPECT_OK(CallGetTrust(ChannelOver(innocent.TakeFd())));
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answered, 2) << "both had their answers";
  EXPECT_EQ(server_->counts().abusive, 0u);
}

TEST_F(HostileCallersTest, AFileThatIsSentAlongIsNotTaken) {
  Serve();
  const int fd = Caller(kPreface + kSettings);
  EXPECT_TRUE(Await([](const auto& counts) { return counts.served == 1; }));
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  Connector::SendFd(fd, pipes[1]);  // from Linux 6.16 on it is refused at once
  close(pipes[1]);
  // The last end of the pipe that could be written to has gone: nobody took it.
  pollfd asked{pipes[0], POLLIN, 0};
  EXPECT_EQ(poll(&asked, 1, kDeadline), 1);
  EXPECT_NE(asked.revents & POLLHUP, 0);
  close(pipes[0]);
}

// A process of just that pid, which does nothing and has none of our descriptors; -1 with errno.
pid_t ForkAs(pid_t pid) {
  clone_args args = {};
  args.exit_signal = SIGCHLD;
  args.set_tid = reinterpret_cast<uintptr_t>(&pid);
  args.set_tid_size = 1;
  const auto heir = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof(args)));
  if (heir != 0) return heir;
  close_range(3, ~0U, 0);  // the server's own too
  while (true) pause();
}

TEST_F(HostileCallersTest, AProcessThatWasGivenACallersPidIsNotThatCaller) {
  Connector parked(path_);
  Connector served(path_);
  Serve();
  const auto channel = ChannelOver(served.TakeFd());
  EXPECT_OK(CallGetTrust(channel));
  const auto peer = last();
  ASSERT_NE(peer, nullptr);
  const int fd = parked.TakeFd();
  EXPECT_TRUE(Await([](const auto& counts) { return counts.parked == 1; }));

  for (Connector* one : {&parked, &served}) {
    const pid_t pid = one->pid();
    one->End();
    const pid_t heir = ForkAs(pid);
    if (heir < 0 && (errno == EPERM || errno == ENOSYS)) {
      GTEST_SKIP() << "a pid cannot be chosen here; be root";
    }
    // Where somebody else's process was given it meanwhile, that one is the heir.
    if (heir < 0) {
      ASSERT_EQ(errno, EEXIST);
    } else {
      heirs_.push_back(heir);
    }
  }
  EXPECT_FALSE(peer->IsAlive());
  EXPECT_THAT(CallGetTrust(channel), StatusIs(absl::StatusCode::kUnavailable));
  const std::string hello = kPreface + kSettings;
  EXPECT_EQ(send(fd, hello.data(), hello.size(), MSG_NOSIGNAL), 33);
  EXPECT_TRUE(Closed(fd));
  EXPECT_TRUE(Await([](const auto& counts) { return counts.refused == 1; }));
  close(fd);
}

}  // namespace
}  // namespace linchpin::rpc
