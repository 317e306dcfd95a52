// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/conformance/key_manager_conformance.h"

#include <atomic>
#include <thread>
#include <vector>

#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using x509::KeyType;
using x509::PrivateKey;

TEST_P(KeyManagerConformance, OpensTheKeyThatItMade) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey made, keys().Create("issuer-1", KeyType::kP256));
  ASSERT_OK_AND_ASSIGN(const PrivateKey opened, keys().Open("issuer-1"));
  EXPECT_EQ(opened.public_key().pin(), made.public_key().pin());
  ASSERT_OK_AND_ASSIGN(const std::string signature, opened.Sign("data"));
  EXPECT_OK(made.public_key().Verify("data", signature));
}

TEST_P(KeyManagerConformance, MakesBothTypesOfKey) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey small, keys().Create("p256", KeyType::kP256));
  ASSERT_OK_AND_ASSIGN(const PrivateKey large, keys().Create("p384", KeyType::kP384));
  EXPECT_LT(small.public_key().spki().size(), large.public_key().spki().size());
  EXPECT_OK(large.public_key().CheckLeafKey());
}

TEST_P(KeyManagerConformance, NeverReplacesAKey) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey made, keys().Create("root", KeyType::kP256));
  EXPECT_THAT(keys().Create("root", KeyType::kP256),
              StatusIs(absl::StatusCode::kAlreadyExists, "root"));
  ASSERT_OK_AND_ASSIGN(const PrivateKey opened, keys().Open("root"));
  EXPECT_EQ(opened.public_key().pin(), made.public_key().pin());
}

TEST_P(KeyManagerConformance, OneOfManyThatMakeTheSameKeyWins) {
  std::atomic<int> made{0};
  std::atomic<int> existed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const absl::Status status = keys().Create("same", KeyType::kP256).status();
      if (status.ok()) ++made;
      if (status.code() == absl::StatusCode::kAlreadyExists) ++existed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
  EXPECT_EQ(existed, 7);
}

TEST_P(KeyManagerConformance, SaysThatAKeyIsNotHere) {
  EXPECT_THAT(keys().Open("backup"), StatusIs(absl::StatusCode::kNotFound, "backup"));
  EXPECT_THAT(keys().Delete("backup"), StatusIs(absl::StatusCode::kNotFound, "backup"));
}

TEST_P(KeyManagerConformance, TakesOverAKeyThatWasMadeElsewhereAndReplacesNone) {
  const PrivateKey made = *PrivateKey::Generate(KeyType::kP256);
  ASSERT_OK(keys().Import("backup", made));
  EXPECT_OK(keys().Import("backup", made)) << "it is there already";
  ASSERT_OK_AND_ASSIGN(const PrivateKey opened, keys().Open("backup"));
  EXPECT_EQ(opened.public_key().pin(), made.public_key().pin());
  EXPECT_THAT(keys().Import("backup", *PrivateKey::Generate(KeyType::kP256)),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(keys().Import("../root", made), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(KeyManagerConformance, DeletesAKeySoThatItsNameIsFree) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey first, keys().Create("old", KeyType::kP256));
  ASSERT_OK(keys().Delete("old"));
  EXPECT_THAT(keys().Open("old"), StatusIs(absl::StatusCode::kNotFound));
  ASSERT_OK_AND_ASSIGN(const PrivateKey second, keys().Create("old", KeyType::kP256));
  EXPECT_NE(first.public_key().pin(), second.public_key().pin());
}

TEST_P(KeyManagerConformance, RefusesNamesThatCouldLeaveItsDirectory) {
  for (const std::string name : {"", "../root", "a/b", "Root", "a.b", "a b"}) {
    EXPECT_THAT(keys().Create(name, KeyType::kP256),
                StatusIs(absl::StatusCode::kInvalidArgument, "[a-z0-9-]"))
        << name;
    EXPECT_THAT(keys().Open(name), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
    EXPECT_THAT(keys().Delete(name), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
  }
  EXPECT_THAT(keys().Create(std::string(65, 'a'), KeyType::kP256),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_OK(keys().Create(std::string(64, 'a'), KeyType::kP256));
}

TEST_P(KeyManagerConformance, KeepsItsKeysWhenItIsOpenedAgain) {
  ASSERT_OK_AND_ASSIGN(const PrivateKey made, keys().Create("issuer", KeyType::kP384));
  if (!fixture_->Reopen()) GTEST_SKIP() << "nothing outlives the process";
  ASSERT_OK_AND_ASSIGN(const PrivateKey opened, keys().Open("issuer"));
  EXPECT_EQ(opened.public_key().pin(), made.public_key().pin());
}

}  // namespace
}  // namespace linchpin::test
