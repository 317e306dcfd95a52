// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What only the file key manager has: files.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/durable_file.h"
#include "ca/keys/file_key_manager.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::ca {
namespace {

using test::StatusIs;
using x509::KeyType;

mode_t ModeOf(const std::string& path) {
  struct stat found = {};
  EXPECT_EQ(stat(path.c_str(), &found), 0) << path;
  return found.st_mode & 07777;
}

TEST(FileKeyManager, MakesFilesThatOnlyTheirOwnerMayRead) {
  test::TempDir directory;
  ASSERT_OK_AND_ASSIGN(const auto keys, FileKeyManager::Make(directory.Join("keys")));
  ASSERT_OK(keys->Create("root", KeyType::kP256));
  EXPECT_EQ(ModeOf(directory.Join("keys")), 0700u);
  EXPECT_EQ(ModeOf(directory.Join("keys/root.pem")), 0600u);
  ASSERT_OK_AND_ASSIGN(const std::string pem,
                       base::ReadFile(directory.Join("keys/root.pem"), 1 << 16));
  EXPECT_THAT(pem, ::testing::StartsWith("-----BEGIN PRIVATE KEY-----"));
}

TEST(FileKeyManager, LeavesNothingButTheKey) {
  test::TempDir directory;
  ASSERT_OK_AND_ASSIGN(const auto keys, FileKeyManager::Make(directory.path()));
  ASSERT_OK(keys->Create("root", KeyType::kP256));
  EXPECT_FALSE(keys->Create("root", KeyType::kP256).ok());
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    ++files;
  }
  EXPECT_EQ(files, 1u);
}

TEST(FileKeyManager, RefusesAKeyThatOthersMayRead) {
  test::TempDir directory;
  ASSERT_OK_AND_ASSIGN(const auto keys, FileKeyManager::Make(directory.path()));
  ASSERT_OK(keys->Create("root", KeyType::kP256));
  for (const mode_t mode : {0640, 0604, 0620}) {
    ASSERT_EQ(chmod(directory.Join("root.pem").c_str(), mode), 0);
    EXPECT_THAT(keys->Open("root"), StatusIs(absl::StatusCode::kFailedPrecondition, "root.pem"));
  }
  ASSERT_EQ(chmod(directory.Join("root.pem").c_str(), 0400), 0);
  EXPECT_OK(keys->Open("root"));
}

TEST(FileKeyManager, RefusesALinkInPlaceOfAKey) {
  test::TempDir directory;
  ASSERT_OK_AND_ASSIGN(const auto keys, FileKeyManager::Make(directory.path()));
  ASSERT_OK(keys->Create("root", KeyType::kP256));
  ASSERT_EQ(symlink("root.pem", directory.Join("issuer.pem").c_str()), 0);
  EXPECT_THAT(keys->Open("issuer"), StatusIs(absl::StatusCode::kFailedPrecondition, "issuer.pem"));
}

TEST(FileKeyManager, NamesAFileWithoutAKeyAndNeverQuotesIt) {
  test::TempDir directory;
  ASSERT_OK_AND_ASSIGN(const auto keys, FileKeyManager::Make(directory.path()));
  ASSERT_OK(base::WriteFileDurably(directory.Join("root.pem"), "hush-hush"));
  const absl::Status refused = keys->Open("root").status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kDataLoss, "root.pem"));
  EXPECT_THAT(std::string(refused.message()), ::testing::Not(::testing::HasSubstr("hush")));
}

TEST(FileKeyManager, MakesAKeyAlthoughACrashLeftATemporaryFile) {
  test::TempDir directory;
  ASSERT_OK_AND_ASSIGN(const auto keys, FileKeyManager::Make(directory.path()));
  std::ofstream(directory.Join("root.pem.new")) << "half a k";
  EXPECT_OK(keys->Create("root", KeyType::kP256));
  EXPECT_OK(keys->Open("root"));
}

}  // namespace
}  // namespace linchpin::ca
