// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/swapped_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "base/durable_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::base {
namespace {

namespace fs = std::filesystem;
using test::StatusIs;
using ::testing::HasSubstr;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

class SwappedDirectoryTest : public testing::Test {
 protected:
  absl::Status Swap(const std::string& contents) {
    return SwapFiles({.directory = path_},
                     {{.name = "chain.pem", .contents = contents},
                      {.name = "key.pem", .contents = contents, .secret = true}},
                     now_, &lock_);
  }
  std::string Read(const std::string& name) const {
    return ReadFile(path_ + "/" + name, 1 << 20).value_or("");
  }
  size_t Generations() const {
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator(path_))
      count += entry.is_directory() && !entry.is_symlink();
    return count;
  }
  mode_t Mode(const std::string& name) const {
    struct stat found {};
    EXPECT_EQ(stat((path_ + "/" + name).c_str(), &found), 0);
    return found.st_mode & 07777;
  }
  test::TempDir directory_;
  std::string path_ = directory_.Join("tls");
  WriterLock lock_;
  absl::Time now_ = absl::FromUnixMicros(
      std::chrono::duration_cast<std::chrono::microseconds>(
          std::chrono::file_clock::to_sys(fs::last_write_time(directory_.path()))
              .time_since_epoch())
          .count());
};

TEST_F(SwappedDirectoryTest, FilesAreThereByTheirNamesAndThroughCurrent) {
  ASSERT_OK(Swap("one"));
  EXPECT_EQ(Read("chain.pem"), "one");
  EXPECT_EQ(Read("current/key.pem"), "one");
  ASSERT_OK(Swap("two"));
  EXPECT_EQ(Read("chain.pem"), "two");
  EXPECT_EQ(Read("key.pem"), "two");
}

TEST_F(SwappedDirectoryTest, OnlySecretsAreClosedToOthers) {
  ASSERT_OK(Swap("one"));
  EXPECT_EQ(Mode(""), 0755u);
  EXPECT_EQ(Mode("current/"), 0755u);
  EXPECT_EQ(Mode("chain.pem"), 0644u);
  EXPECT_EQ(Mode("key.pem"), 0600u);
  ASSERT_OK(SwapFiles({.directory = path_, .secret_mode = 0640, .gid = getegid()},
                      {{.name = "key.pem", .contents = "k", .secret = true}}, now_, &lock_));
  EXPECT_EQ(Mode("key.pem"), 0640u);
}

TEST_F(SwappedDirectoryTest, AReaderWhoResolvedCurrentGoesOnWithItsGeneration) {
  ASSERT_OK(Swap("one"));
  const std::string held = fs::canonical(path_ + "/current").string();
  for (int i = 0; i < 5; ++i) ASSERT_OK(Swap("two"));
  EXPECT_EQ(ReadFile(held + "/key.pem", 100).value_or(""), "one");
}

TEST_F(SwappedDirectoryTest, OldGenerationsGoAfterAWhileAndAreNeverMany) {
  for (int i = 0; i < 40; ++i) ASSERT_OK(Swap(std::to_string(i)));
  EXPECT_EQ(Generations(), 16u);
  now_ += absl::Minutes(10);
  ASSERT_OK(Swap("last"));
  EXPECT_LE(Generations(), 2u);
  EXPECT_EQ(Read("key.pem"), "last");
}

TEST_F(SwappedDirectoryTest, AReaderOfOneGenerationNeverSeesTwo) {
  ASSERT_OK(Swap("0"));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 1; i <= 200; ++i) EXPECT_OK(Swap(std::to_string(i)));
    stop = true;
  });
  while (!stop) {
    const std::string held = fs::canonical(path_ + "/current").string();
    const auto chain = ReadFile(held + "/chain.pem", 100);
    const auto key = ReadFile(held + "/key.pem", 100);
    EXPECT_EQ(chain.value_or("no chain"), key.value_or("no key"));
  }
  writer.join();
}

TEST_F(SwappedDirectoryTest, HalfAGenerationOfAKilledWriterIsCleared) {
  ASSERT_OK(Swap("one"));
  fs::create_directory(path_ + "/.generation-2");
  std::ofstream(path_ + "/.generation-2/key.pem") << "half";
  fs::create_symlink(".generation-2", path_ + "/.current.new");
  ASSERT_OK(Swap("two"));
  EXPECT_EQ(Read("key.pem"), "two");
  EXPECT_EQ(Generations(), 2u);
  EXPECT_FALSE(fs::exists(fs::symlink_status(path_ + "/.current.new")));
}

TEST_F(SwappedDirectoryTest, WhatCannotBeWrittenLeavesTheOldFilesInForce) {
  ASSERT_OK(Swap("one"));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {.rlim_cur = 1000, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status full = Swap(std::string(2000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_THAT(full, StatusIs(absl::StatusCode::kResourceExhausted, "chain.pem"));
  EXPECT_EQ(Read("chain.pem"), "one");
  EXPECT_EQ(Read("key.pem"), "one");
  EXPECT_EQ(Generations(), 1u);
  ASSERT_OK(Swap("two"));
  EXPECT_EQ(Read("key.pem"), "two");
}

TEST_F(SwappedDirectoryTest, ADirectoryThatIsNotItsOwnIsRefused) {
  EXPECT_THAT(SwapFiles({.directory = "tls"}, {}, now_, &lock_),
              StatusIs(absl::StatusCode::kInvalidArgument, "relative"));
  EXPECT_THAT(SwapFiles({.directory = directory_.Join("no/tls")}, {}, now_, &lock_),
              StatusIs(absl::StatusCode::kNotFound));
  fs::create_directory(directory_.Join("real"));
  fs::create_directory_symlink(directory_.Join("real"), path_);
  EXPECT_THAT(Swap("x"), StatusIs(kPrecondition, "symbolic link"));
  fs::remove(path_);
  std::ofstream(path_) << "a file";
  EXPECT_THAT(Swap("x"), StatusIs(kPrecondition, "no directory"));
  fs::remove(path_);
  fs::create_directory(path_);
  std::ofstream(path_ + "/precious") << "data";
  EXPECT_THAT(Swap("x"), StatusIs(kPrecondition, "precious"));
  EXPECT_EQ(Read("precious"), "data");
  EXPECT_FALSE(fs::exists(path_ + "/.lock"));
  fs::remove(path_ + "/precious");
  std::ofstream(path_ + "/key.pem") << "somebody's";
  EXPECT_THAT(Swap("x"), StatusIs(kPrecondition, "key.pem"));
  fs::remove(path_ + "/key.pem");
  fs::permissions(path_, fs::perms::all);
  EXPECT_THAT(Swap("x"), StatusIs(kPrecondition, "writable by others"));
}

TEST_F(SwappedDirectoryTest, OneWriterADirectoryForAsLongAsItsLockLives) {
  auto first = std::make_unique<WriterLock>();
  const auto swap = [&](const std::string& contents, WriterLock* lock) {
    return SwapFiles({.directory = path_}, {{.name = "key.pem", .contents = contents}}, now_, lock);
  };
  ASSERT_OK(swap("one", first.get()));
  EXPECT_THAT(Swap("two"), StatusIs(kPrecondition, "another process writes"));
  ASSERT_OK(swap("three", first.get()));
  EXPECT_EQ(Read("key.pem"), "three");
  first.reset();
  EXPECT_OK(Swap("two"));
}

TEST_F(SwappedDirectoryTest, WhoOnlyReadsCannotKeepTheWriterOut) {
  ASSERT_OK(Swap("one"));
  // Whatever others can open, they can lock.
  std::vector<int> held;
  for (const auto& entry : fs::recursive_directory_iterator(directory_.path())) {
    struct stat found {};
    ASSERT_EQ(stat(entry.path().c_str(), &found), 0);
    if ((found.st_mode & 0004) == 0) continue;
    held.push_back(open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(flock(held.back(), LOCK_EX | LOCK_NB) == 0 || errno == EWOULDBLOCK);
  }
  EXPECT_GE(held.size(), 3u);
  EXPECT_OK(Swap("two"));
  WriterLock another;
  EXPECT_THAT(SwapFiles({.directory = path_}, {}, now_, &another),
              StatusIs(kPrecondition, "another process writes"));
  for (const int fd : held) close(fd);
  EXPECT_EQ(Mode(".lock"), 0600u);
}

TEST_F(SwappedDirectoryTest, ADirectoryThatWasMadeAnewIsLockedAnew) {
  ASSERT_OK(Swap("one"));
  fs::remove_all(path_);
  ASSERT_OK(Swap("two"));
  WriterLock another;
  EXPECT_THAT(SwapFiles({.directory = path_}, {}, now_, &another),
              StatusIs(kPrecondition, "another process writes"));
}

TEST_F(SwappedDirectoryTest, ALockThatOthersCanOpenIsRefused) {
  ASSERT_OK(Swap("one"));
  fs::permissions(path_ + "/.lock", fs::perms::owner_read | fs::perms::others_read);
  EXPECT_THAT(Swap("two"), StatusIs(kPrecondition, "alone can open"));
  fs::remove(path_ + "/.lock");
  fs::create_symlink("current/key.pem", path_ + "/.lock");
  EXPECT_THAT(Swap("two"), StatusIs(kPrecondition, "something else"));
}

}  // namespace
}  // namespace linchpin::base
