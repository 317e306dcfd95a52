// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/pin_set.h"

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::KeyNamed;
using test::kNow;
using test::StatusIs;
using test::TestAuthority;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class PinSetTest : public testing::Test {
 protected:
  v1::PinSet Good() { return authority_.PinSetMessage(3, {"alice", "bob"}, 2); }
  static absl::StatusOr<PinSet> Parse(const v1::PinSet& set) {
    return ParsePinSet(set.SerializeAsString());
  }
  TestAuthority authority_;
};

TEST_F(PinSetTest, IsReadWhole) {
  ASSERT_OK_AND_ASSIGN(const PinSet set, Parse(Good()));
  EXPECT_EQ(set.trust_domain.name(), "example.org");
  EXPECT_EQ(set.message.version(), 3u);
  EXPECT_EQ(set.signers.threshold, 2u);
  EXPECT_EQ(set.signers.keys.size(), 2u);
  EXPECT_EQ(EncodeSigners(set.signers).SerializeAsString(), Good().signers().SerializeAsString());
}

TEST_F(PinSetTest, SaysWhatIsEnforced) {
  v1::PinSet message = Good();
  message.set_on_expiry(v1::PinSet::FAIL_CLOSED);
  message.set_urgent(true);
  ASSERT_OK_AND_ASSIGN(const PinSet set, Parse(message));
  const v1::EffectivePins pins = Effective(set);
  EXPECT_EQ(pins.version(), 3u);
  EXPECT_TRUE(pins.is_signed());
  EXPECT_EQ(pins.mode(), v1::PinSet::ENFORCE);
  EXPECT_EQ(pins.anchors_size(), 1);
  EXPECT_EQ(pins.issuers_size(), 2);
  EXPECT_EQ(pins.expires_at(), message.expires_at());
  EXPECT_EQ(pins.on_expiry(), v1::PinSet::FAIL_CLOSED);
  EXPECT_TRUE(pins.urgent());
}

TEST_F(PinSetTest, SetZeroIsUnsignedAndEnforced) {
  const v1::EffectivePins pins =
      SetZero({authority_.root().pin()}, {authority_.active().pin(), authority_.backup().pin()});
  EXPECT_EQ(pins.version(), 0u);
  EXPECT_FALSE(pins.is_signed());
  EXPECT_EQ(pins.mode(), v1::PinSet::ENFORCE);
  EXPECT_EQ(pins.anchors(0), authority_.root().pin().bytes());
  EXPECT_EQ(pins.issuers_size(), 2);
  EXPECT_EQ(pins.expires_at(), 0);
}

struct Fault {
  std::string says;
  std::function<void(v1::PinSet*)> make;
};

class MalformedPinSet : public PinSetTest {
 protected:
  void Check(const std::vector<Fault>& table) {
    for (const Fault& fault : table) {
      v1::PinSet set = Good();
      fault.make(&set);
      EXPECT_THAT(Parse(set), StatusIs(kInvalid, fault.says)) << fault.says;
    }
  }
};

TEST_F(MalformedPinSet, IsRefusedForItsHead) {
  Check({
      {"trust_domain", [](v1::PinSet* s) { s->set_trust_domain("Example.org"); }},
      {"trust_domain", [](v1::PinSet* s) { s->clear_trust_domain(); }},
      {"versions begin at 1", [](v1::PinSet* s) { s->set_version(0); }},
      {"neither ENFORCE nor REPORT_ONLY", [](v1::PinSet* s) { s->clear_mode(); }},
      {"neither ENFORCE nor REPORT_ONLY",
       [](v1::PinSet* s) { s->set_mode(static_cast<v1::PinSet::Mode>(9)); }},
      {"issued_at", [](v1::PinSet* s) { s->set_issued_at(0); }},
      {"expires_at", [](v1::PinSet* s) { s->set_expires_at(s->issued_at()); }},
      {"expires_at", [](v1::PinSet* s) { s->set_expires_at(0); }},
      {"expires_at", [](v1::PinSet* s) { s->set_expires_at(int64_t{1} << 60); }},
      {"on_expiry", [](v1::PinSet* s) { s->set_on_expiry(static_cast<v1::PinSet::OnExpiry>(7)); }},
  });
}

TEST_F(MalformedPinSet, IsRefusedForOneBadAnchor) {
  Check({
      {"anchors: there are 0", [](v1::PinSet* s) { s->clear_anchors(); }},
      {"anchor 1: ", [](v1::PinSet* s) { s->add_anchors()->set_spki_sha256("short"); }},
      {"anchor 1: ", [](v1::PinSet* s) { *s->add_anchors() = s->anchors(0); }},
      {"anchor 0: its label",
       [](v1::PinSet* s) { s->mutable_anchors(0)->set_label(std::string(129, 'x')); }},
  });
}

TEST_F(MalformedPinSet, IsRefusedForOneBadIssuer) {
  Check({
      {"issuer 0: ", [](v1::PinSet* s) { s->mutable_issuers(0)->set_spki_sha256("short"); }},
      {"is there twice",
       [](v1::PinSet* s) { s->mutable_issuers(0)->set_spki_sha256(s->issuers(1).spki_sha256()); }},
      {"no role that is known", [](v1::PinSet* s) { s->mutable_issuers(0)->clear_role(); }},
      {"no role that is known",
       [](v1::PinSet* s) { s->mutable_issuers(0)->set_role(static_cast<v1::IssuerPin::Role>(8)); }},
      {"the backup is missing", [](v1::PinSet* s) { s->mutable_issuers()->RemoveLast(); }},
      {"the active is missing",
       [](v1::PinSet* s) { s->mutable_issuers(0)->set_role(v1::IssuerPin::NEXT); }},
      {"the active is missing", [](v1::PinSet* s) { s->clear_issuers(); }},
      {"although any_under_anchor is set", [](v1::PinSet* s) { s->set_any_under_anchor(true); }},
  });
}

TEST_F(MalformedPinSet, IsRefusedForABackupWhoseKeyNobodyShows) {
  const TestAuthority& authority = authority_;
  const auto proof = [](v1::PinSet* s) { return s->mutable_issuers(1)->mutable_proof(); };
  Check({
      {"no proof that its key is held",
       [](v1::PinSet* s) { s->mutable_issuers(1)->clear_proof(); }},
      {"issuer 1: ", [&](v1::PinSet* s) { proof(s)->set_signature("no signature"); }},
      {"issuer 1: ", [&](v1::PinSet* s) { proof(s)->set_made_at(proof(s)->made_at() + 1); }},
      {"not dated", [&](v1::PinSet* s) { proof(s)->set_made_at(0); }},
      {"is of the key",
       [&](v1::PinSet* s) {
         *proof(s) = *ProvePossession(authority.trust_domain(), authority.active().key, kNow);
       }},
      {"issuer 1: ",
       [&](v1::PinSet* s) {
         *proof(s) = *ProvePossession(*TrustDomain::FromName("elsewhere.org"),
                                      authority.backup().key, kNow);
       }},
      {"issuer 1: ", [&](v1::PinSet* s) { proof(s)->set_spki_der("no key"); }},
  });
}

TEST_F(MalformedPinSet, IsRefusedForItsSigners) {
  Check({
      {"there are 0 signers", [](v1::PinSet* s) { s->clear_signers(); }},
      {"threshold of 0", [](v1::PinSet* s) { s->mutable_signers()->set_threshold(0); }},
      {"threshold of 3", [](v1::PinSet* s) { s->mutable_signers()->set_threshold(3); }},
      {"signer 2: ", [](v1::PinSet* s) { s->mutable_signers()->add_keys("no key"); }},
      {"is there twice",
       [](v1::PinSet* s) { s->mutable_signers()->add_keys(s->signers().keys(0)); }},
      {"keys that the CA does not hold",
       [this](v1::PinSet* s) {
         s->mutable_signers()->add_keys(authority_.active().key.public_key().spki());
       }},
      {"keys that the CA does not hold",
       [this](v1::PinSet* s) {
         s->mutable_signers()->add_keys(authority_.root().key.public_key().spki());
       }},
  });
}

TEST_F(MalformedPinSet, IsRefusedForBytesThatAreNotUnderstood) {
  const std::string good = Good().SerializeAsString();
  EXPECT_THAT(ParsePinSet(""), StatusIs(kInvalid, "0 bytes"));
  EXPECT_THAT(ParsePinSet("\xff\xff"), StatusIs(kInvalid, "no PinSet message"));
  EXPECT_THAT(ParsePinSet(std::string(64 * 1024 + 1, 'x')), StatusIs(kInvalid, "65537 bytes"));
  for (size_t cut = 1; cut < good.size(); ++cut) {
    EXPECT_FALSE(ParsePinSet(absl::string_view(good).substr(0, cut)).ok()) << cut;
  }
}

TEST_F(MalformedPinSet, IsRefusedForAFieldThatIsUnknownHereHoweverDeep) {
  const std::string unknown("\xf8\x06\x01", 3);  // field 111, varint 1
  EXPECT_THAT(ParsePinSet(Good().SerializeAsString() + unknown),
              StatusIs(kInvalid, "field 111 of linchpin.trust.v1.PinSet"));
  v1::PinSet set = Good();
  const auto add = [](google::protobuf::Message* message) {
    message->GetReflection()->MutableUnknownFields(message)->AddVarint(111, 1);
  };
  add(set.mutable_anchors(0));
  EXPECT_THAT(Parse(set), StatusIs(kInvalid, "field 111 of linchpin.trust.v1.AnchorPin"));
  set = Good();
  add(set.mutable_issuers(1)->mutable_proof());
  EXPECT_THAT(Parse(set), StatusIs(kInvalid, "field 111 of linchpin.trust.v1.PossessionProof"));
  set = Good();
  add(set.mutable_signers());
  EXPECT_THAT(Parse(set), StatusIs(kInvalid, "field 111 of linchpin.trust.v1.Signers"));
}

TEST_F(PinSetTest, HoldsItsLimits) {
  v1::PinSet set = Good();
  for (int i = 0; i < 64; ++i) {
    set.add_anchors()->set_spki_sha256(x509::SpkiPin::OfSpki(absl::StrCat("anchor", i)).bytes());
  }
  EXPECT_THAT(Parse(set), StatusIs(kInvalid, "anchors: there are 65"));
  set.mutable_anchors()->RemoveLast();
  EXPECT_OK(Parse(set));
  set = Good();
  for (int i = 0; i < 254; ++i) {
    v1::IssuerPin* issuer = set.add_issuers();
    issuer->set_spki_sha256(x509::SpkiPin::OfSpki(absl::StrCat("issuer", i)).bytes());
    issuer->set_role(v1::IssuerPin::NEXT);
  }
  EXPECT_OK(Parse(set));
  *set.add_issuers() = set.issuers(0);
  EXPECT_THAT(Parse(set), StatusIs(kInvalid, "issuers: there are 257"));
  set = Good();
  for (int i = 0; i < 31; ++i) {
    set.mutable_signers()->add_keys(KeyNamed(absl::StrCat("signer", i)).public_key().spki());
  }
  EXPECT_THAT(Parse(set), StatusIs(kInvalid, "there are 33 signers"));
}

TEST_F(PinSetTest, NeedsNoBackupWhereItDoesNotEnforceIssuers) {
  v1::PinSet set = Good();
  set.mutable_issuers()->RemoveLast();
  set.set_mode(v1::PinSet::REPORT_ONLY);
  EXPECT_OK(Parse(set));
  set = Good();
  set.clear_issuers();
  set.set_any_under_anchor(true);
  EXPECT_OK(Parse(set));
}

}  // namespace
}  // namespace linchpin::trust
