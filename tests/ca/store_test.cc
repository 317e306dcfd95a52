// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What only the SQLite store has: a file.
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "ca/store/sqlite_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::ca {
namespace {

using test::IsOkAndHolds;
using test::StatusIs;

void RunSql(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(db);
  sqlite3_close(db);
}

TEST(SqliteStore, MakesFilesThatOnlyTheirOwnerMayRead) {
  test::TempDir directory;
  const std::string path = directory.Join("store.db");
  ASSERT_OK_AND_ASSIGN(const auto store, SqliteStore::Open(path));
  ASSERT_OK(store->Commit({{"a", "1", std::nullopt}}));
  for (const std::string suffix : {"", "-wal", "-shm"}) {
    struct stat found = {};
    ASSERT_EQ(stat((path + suffix).c_str(), &found), 0) << suffix;
    EXPECT_EQ(found.st_mode & 07777, 0600u) << suffix;
  }
}

TEST(SqliteStore, TightensAModeThatIsTooLoose) {
  test::TempDir directory;
  const std::string path = directory.Join("store.db");
  ASSERT_OK(SqliteStore::Open(path));
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  ASSERT_OK(SqliteStore::Open(path));
  struct stat found = {};
  ASSERT_EQ(stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
}

TEST(SqliteStore, RefusesANewerFormatAndNamesBoth) {
  test::TempDir directory;
  const std::string path = directory.Join("store.db");
  ASSERT_OK(SqliteStore::Open(path));
  RunSql(path, "UPDATE meta SET value = 9 WHERE name = 'format'");
  const absl::Status refused = SqliteStore::Open(path).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition, "format 9"));
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition, "format 1"));
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition, path));
}

TEST(SqliteStore, RefusesTheDatabaseOfAnotherProgram) {
  test::TempDir directory;
  const std::string path = directory.Join("other.db");
  RunSql(path, "CREATE TABLE songs (title TEXT)");
  EXPECT_THAT(SqliteStore::Open(path), StatusIs(absl::StatusCode::kFailedPrecondition, "songs"));
}

TEST(SqliteStore, NamesAFileThatIsNoDatabase) {
  test::TempDir directory;
  const std::string path = directory.Join("store.db");
  std::ofstream(path) << std::string(8192, 'x');
  EXPECT_THAT(SqliteStore::Open(path), StatusIs(absl::StatusCode::kDataLoss, path));
}

TEST(SqliteStore, NamesAFileWithADamagedPage) {
  test::TempDir directory;
  const std::string path = directory.Join("store.db");
  {
    ASSERT_OK_AND_ASSIGN(const auto store, SqliteStore::Open(path));
    for (int i = 0; i < 64; ++i) {
      ASSERT_OK(store->Commit({{absl::StrCat("key", i), std::string(1000, 'v'), std::nullopt}}));
    }
  }
  ASSERT_OK_AND_ASSIGN(std::string bytes, base::ReadFile(path, 1 << 24));
  for (size_t page = 1; page < bytes.size() / 4096; ++page) {
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(page * 4096), 64, '\xa5');
  }
  ASSERT_OK(base::WriteFileDurably(path, bytes));
  EXPECT_THAT(SqliteStore::Open(path), StatusIs(absl::StatusCode::kDataLoss, path));
}

TEST(SqliteStore, SaysThatItsDirectoryIsMissing) {
  test::TempDir directory;
  EXPECT_THAT(SqliteStore::Open(directory.Join("none/store.db")),
              StatusIs(absl::StatusCode::kNotFound, "none/store.db"));
}

TEST(SqliteStore, RefusesToFollowALink) {
  test::TempDir directory;
  ASSERT_EQ(symlink("/etc/passwd", directory.Join("store.db").c_str()), 0);
  EXPECT_FALSE(SqliteStore::Open(directory.Join("store.db")).ok());
}

constexpr int kCannotMount = 77;

// A small file system of the child's own; it goes with the child.
bool MountSmallFileSystem(const std::string& path) {
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  return mount("linchpin-test", path.c_str(), "tmpfs", 0, "size=512k") == 0;
}

int CommitUntilFull(const std::string& path) {
  auto store = SqliteStore::Open(path);
  if (!store.ok()) return 10;
  uint64_t applied = 0;
  for (int i = 0; i < 100; ++i) {
    const absl::Status status =
        (*store)->Commit({{absl::StrCat("key", i), std::string(50 * 1024, 'v'), 0}}).status();
    if (status.ok()) {
      ++applied;
      continue;
    }
    if (status.code() != absl::StatusCode::kResourceExhausted) return 11;
    // It still reads, and a commit that failed left nothing.
    const auto listing = (*store)->List("");
    if (!listing.ok() || listing->records.size() != applied || listing->at != applied) return 12;
    *store = nullptr;
    store = SqliteStore::Open(path);
    return store.ok() && (*store)->Get("key0").ok() ? 0 : 13;
  }
  return 14;
}

TEST(SqliteStore, SaysThatTheDiskIsFullAndLosesNothing) {
  test::TempDir directory;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (!MountSmallFileSystem(directory.path())) _exit(kCannotMount);
    _exit(CommitUntilFull(directory.Join("store.db")));
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kCannotMount) GTEST_SKIP() << "may not mount a small file system";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace linchpin::ca
