// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_peer.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::IsOkAndHolds;
using ::linchpin::test::StatusIs;

TEST(ParseStartTime, CountsFieldsAfterTheNameWhateverTheNameIs) {
  const std::string fields =
      " S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 20 18446744073709551615";
  EXPECT_THAT(ParseStartTime("42 (cat)" + fields), IsOkAndHolds(987654u));
  EXPECT_THAT(ParseStartTime("42 (a) R 1 1 (b c) )" + fields), IsOkAndHolds(987654u));
  EXPECT_THAT(ParseStartTime("42 ()" + fields), IsOkAndHolds(987654u));
}

TEST(ParseStartTime, RefusesWhatTheKernelWouldNotWrite) {
  for (const char* text : {"", "42", "42 (cat", "42 (cat) S 1", ")",
                           "42 (c) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 x 1000"}) {
    EXPECT_THAT(ParseStartTime(text), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(UnixPeer, IsThisProcessWhenItTalksToItself) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_OK_AND_ASSIGN(const auto credentials, PeerCredentials::FromSocket(pair[0]));
  ASSERT_OK_AND_ASSIGN(const auto peer, UnixPeer::Hold(pair[0], credentials));
  EXPECT_EQ(peer->pid(), getpid());
  EXPECT_EQ(peer->uid(), getuid());
  EXPECT_EQ(peer->gid(), getgid());
  EXPECT_TRUE(peer->IsAlive());
  EXPECT_GT(peer->start_time(), 0u);
  close(pair[0]);
  close(pair[1]);
}

TEST(UnixPeer, IsNotToldFromSomethingElse) {
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  EXPECT_THAT(PeerCredentials::FromSocket(pipes[0]), StatusIs(absl::StatusCode::kInternal));
  close(pipes[0]);
  close(pipes[1]);
}

}  // namespace
}  // namespace linchpin::rpc
