// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/pin_set_draft.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::kNow;
using test::SignersOf;
using test::StatusIs;
using test::TestAuthority;

class PinSetDraftTest : public testing::Test {
 protected:
  KeyToPin Root() { return {.is_root = true, .spki_sha256 = authority_.root().pin().bytes()}; }
  KeyToPin Active() {
    return {.spki_sha256 = authority_.active().pin().bytes(), .role = v1::IssuerPin::ACTIVE};
  }
  KeyToPin Backup(bool with_proof) {
    KeyToPin key{.spki_sha256 = authority_.backup().pin().bytes(), .role = v1::IssuerPin::BACKUP};
    if (with_proof) {
      key.proof = *ProvePossession(authority_.trust_domain(), authority_.backup().key, kNow);
    }
    return key;
  }
  absl::StatusOr<DraftedPinSet> Draft(const std::optional<v1::PinSet>& before,
                                      const std::vector<KeyToPin>& keys,
                                      const DraftChanges& changes) {
    return DraftPinSet(authority_.trust_domain(), before, keys, changes, kNow);
  }
  TestAuthority authority_;
};

TEST_F(PinSetDraftTest, TheFirstIsVersionOneEnforcedAndKeptForAYear) {
  DraftChanges changes;
  changes.signers = SignersOf({"alice"}, 1);
  ASSERT_OK_AND_ASSIGN(const DraftedPinSet draft,
                       Draft(std::nullopt, {Root(), Backup(true), Active()}, changes));
  const v1::PinSet& set = draft.set.message;
  EXPECT_EQ(set.version(), 1u);
  EXPECT_EQ(set.mode(), v1::PinSet::ENFORCE);
  EXPECT_EQ(set.on_expiry(), v1::PinSet::KEEP);
  EXPECT_EQ(set.expires_at() - set.issued_at(), 365 * 24 * 3600);
  EXPECT_EQ(draft.payload, set.SerializeAsString());
}

TEST_F(PinSetDraftTest, TheFirstNamesWhoSigns) {
  EXPECT_THAT(Draft(std::nullopt, {Root(), Active(), Backup(true)}, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, "name those who sign"));
}

TEST_F(PinSetDraftTest, TheNextIsLikeTheLastButForWhatIsChanged) {
  v1::PinSet before = authority_.PinSetMessage(7, {"alice", "bob"}, 2);
  before.set_mode(v1::PinSet::REPORT_ONLY);
  before.set_on_expiry(v1::PinSet::FAIL_CLOSED);
  before.set_urgent(true);
  ASSERT_OK_AND_ASSIGN(DraftedPinSet draft, Draft(before, {Root(), Active(), Backup(true)}, {}));
  EXPECT_EQ(draft.set.message.version(), 8u);
  EXPECT_EQ(draft.set.message.mode(), v1::PinSet::REPORT_ONLY);
  EXPECT_EQ(draft.set.message.on_expiry(), v1::PinSet::FAIL_CLOSED);
  EXPECT_FALSE(draft.set.message.urgent());
  EXPECT_EQ(draft.set.message.expires_at() - draft.set.message.issued_at(),
            before.expires_at() - before.issued_at());
  EXPECT_EQ(draft.set.message.signers().SerializeAsString(), before.signers().SerializeAsString());
  DraftChanges changes;
  changes.mode = v1::PinSet::ENFORCE;
  changes.life = absl::Hours(1);
  changes.signers = SignersOf({"carol"}, 1);
  ASSERT_OK_AND_ASSIGN(draft, Draft(before, {Root(), Active(), Backup(true)}, changes));
  EXPECT_EQ(draft.set.message.mode(), v1::PinSet::ENFORCE);
  EXPECT_EQ(draft.set.message.expires_at() - draft.set.message.issued_at(), 3600);
  EXPECT_EQ(draft.set.message.signers().keys_size(), 1);
}

TEST_F(PinSetDraftTest, ABackupKeepsTheProofOfTheSetBeforeUntilItIsProvedAgain) {
  const v1::PinSet before = authority_.PinSetMessage(7, {"alice"}, 1);
  const auto proof_of = [&](const DraftedPinSet& draft) {
    for (const v1::IssuerPin& issuer : draft.set.message.issuers()) {
      if (issuer.role() == v1::IssuerPin::BACKUP) return issuer.proof().SerializeAsString();
    }
    return std::string();
  };
  ASSERT_OK_AND_ASSIGN(DraftedPinSet draft, Draft(before, {Root(), Active(), Backup(false)}, {}));
  EXPECT_EQ(proof_of(draft), before.issuers(1).proof().SerializeAsString());
  const KeyToPin proved = Backup(true);
  ASSERT_OK_AND_ASSIGN(draft, Draft(before, {Root(), Active(), proved}, {}));
  EXPECT_EQ(proof_of(draft), proved.proof->SerializeAsString());
  EXPECT_THAT(Draft(authority_.PinSetMessage(7, {"alice"}, 1), {Root(), Active()}, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, "backup"));
}

TEST_F(PinSetDraftTest, OfRootsOnlyNamesNoIssuer) {
  DraftChanges changes;
  changes.signers = SignersOf({"alice"}, 1);
  changes.any_under_anchor = true;
  ASSERT_OK_AND_ASSIGN(const DraftedPinSet draft,
                       Draft(std::nullopt, {Root(), Active(), Backup(false)}, changes));
  EXPECT_TRUE(draft.set.message.issuers().empty());
  EXPECT_EQ(draft.set.message.anchors_size(), 1);
}

TEST_F(PinSetDraftTest, AnIssuerKeepsItsPinUntilItIsRetired) {
  EXPECT_EQ(PinRoleOf("active"), v1::IssuerPin::ACTIVE);
  EXPECT_EQ(PinRoleOf("retiring"), v1::IssuerPin::ACTIVE);
  EXPECT_EQ(PinRoleOf("prepared"), v1::IssuerPin::NEXT);
  EXPECT_EQ(PinRoleOf("backup"), v1::IssuerPin::BACKUP);
  EXPECT_EQ(PinRoleOf("retired"), std::nullopt);
}

}  // namespace
}  // namespace linchpin::trust
