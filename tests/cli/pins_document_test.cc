// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/pins_document.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/relax_document.h"
#include "tests/cli/pins_fixture.h"
#include "tests/support/status_matchers.h"

namespace linchpin::cli {
namespace {

using test::StatusIs;
using Json = nlohmann::ordered_json;

TEST(PinSetDocument, IsReadBackAsItWasWritten) {
  PinsWorld world;
  PinSetDocument document = world.Draft();
  SignPinSetDocument(world.alice, &document);
  const std::string text = EncodePinSetDocument(document);
  ASSERT_OK_AND_ASSIGN(const PinSetDocument read, DecodePinSetDocument(text, "pins.json"));
  EXPECT_EQ(read.signed_set.SerializeAsString(), document.signed_set.SerializeAsString());
  EXPECT_EQ(EncodePinSetDocument(read), text);
  EXPECT_EQ(CountSignatures(read), 1u);
}

TEST(PinSetDocument, CountsASignerOnceHoweverOftenItSigned) {
  PinsWorld world;
  PinSetDocument document = world.Draft();
  EXPECT_EQ(CountSignatures(document), 0u);
  SignPinSetDocument(world.alice, &document);
  SignPinSetDocument(world.alice, &document);
  EXPECT_EQ(document.signed_set.signatures_size(), 1);
  SignPinSetDocument(NewKey(), &document);
  EXPECT_EQ(CountSignatures(document), 1u);
  SignPinSetDocument(world.bob, &document);
  EXPECT_EQ(CountSignatures(document), 2u);
  EXPECT_TRUE(IsSigner(document, world.bob.public_key()));
  EXPECT_FALSE(IsSigner(document, world.root.public_key()));
}

TEST(PinSetDocument, IsAcceptedByAnAgentWhenEnoughHaveSigned) {
  PinsWorld world;
  PinSetDocument document = world.Draft();
  SignPinSetDocument(world.alice, &document);
  trust::PinSetCursor cursor{document.set.trust_domain, document.set.signers};
  EXPECT_THAT(trust::FollowPinSets(cursor, {document.signed_set}, world.now, true),
              StatusIs(absl::StatusCode::kPermissionDenied));
  SignPinSetDocument(world.bob, &document);
  EXPECT_OK(trust::FollowPinSets(cursor, {document.signed_set}, world.now, true));
}

TEST(PinSetDocument, IsRefusedWhereItShowsAnythingElseThanItSigns) {
  PinsWorld world;
  const std::string text = EncodePinSetDocument(world.Draft());
  const Json whole = Json::parse(text);
  for (const auto& [field, value] : whole["pin_set"].items()) {
    Json changed = whole;
    changed["pin_set"][field] = "something else";
    EXPECT_THAT(DecodePinSetDocument(changed.dump(), "pins.json"),
                StatusIs(absl::StatusCode::kInvalidArgument, field));
    Json without = whole;
    without["pin_set"].erase(field);
    EXPECT_THAT(DecodePinSetDocument(without.dump(), "pins.json"),
                StatusIs(absl::StatusCode::kInvalidArgument, field));
  }
  Json more = whole;
  more["pin_set"]["note"] = "harmless";
  EXPECT_THAT(DecodePinSetDocument(more.dump(), "pins.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, "shows more"));
  Json other_pin = whole;
  other_pin["pin_set"]["issuers"][0]["pin"] = NewKey().public_key().pin().ToString();
  EXPECT_THAT(DecodePinSetDocument(other_pin.dump(), "pins.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, "issuers"));
}

TEST(PinSetDocument, IsRefusedWhereAReaderMaySeeAnotherSetThanTheOneThatIsSigned) {
  PinsWorld world;
  const std::string text = EncodePinSetDocument(world.Draft());
  const auto with = [&](const std::string& before, const std::string& added) {
    return absl::StrReplaceAll(text, {{before, absl::StrCat(added, before)}});
  };
  EXPECT_THAT(DecodePinSetDocument(with("\"pin_set\"", "\"pin_set\": {}, "), "pins.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, "twice"));
  EXPECT_THAT(DecodePinSetDocument(with("\"version\"", "\"version\": 7, "), "pins.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, "\"version\" is there twice"));
  EXPECT_THAT(DecodePinSetDocument(with("\"payload\"", "\"pin_set \": {}, "), "pins.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, "\"pin_set \" belongs"));
}

TEST(PinSetDocument, IsRefusedWithASignatureThatDoesNotVerify) {
  PinsWorld world;
  PinSetDocument document = world.Draft();
  SignPinSetDocument(world.alice, &document);
  std::string* signature = document.signed_set.mutable_signatures(0)->mutable_signature();
  signature->back() = static_cast<char>(signature->back() ^ 1);
  EXPECT_THAT(DecodePinSetDocument(EncodePinSetDocument(document), "pins.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, "sign again"));
}

TEST(PinSetDocument, IsRefusedWhereItIsNoneAndNamesTheFile) {
  PinsWorld world;
  const std::string text = EncodePinSetDocument(world.Draft());
  const std::vector<std::string> bad = {
      "",
      "null",
      "[]",
      "{}",
      "{\"linchpin_pin_set\": 1}",
      "{\"linchpin_pin_set\": 1, \"payload\": 7, \"signatures\": []}",
      "{\"linchpin_pin_set\": 1, \"payload\": \"AAAA\", \"signatures\": []}",
      "{\"linchpin_pin_set\": 1, \"payload\": \"\", \"signatures\": [1]}",
      text.substr(0, text.size() / 2),
      absl::StrReplaceAll(text, {{"\"linchpin_pin_set\": 1", "\"linchpin_pin_set\": 2"}}),
      absl::StrReplaceAll(text, {{"\"signatures\": []", "\"signatures\": [{\"key\": 1}]"}}),
      std::string(kMaxPinSetDocument + 1, ' '),
      std::string(100000, '['),
  };
  for (const std::string& document : bad) {
    EXPECT_THAT(DecodePinSetDocument(document, "pins.json"),
                StatusIs(absl::StatusCode::kInvalidArgument, "pins.json"))
        << document.substr(0, 80);
  }
}

TEST(PinSetDocument, IsDescribedForTheOneWhoSigns) {
  PinsWorld world;
  PinSetDocument document = world.Draft();
  SignPinSetDocument(world.bob, &document);
  const std::string text = DescribePinSet(document);
  using ::testing::HasSubstr;
  EXPECT_THAT(text, HasSubstr("pin set 1 of example.org: enforce\n"));
  EXPECT_THAT(text, HasSubstr("issued 2027-01-15T08:00:00Z, expires 2028-01-15T08:00:00Z"));
  EXPECT_THAT(text, HasSubstr(world.backup.public_key().pin().ToString() + "  backup, key proved"));
  EXPECT_THAT(text, HasSubstr(world.alice.public_key().pin().ToString() + "  not signed"));
  EXPECT_THAT(text, HasSubstr("1 signed of 2 signers, 2 needed"));
}

TEST(PinSetDocument, ShowsWhatChangesAndWhoseSignaturesAreMissing) {
  PinsWorld world;
  PinSetDocument first = world.Draft();
  for (const x509::PrivateKey* key : {&world.alice, &world.bob}) SignPinSetDocument(*key, &first);
  const x509::PrivateKey carol = NewKey();
  world.request.before = first.set.message;
  world.request.signed_before = first.signed_set;
  world.request.changes.signers->mutable_keys(1)->assign(carol.public_key().spki());
  PinSetDocument next = world.Draft();
  SignPinSetDocument(world.alice, &next);
  SignPinSetDocument(carol, &next);
  EXPECT_FALSE(IsComplete(next));
  using ::testing::HasSubstr;
  EXPECT_THAT(DescribePinSet(next), HasSubstr("+ signer " + carol.public_key().pin().ToString()));
  EXPECT_THAT(DescribePinSet(next),
              HasSubstr("- signer " + world.bob.public_key().pin().ToString()));
  EXPECT_THAT(DescribePinSet(next),
              HasSubstr("of the set before: 1 signed of 2 signers, 2 needed: not enough yet"));
  ASSERT_OK_AND_ASSIGN(next, DecodePinSetDocument(EncodePinSetDocument(next), "pins.json"));
  SignPinSetDocument(world.bob, &next);
  EXPECT_TRUE(IsComplete(next));
  // A set before that nobody signed is no such set.
  first.signed_set.clear_signatures();
  EXPECT_THAT(MakePinSetDocument(next.signed_set, first.signed_set),
              StatusIs(absl::StatusCode::kInvalidArgument, "not signed by its own signers"));
}

TEST(RelaxDocument, IsSignedByTheSignersOfItsSetAlone) {
  PinsWorld world;
  const PinSetDocument set = world.Draft();
  ASSERT_OK_AND_ASSIGN(
      RelaxDocument relax,
      DraftRelax(set.signed_set, {world.now + absl::Hours(48), absl::Hours(6)}, world.now));
  EXPECT_THAT(SignRelaxDocument(NewKey(), &relax), StatusIs(absl::StatusCode::kPermissionDenied));
  ASSERT_OK(SignRelaxDocument(world.alice, &relax));
  EXPECT_THAT(CheckRelaxSigned(relax), StatusIs(absl::StatusCode::kPermissionDenied, "1 of"));
  const std::string text = EncodeRelaxDocument(relax);
  ASSERT_OK_AND_ASSIGN(relax, DecodeRelaxDocument(text, "relax.json"));
  ASSERT_OK(SignRelaxDocument(world.bob, &relax));
  EXPECT_OK(CheckRelaxSigned(relax));
  EXPECT_THAT(DecodeRelaxDocument(absl::StrReplaceAll(text, {{"\"6h\"", "\"1h\""}}), "relax.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, "for_at_most"));
}

TEST(PinsDraft, GivesEachAuthorityItsRoleAndLeavesOutTheRetired) {
  PinsWorld world;
  const x509::PrivateKey next = NewKey();
  const x509::PrivateKey old = NewKey();
  const x509::PrivateKey gone = NewKey();
  world.Add("issuer", "prepared", next);
  world.Add("issuer", "retiring", old);
  world.Add("issuer", "retired", gone);
  const trust::v1::PinSet set = world.Draft().set.message;
  ASSERT_EQ(set.anchors_size(), 1);
  ASSERT_EQ(set.issuers_size(), 4);
  std::map<std::string, trust::v1::IssuerPin::Role> roles;
  for (const auto& issuer : set.issuers()) roles[issuer.spki_sha256()] = issuer.role();
  EXPECT_EQ(roles[world.active.public_key().pin().bytes()], trust::v1::IssuerPin::ACTIVE);
  EXPECT_EQ(roles[world.backup.public_key().pin().bytes()], trust::v1::IssuerPin::BACKUP);
  EXPECT_EQ(roles[next.public_key().pin().bytes()], trust::v1::IssuerPin::NEXT);
  EXPECT_EQ(roles[old.public_key().pin().bytes()], trust::v1::IssuerPin::ACTIVE);
  EXPECT_FALSE(roles.contains(gone.public_key().pin().bytes()));
}

TEST(PinsDraft, ABackupThatWasInUseIsNotSigned) {
  PinsWorld world;
  PinSetDocument first = world.Draft();
  SignPinSetDocument(world.alice, &first);
  SignPinSetDocument(world.bob, &first);
  EXPECT_OK(CheckBackupsAreUnused(first));
  PinsWorld next = world;
  next.request.before = first.set.message;
  next.request.signed_before = first.signed_set;
  EXPECT_OK(CheckBackupsAreUnused(next.Draft()));
  next.authorities.mutable_authorities(1)->set_state("backup");
  next.authorities.mutable_authorities(2)->set_state("active");
  next.request.proofs[next.active.public_key().pin().bytes()] =
      *trust::ProvePossession(first.set.trust_domain, next.active, next.now);
  EXPECT_THAT(CheckBackupsAreUnused(next.Draft()),
              StatusIs(absl::StatusCode::kFailedPrecondition, "was active in version 1"));
}

TEST(PinsDraft, PinsRootsOnlyWhereAnyIssuerUnderThemMaySign) {
  PinsWorld world;
  world.request.changes.any_under_anchor = true;
  const PinSetDocument document = world.Draft();
  EXPECT_TRUE(document.set.message.issuers().empty());
  EXPECT_THAT(DescribePinSet(document), ::testing::HasSubstr("root-pin"));
}

TEST(PinsDraft, RefusesWhatNoAgentWouldAccept) {
  PinsWorld world;
  world.request.proofs.clear();
  EXPECT_THAT(DraftPinSet(world.request, world.authorities, world.now),
              StatusIs(absl::StatusCode::kInvalidArgument, "proof"));
  PinsWorld ca_signs;
  ca_signs.request.changes.signers->add_keys(ca_signs.active.public_key().spki());
  EXPECT_THAT(DraftPinSet(ca_signs.request, ca_signs.authorities, ca_signs.now),
              StatusIs(absl::StatusCode::kInvalidArgument, "signers"));
  PinsWorld threshold;
  threshold.request.changes.signers->set_threshold(3);
  EXPECT_THAT(DraftPinSet(threshold.request, threshold.authorities, threshold.now),
              StatusIs(absl::StatusCode::kInvalidArgument, "threshold"));
}

}  // namespace
}  // namespace linchpin::cli
