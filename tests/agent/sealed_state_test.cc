// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/sealed_state.h"

#include <sys/stat.h>

#include <filesystem>

#include "agent/core/model.h"
#include "base/durable_file.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::test {
namespace {

using agent::SealedState;

state::v1::AgentState State(const std::string& node) {
  state::v1::AgentState state;
  state.set_format(1);
  state.set_node_id(node);
  return state;
}

TEST(SealedState, GivesBackWhatWasSavedLast) {
  TempDir dir;
  {
    ASSERT_OK_AND_ASSIGN(const SealedState sealed, SealedState::Open(dir.path()));
    ASSERT_OK_AND_ASSIGN(const auto nothing, sealed.Load());
    EXPECT_FALSE(nothing.has_value());
    ASSERT_OK(sealed.Save(State("one")));
    ASSERT_OK(sealed.Save(State("two")));
  }
  ASSERT_OK_AND_ASSIGN(const SealedState sealed, SealedState::Open(dir.path()));
  ASSERT_OK_AND_ASSIGN(const auto state, sealed.Load());
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->node_id(), "two");
}

TEST(SealedState, HoldsNoPlaintextAndIsItsOwnersAlone) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(const SealedState sealed, SealedState::Open(dir.path()));
  ASSERT_OK(sealed.Save(State("a very recognisable name")));
  ASSERT_OK_AND_ASSIGN(const std::string bytes, base::ReadFile(sealed.path(), 1 << 20));
  EXPECT_EQ(bytes.find("recognisable"), std::string::npos);
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
    struct stat found {};
    ASSERT_EQ(stat(entry.path().c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 077, 0u) << entry.path();
  }
}

TEST(AgentState, IsWipedOfTheNodesKeyAndTheServicesKeys) {
  state::v1::AgentState state = State("one");
  state.mutable_node_certificate()->set_private_key("the node's");
  state.add_certificates()->set_private_key("a service's");
  state.add_certificates()->set_private_key("another's");
  agent::WipeKeys(&state);
  EXPECT_EQ(state.node_certificate().private_key(), "");
  for (const auto& certificate : state.certificates()) EXPECT_EQ(certificate.private_key(), "");
  EXPECT_EQ(state.node_id(), "one");
  state::v1::AgentState empty;
  agent::WipeKeys(&empty);
  EXPECT_FALSE(empty.has_node_certificate());
}

TEST(SealedState, NamesADamagedFileAndLeavesItAlone) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(const SealedState sealed, SealedState::Open(dir.path()));
  ASSERT_OK(sealed.Save(State("one")));
  ASSERT_OK_AND_ASSIGN(std::string bytes, base::ReadFile(sealed.path(), 1 << 20));
  for (const size_t cut : {bytes.size() - 1, bytes.size() / 2, size_t{1}, size_t{0}}) {
    ASSERT_OK(base::WriteFileDurably(sealed.path(), bytes.substr(0, cut)));
    EXPECT_THAT(sealed.Load(), StatusIs(absl::StatusCode::kDataLoss, sealed.path()));
  }
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_OK(base::WriteFileDurably(sealed.path(), bytes));
  EXPECT_THAT(sealed.Load(), StatusIs(absl::StatusCode::kDataLoss, sealed.path()));
  EXPECT_THAT(base::ReadFile(sealed.path(), 1 << 20), IsOkAndHolds(bytes));
}

TEST(SealedState, WithoutItsKeyAStateIsLostAndNoNewKeyIsMade) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(const SealedState sealed, SealedState::Open(dir.path()));
  ASSERT_OK(sealed.Save(State("one")));
  std::filesystem::remove(dir.Join("seal.key"));
  EXPECT_THAT(SealedState::Open(dir.path()),
              StatusIs(absl::StatusCode::kDataLoss, dir.Join("seal.key")));
  EXPECT_FALSE(std::filesystem::exists(dir.Join("seal.key")));
}

TEST(SealedState, RefusesAKeyThatOthersMayRead) {
  TempDir dir;
  ASSERT_OK(SealedState::Open(dir.path()).status());
  ASSERT_EQ(chmod(dir.Join("seal.key").c_str(), 0644), 0);
  EXPECT_THAT(SealedState::Open(dir.path()),
              StatusIs(absl::StatusCode::kPermissionDenied, "chmod 600"));
}

TEST(SealedState, MovesADamagedStateAsideWithoutOverwritingAnother) {
  TempDir dir;
  for (int i = 1; i <= 3; ++i) {
    ASSERT_OK_AND_ASSIGN(const SealedState sealed, SealedState::Open(dir.path()));
    ASSERT_OK(sealed.Save(State("one")));
    ASSERT_OK_AND_ASSIGN(const std::string aside, agent::MoveStateAside(dir.path()));
    EXPECT_EQ(aside, dir.Join("state.sealed.damaged-" + std::to_string(i)));
    EXPECT_TRUE(std::filesystem::exists(aside));
    EXPECT_FALSE(std::filesystem::exists(sealed.path()));
  }
}

}  // namespace
}  // namespace linchpin::test
