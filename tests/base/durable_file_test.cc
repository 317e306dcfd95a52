// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/durable_file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::base {
namespace {

using ::linchpin::test::IsOkAndHolds;
using ::linchpin::test::StatusIs;
using ::linchpin::test::TempDir;

mode_t ModeOf(const std::string& path) {
  struct stat found {};
  EXPECT_EQ(stat(path.c_str(), &found), 0) << path;
  return found.st_mode & 07777;
}

std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

TEST(WriteFileDurably, WritesWithExactlyTheModeAndLeavesNothingElse) {
  TempDir dir;
  const mode_t old = umask(077);
  EXPECT_OK(WriteFileDurably(dir.Join("a"), "one", 0644));
  umask(old);
  EXPECT_EQ(ModeOf(dir.Join("a")), 0644u);
  EXPECT_OK(WriteFileDurably(dir.Join("a"), "two"));
  EXPECT_EQ(ModeOf(dir.Join("a")), 0600u);
  EXPECT_THAT(ReadFile(dir.Join("a"), 100), IsOkAndHolds(std::string("two")));
  EXPECT_EQ(NamesIn(dir.path()), std::vector<std::string>{"a"});
}

TEST(WriteFileDurably, KeepsTheOldFileWhenTheDiskIsFull) {
  TempDir dir;
  ASSERT_OK(WriteFileDurably(dir.Join("a"), "old"));
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 1024;
  setrlimit(RLIMIT_FSIZE, &small);
  const absl::Status status = WriteFileDurably(dir.Join("a"), std::string(100'000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, dir.path()));
  EXPECT_THAT(ReadFile(dir.Join("a"), 100), IsOkAndHolds(std::string("old")));
  EXPECT_EQ(NamesIn(dir.path()), std::vector<std::string>{"a"});
}

TEST(WriteFileDurably, ReplacesASymbolicLinkInsteadOfFollowingIt) {
  TempDir dir;
  ASSERT_OK(WriteFileDurably(dir.Join("target"), "precious"));
  ASSERT_EQ(symlink(dir.Join("target").c_str(), dir.Join("link").c_str()), 0);
  EXPECT_OK(WriteFileDurably(dir.Join("link"), "new"));
  EXPECT_THAT(ReadFile(dir.Join("target"), 100), IsOkAndHolds(std::string("precious")));
}

TEST(WriteFileDurably, NamesTheMissingDirectory) {
  TempDir dir;
  EXPECT_THAT(WriteFileDurably(dir.Join("no/such/a"), "x"),
              StatusIs(absl::StatusCode::kNotFound, dir.Join("no/such")));
  EXPECT_THAT(WriteFileDurably(dir.path() + "/", "x"),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(RemoveTemporaries, RemovesWhatAKilledWriterLeftAndNothingElse) {
  TempDir dir;
  const std::vector<std::string> kept = {"state.sealed",
                                         "state.sealed.tmp.0123456789abcde",
                                         "state.tmp.0123456789abcdeg",
                                         ".tmp.0123456789abcdef",
                                         "state.tmp.0123456789abcdef.old",
                                         "directory.tmp.0123456789abcdef"};
  for (size_t i = 0; i + 1 < kept.size(); ++i) ASSERT_OK(WriteFileDurably(dir.Join(kept[i]), "x"));
  ASSERT_OK(EnsureDirectory(dir.Join(kept.back()), 0700));
  const std::string link = "link.tmp.0123456789abcdef";
  ASSERT_EQ(symlink(dir.Join("state.sealed").c_str(), dir.Join(link).c_str()), 0);
  ASSERT_OK(WriteFileDurably(dir.Join("state.sealed.tmp.0123456789abcdef"), "half a key"));
  EXPECT_THAT(RemoveTemporaries(dir.path()), IsOkAndHolds(1));
  EXPECT_THAT(RemoveTemporaries(dir.path()), IsOkAndHolds(0));
  std::vector<std::string> left = kept;
  left.push_back(link);
  EXPECT_THAT(NamesIn(dir.path()), ::testing::UnorderedElementsAreArray(left));
  EXPECT_THAT(RemoveTemporaries(dir.Join("none")), StatusIs(absl::StatusCode::kNotFound));
}

// The name that is looked for is the one that is used.
TEST(RemoveTemporaries, KnowsTheNamesOfWriteFileDurably) {
  TempDir dir;
  const auto killed = [&] {
    signal(SIGXFSZ, SIG_DFL);
    const rlimit small{1024, 1024};
    setrlimit(RLIMIT_FSIZE, &small);
    (void)WriteFileDurably(dir.Join("a"), std::string(100'000, 'x'));
  };
  EXPECT_EXIT(killed(), ::testing::KilledBySignal(SIGXFSZ), "");
  ASSERT_EQ(NamesIn(dir.path()).size(), 1u);
  EXPECT_THAT(RemoveTemporaries(dir.path()), IsOkAndHolds(1));
}

TEST(ReadFile, RefusesMoreThanItsLimit) {
  TempDir dir;
  ASSERT_OK(WriteFileDurably(dir.Join("a"), std::string(1000, 'x')));
  EXPECT_THAT(ReadFile(dir.Join("a"), 1000), IsOkAndHolds(std::string(1000, 'x')));
  EXPECT_THAT(ReadFile(dir.Join("a"), 999), StatusIs(absl::StatusCode::kResourceExhausted, "999"));
  EXPECT_THAT(ReadFile("/dev/zero", 999), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(ReadFile, ReadsFilesThatDoNotSayTheirSize) {
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile("/proc/self/status", 1 << 20));
  EXPECT_NE(text.find("VmRSS"), std::string::npos);
  EXPECT_THAT(ReadFile("/dev/null", 10), IsOkAndHolds(std::string()));
}

TEST(ReadFile, SaysWhichFileIsMissing) {
  EXPECT_THAT(ReadFile("/nonexistent/x", 10),
              StatusIs(absl::StatusCode::kNotFound, "/nonexistent/x"));
  EXPECT_THAT(ReadFile("/tmp", 10), StatusIs(absl::StatusCode::kInternal, "/tmp"));
}

TEST(EnsureDirectory, MakesParentsAndSetsTheMode) {
  TempDir dir;
  EXPECT_OK(EnsureDirectory(dir.Join("a/b/c/"), 0700));
  EXPECT_EQ(ModeOf(dir.Join("a/b/c")), 0700u);
  EXPECT_OK(EnsureDirectory(dir.Join("a/b/c"), 0750));
  EXPECT_EQ(ModeOf(dir.Join("a/b/c")), 0750u);
}

TEST(EnsureDirectory, RefusesFilesSymbolicLinksAndSharedDirectories) {
  TempDir dir;
  ASSERT_OK(WriteFileDurably(dir.Join("file"), "x"));
  ASSERT_EQ(symlink(dir.path().c_str(), dir.Join("link").c_str()), 0);
  ASSERT_EQ(mkdir(dir.Join("shared").c_str(), 0700), 0);
  ASSERT_EQ(chmod(dir.Join("shared").c_str(), 01777), 0);
  EXPECT_THAT(EnsureDirectory(dir.Join("file"), 0700),
              StatusIs(absl::StatusCode::kFailedPrecondition, "file"));
  EXPECT_THAT(EnsureDirectory(dir.Join("link"), 0700),
              StatusIs(absl::StatusCode::kFailedPrecondition, "link"));
  EXPECT_THAT(EnsureDirectory(dir.Join("shared"), 0700),
              StatusIs(absl::StatusCode::kFailedPrecondition, "shared"));
  EXPECT_EQ(ModeOf(dir.Join("shared")), 01777u);
}

TEST(EnsureDirectory, RefusesAnotherUsersDirectory) {
  TempDir dir;
  ASSERT_EQ(mkdir(dir.Join("theirs").c_str(), 0755), 0);
  const bool given = chown(dir.Join("theirs").c_str(), 65534, 65534) == 0;
  const std::string path = given ? dir.Join("theirs") : "/usr";  // not root: root's is not ours
  EXPECT_THAT(EnsureDirectory(path, 0700),
              StatusIs(absl::StatusCode::kFailedPrecondition, "belongs to user"));
}

TEST(RemoveFileDurably, RemovesOnceAndThenSaysThatThereIsNone) {
  TempDir dir;
  ASSERT_OK(WriteFileDurably(dir.Join("a"), "x"));
  EXPECT_OK(RemoveFileDurably(dir.Join("a")));
  EXPECT_THAT(RemoveFileDurably(dir.Join("a")), StatusIs(absl::StatusCode::kNotFound));
}

TEST(DirectoryLock, IsHeldByOneAtATime) {
  TempDir dir;
  {
    ASSERT_OK_AND_ASSIGN(DirectoryLock lock, DirectoryLock::Acquire(dir.path()));
    const DirectoryLock moved = std::move(lock);
    EXPECT_THAT(DirectoryLock::Acquire(dir.path()),
                StatusIs(absl::StatusCode::kFailedPrecondition, dir.path()));
  }
  EXPECT_OK(DirectoryLock::Acquire(dir.path()));
}

TEST(ErrnoStatus, GivesEachErrorItsCode) {
  EXPECT_THAT(ErrnoStatus(ENOSPC, "write /x"),
              StatusIs(absl::StatusCode::kResourceExhausted, "cannot write /x: No space left"));
  EXPECT_THAT(ErrnoStatus(EROFS, "x"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(ErrnoStatus(EACCES, "x"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(ErrnoStatus(EIO, "x"), StatusIs(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace linchpin::base
