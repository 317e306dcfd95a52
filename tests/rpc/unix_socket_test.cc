// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/unix_socket.h"

#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"
#include "tests/rpc/callers.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::StatusIs;

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

mode_t ModeOf(const std::string& path) {
  struct stat found {};
  EXPECT_EQ(stat(path.c_str(), &found), 0);
  return found.st_mode & 07777;
}

TEST(UnixSocket, HasItsMode) {
  test::TempDir dir;
  ASSERT_OK_AND_ASSIGN(const auto closed, UnixSocket::Bind(dir.Join("a"), 0600));
  ASSERT_OK_AND_ASSIGN(const auto open, UnixSocket::Bind(dir.Join("b"), 0666));
  EXPECT_EQ(ModeOf(dir.Join("a")), 0600u);
  EXPECT_EQ(ModeOf(dir.Join("b")), 0666u);
}

TEST(UnixSocket, ReplacesAStaleOneButNeverALiveOne) {
  test::TempDir dir;
  const int stale = Socket();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, dir.Join("s").c_str());
  ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(stale);
  ASSERT_OK_AND_ASSIGN(const auto socket, UnixSocket::Bind(dir.Join("s"), 0600));
  EXPECT_THAT(UnixSocket::Bind(dir.Join("s"), 0600).status(),
              StatusIs(kPrecondition, "another process listens on " + dir.Join("s")));
}

TEST(UnixSocket, IsNotMadeWhereFilesHaveRunOut) {
  test::TempDir dir;
  const int next = dup(0);
  close(next);
  const absl::Status status = [&] {
    const OutOfFiles none(static_cast<rlim_t>(next));
    return UnixSocket::Bind(dir.Join("s"), 0600).status();
  }();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, "Too many open files"));
  EXPECT_FALSE(std::filesystem::exists(dir.Join("s")));
}

TEST(UnixSocket, NeverRemovesWhatIsNoSocket) {
  test::TempDir dir;
  std::filesystem::create_directory(dir.Join("d"));
  EXPECT_THAT(UnixSocket::Bind(dir.Join("d"), 0600).status(),
              StatusIs(kPrecondition, "is no socket"));
  EXPECT_TRUE(std::filesystem::exists(dir.Join("d")));
}

TEST(UnixSocket, RefusesAPathThatNoSocketCanHave) {
  for (const std::string& path :
       {std::string("relative"), std::string(), "/tmp/" + std::string(200, 'x')}) {
    EXPECT_THAT(UnixSocket::Bind(path, 0600).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, "absolute path"));
  }
  EXPECT_THAT(UnixSocket::Bind("/nonexistent/s", 0600).status(),
              StatusIs(absl::StatusCode::kNotFound, "/nonexistent/s"));
}

}  // namespace
}  // namespace linchpin::rpc
