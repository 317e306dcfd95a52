// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/key_files.h"

#include <sys/stat.h>

#include <fstream>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::cli {
namespace {

using test::StatusIs;

TEST(KeyFiles, MakesAPrivateFileAndAPublicOne) {
  test::TempDir directory;
  const std::string path = directory.Join("alice.key");
  ASSERT_OK_AND_ASSIGN(const x509::PublicKey made, MakeKeyFile(path));
  struct stat found = {};
  ASSERT_EQ(stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
  ASSERT_OK_AND_ASSIGN(const x509::PrivateKey key, ReadPrivateKeyFile(path));
  EXPECT_TRUE(key.public_key() == made);
  for (const std::string& file : {path, path + ".pub"}) {
    ASSERT_OK_AND_ASSIGN(const x509::PublicKey read, ReadPublicKeyFile(file));
    EXPECT_TRUE(read == made) << file;
  }
}

TEST(KeyFiles, NeverReplacesAFile) {
  test::TempDir directory;
  const std::string path = directory.Join("alice.key");
  ASSERT_OK_AND_ASSIGN(const x509::PublicKey made, MakeKeyFile(path));
  EXPECT_THAT(MakeKeyFile(path), StatusIs(absl::StatusCode::kAlreadyExists, path));
  ASSERT_OK_AND_ASSIGN(const x509::PublicKey read, ReadPublicKeyFile(path));
  EXPECT_TRUE(read == made);
}

TEST(KeyFiles, RefusesAKeyThatOthersMayRead) {
  test::TempDir directory;
  const std::string path = directory.Join("alice.key");
  ASSERT_OK(MakeKeyFile(path));
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  EXPECT_THAT(ReadPrivateKeyFile(path), StatusIs(absl::StatusCode::kFailedPrecondition, path));
}

TEST(KeyFiles, NamesAFileWithoutAKey) {
  test::TempDir directory;
  const std::string path = directory.Join("none.key");
  EXPECT_THAT(ReadPrivateKeyFile(path), StatusIs(absl::StatusCode::kNotFound, path));
  std::ofstream(path) << "nothing";
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_THAT(ReadPrivateKeyFile(path), StatusIs(absl::StatusCode::kInvalidArgument, path));
  EXPECT_THAT(ReadPublicKeyFile(path), StatusIs(absl::StatusCode::kInvalidArgument, path));
}

}  // namespace
}  // namespace linchpin::cli
