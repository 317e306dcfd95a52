// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/trust_acceptance.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::Certified;
using test::Ders;
using test::kNow;
using test::Sign;
using test::SignersOf;
using test::StatusIs;
using test::TestAuthority;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;
constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::Duration kSkew = absl::Seconds(60);

using Names = std::vector<std::string>;
const Names kSigners = {"alice", "bob", "carol"};

class TrustAcceptanceTest : public testing::Test {
 protected:
  std::vector<std::string> CaChain(const Certified& leaf) const {
    return Ders({leaf.certificate, authority_.active().certificate, authority_.root().certificate});
  }
  std::vector<std::string> CaChain() const { return CaChain(authority_.Leaf("/linchpin/ca")); }

  absl::StatusOr<TrustHeld> Zero(const std::vector<std::string>& chain,
                                 const std::vector<x509::SpkiPin>& pins,
                                 absl::Time now = kNow) const {
    return BeginSetZero(authority_.trust_domain(), chain, pins, now, kSkew);
  }
  TrustHeld HeldZero() const { return *Zero(CaChain(), {authority_.root().pin()}); }
  v1::SignedPinSet Set(uint64_t version) const {
    return Sign(authority_.PinSetMessage(version, kSigners, 2), {"alice", "bob"});
  }
  v1::TrustState Incoming(uint64_t epoch, const std::vector<v1::SignedPinSet>& sets = {}) const {
    v1::TrustState message = authority_.Message(epoch);
    for (const v1::SignedPinSet& set : sets) *message.add_pin_sets() = set;
    return message;
  }
  static absl::StatusOr<TrustHeld> Accept(const TrustHeld& held, const v1::TrustState& incoming,
                                          const std::string& incarnation = "") {
    return AcceptTrust(held, incoming, {.now = kNow, .incarnation = incarnation, .skew = kSkew});
  }
  v1::SignersFile SignersFile(uint64_t minimum) const {
    v1::SignersFile file;
    file.set_trust_domain(authority_.trust_domain().name());
    *file.mutable_signers() = SignersOf(kSigners, 2);
    file.set_minimum_version(minimum);
    return file;
  }
  TestAuthority authority_;
};

TEST_F(TrustAcceptanceTest, SetZeroBeginsWithThePinOfTheRootOrOfTheIssuer) {
  for (const x509::SpkiPin& pin : {authority_.root().pin(), authority_.active().pin()}) {
    ASSERT_OK_AND_ASSIGN(const TrustHeld held, Zero(CaChain(), {pin}));
    EXPECT_TRUE(held.set_zero);
    EXPECT_EQ(held.frozen_anchors, std::vector<x509::SpkiPin>{authority_.root().pin()});
    EXPECT_EQ(held.state, nullptr);
    EXPECT_TRUE(held.cursor.signers.empty());
  }
}

TEST_F(TrustAcceptanceTest, SetZeroTakesAnyOfSeveralPins) {
  EXPECT_OK(Zero(CaChain(), {authority_.backup().pin(), authority_.root().pin()}));
  EXPECT_THAT(Zero(CaChain(), {}), StatusIs(kInvalid, "--ca-pin"));
}

TEST_F(TrustAcceptanceTest, SetZeroRefusesAPathWithoutAPinnedKey) {
  const Certified leaf = authority_.Leaf("/linchpin/ca");
  for (const x509::SpkiPin& pin : {authority_.backup().pin(), leaf.pin()}) {
    EXPECT_THAT(Zero(CaChain(leaf), {pin}), StatusIs(kDenied, "ca-pin names"));
  }
}

TEST_F(TrustAcceptanceTest, SetZeroRefusesAPinnedCertificateThatIsMerelySent) {
  const TestAuthority rogue("example.org", "rogue");
  std::vector<std::string> chain = Ders(
      {rogue.Leaf("/linchpin/ca").certificate, rogue.active().certificate, rogue.root().certificate,
       authority_.active().certificate, authority_.root().certificate});
  EXPECT_THAT(Zero(chain, {authority_.root().pin(), authority_.active().pin()}),
              StatusIs(kDenied, "is not accepted"));
  std::swap(chain[1], chain[3]);
  std::swap(chain[2], chain[4]);
  EXPECT_THAT(Zero(chain, {authority_.root().pin()}), StatusIs(kDenied));
}

TEST_F(TrustAcceptanceTest, SetZeroRefusesWhoeverIsNotExactlyTheCa) {
  const std::vector<x509::SpkiPin> pins = {authority_.root().pin()};
  for (const char* path : {"/linchpin/node/n1", "/web", "/linchpin/ca/x"}) {
    EXPECT_THAT(Zero(CaChain(authority_.Leaf(path)), pins), StatusIs(kDenied, "UNEXPECTED_PEER"));
  }
  const TestAuthority other("elsewhere.org");  // the same keys
  EXPECT_THAT(Zero(CaChain(other.Leaf("/linchpin/ca")), pins),
              StatusIs(kDenied, "UNKNOWN_TRUST_DOMAIN"));
}

TEST_F(TrustAcceptanceTest, SetZeroRefusesAChainThatDoesNotValidate) {
  const std::vector<x509::SpkiPin> pins = {authority_.root().pin()};
  EXPECT_THAT(Zero(CaChain(), pins, kNow - absl::Hours(2)), StatusIs(kDenied, "check both clocks"));
  EXPECT_THAT(Zero(CaChain(), pins, kNow + absl::Hours(2)), StatusIs(kDenied, "EXPIRED"));
  std::vector<std::string> rootless = CaChain();
  rootless.pop_back();
  EXPECT_THAT(Zero(rootless, pins), StatusIs(kDenied, "no self-signed root"));
  EXPECT_THAT(Zero({}, pins), StatusIs(kDenied));
  EXPECT_THAT(Zero({"no certificate"}, pins), StatusIs(kInvalid));
  EXPECT_THAT(Zero(std::vector<std::string>(9, CaChain()[0]), pins), StatusIs(kInvalid, "at most"));
}

TEST_F(TrustAcceptanceTest, SetZeroEnforcesTheDeclaredIssuersUnderTheFrozenRoot) {
  ASSERT_OK_AND_ASSIGN(const TrustHeld held, Accept(HeldZero(), Incoming(1)));
  ASSERT_NE(held.state, nullptr);
  EXPECT_FALSE(held.state->pins().is_signed());
  EXPECT_TRUE(held.state->IsIssuerPinned(authority_.backup().pin()));
  EXPECT_FALSE(held.state->IsIssuerPinned(authority_.root().pin()));
  EXPECT_EQ(held.state->epoch(), 1u);
}

TEST_F(TrustAcceptanceTest, RefusesARootThatItsPinnedKeyDidNotSign) {
  // The CA's words over the root's key: the same root, but it never ends.
  std::string der = authority_.root().certificate.der();
  const absl::Time not_after = authority_.root().certificate.fields().not_after;
  const std::string end = absl::FormatTime("%y%m%d%H%M%SZ", not_after, absl::UTCTimeZone());
  const size_t at = der.rfind(end);
  ASSERT_NE(at, std::string::npos);
  der.replace(at, 2, "49");
  v1::TrustState forged = Incoming(1);
  forged.set_anchors(0, der);
  EXPECT_THAT(Accept(HeldZero(), forged), StatusIs(kInvalid, "is not signed by itself"));
}

TEST_F(TrustAcceptanceTest, SetZeroNeverTakesAnotherRoot) {
  const TestAuthority rogue("example.org", "rogue");
  v1::TrustState both = Incoming(1);
  both.add_anchors(rogue.root().certificate.der());
  ASSERT_OK_AND_ASSIGN(const TrustHeld held, Accept(HeldZero(), both));
  EXPECT_EQ(held.state->anchors().size(), 1u);
  EXPECT_EQ(held.state->dropped_anchors(), std::vector<x509::SpkiPin>{rogue.root().pin()});
  EXPECT_THAT(Accept(HeldZero(), rogue.Message(1)), StatusIs(kPrecondition, "no anchor"));
}

TEST_F(TrustAcceptanceTest, SetZeroContinuesWithNoIssuerThatWasDroppedOrDenied) {
  const Certified next = authority_.MakeIssuer("next issuer");
  const std::vector<x509::SpkiPin> pins = {next.pin()};
  const std::vector<std::string> shown = Ders({authority_.Leaf("/linchpin/ca", next).certificate,
                                               next.certificate, authority_.root().certificate});
  const auto continues = [&](const TrustHeld& held) {
    return ContinueSetZero(held, shown, pins, {.now = kNow, .skew = kSkew});
  };
  ASSERT_OK_AND_ASSIGN(const TrustHeld zero, Accept(HeldZero(), Incoming(1), "i"));
  ASSERT_OK_AND_ASSIGN(const std::optional<TrustHeld> new_one, continues(zero));
  ASSERT_TRUE(new_one.has_value());
  EXPECT_TRUE(new_one->state->IsIssuerPinned(next.pin()));
  EXPECT_EQ(new_one->offered, "") << "the CA is to say what it declares";

  v1::TrustState with = Incoming(2);
  with.add_issuers(next.certificate.der());
  with.add_declared_issuers(next.pin().bytes());
  ASSERT_OK_AND_ASSIGN(const TrustHeld declared, Accept(zero, with, "i"));
  ASSERT_OK_AND_ASSIGN(const TrustHeld dropped, Accept(declared, Incoming(3), "i"));
  EXPECT_FALSE(dropped.state->IsIssuerPinned(next.pin()));
  EXPECT_THAT(continues(dropped), StatusIs(kDenied, "declared before and then dropped"));

  v1::TrustState denies = Incoming(2);
  denies.add_revocations()->set_key_sha256(next.pin().bytes());
  ASSERT_OK_AND_ASSIGN(const TrustHeld denied, Accept(zero, denies, "i"));
  EXPECT_THAT(continues(denied), StatusIs(kDenied, "REVOKED"));
}

TEST_F(TrustAcceptanceTest, TheFirstSignedSetEndsSetZeroForEver) {
  ASSERT_OK_AND_ASSIGN(const TrustHeld zero, Accept(HeldZero(), Incoming(1)));
  ASSERT_OK_AND_ASSIGN(const TrustHeld held, Accept(zero, Incoming(2, {Set(1)})));
  EXPECT_FALSE(held.set_zero);
  EXPECT_EQ(held.cursor.version, 1u);
  EXPECT_EQ(held.cursor.signers.keys.size(), 3u);
  EXPECT_TRUE(held.state->pins().is_signed());
  // What a CA declares changes nothing from then on, and to name no set at all is to withhold.
  const Certified rogue = authority_.MakeIssuer("rogue issuer");
  v1::TrustState declares = Incoming(3);
  declares.add_declared_issuers(rogue.pin().bytes());
  declares.add_issuers(rogue.certificate.der());
  for (const bool with_set : {false, true}) {
    if (with_set) *declares.add_pin_sets() = held.message.pin_sets(0);
    ASSERT_OK_AND_ASSIGN(const TrustHeld after, Accept(held, declares));
    EXPECT_THAT(after.refused, testing::HasSubstr(with_set ? "" : "no pin set"));
    EXPECT_EQ(after.refused.empty(), with_set);
    EXPECT_EQ(after.state->pins().version(), 1u);
    EXPECT_FALSE(after.state->IsIssuerPinned(rogue.pin()));
    EXPECT_EQ(after.state->issuers().size(), 3u);  // a candidate, no more
  }
}

TEST_F(TrustAcceptanceTest, FollowsSetsAndKeepsTheOneInForce) {
  const v1::SignedPinSet newest = Set(3);
  ASSERT_OK_AND_ASSIGN(const TrustHeld one, Accept(HeldZero(), Incoming(1, {Set(1)})));
  ASSERT_OK_AND_ASSIGN(const TrustHeld three, Accept(one, Incoming(2, {Set(1), Set(2), newest})));
  EXPECT_EQ(three.cursor.version, 3u);
  ASSERT_EQ(three.message.pin_sets_size(), 1);
  EXPECT_TRUE(three.message.pin_sets(0).payload() == newest.payload());
  // What was sealed can be taken up again.
  TrustHeld restored{.cursor = three.cursor};
  restored.message = three.message;
  ASSERT_OK_AND_ASSIGN(const TrustHeld again, Accept(restored, three.message));
  EXPECT_EQ(again.state->digest(), three.state->digest());
}

// It came by a file, and the CA does not have it yet; or the CA withholds it.
TEST_F(TrustAcceptanceTest, WhereTheCaHasAnOlderSetTheRestIsTakenAndItIsReported) {
  ASSERT_OK_AND_ASSIGN(const TrustHeld held, Accept(HeldZero(), Incoming(1, {Set(5)}), "i"));
  v1::TrustState behind = Incoming(2, {Set(4)});
  behind.add_revocations()->set_serial("\x01");
  ASSERT_OK_AND_ASSIGN(const TrustHeld after, Accept(held, behind, "i"));
  EXPECT_EQ(after.cursor.version, 5u);
  EXPECT_EQ(after.state->pins().version(), 5u);
  ASSERT_EQ(after.message.pin_sets_size(), 1);
  EXPECT_EQ(after.message.pin_sets(0).payload(), held.message.pin_sets(0).payload());
  EXPECT_EQ(after.state->revocations().entries().size(), 1u);
  EXPECT_THAT(after.refused, testing::HasSubstr("rollback: pin set version 4"));
  EXPECT_THAT(after.refused, testing::HasSubstr("linchpin pins publish"));
  EXPECT_EQ(after.offered, OfferDigest(behind));
  ASSERT_OK_AND_ASSIGN(const TrustHeld caught_up, Accept(after, Incoming(3, {Set(5)}), "i"));
  EXPECT_EQ(caught_up.refused, "");
  // One who joins with that file, too.
  ASSERT_OK_AND_ASSIGN(const TrustHeld first,
                       BeginSigned(SignersFile(2), {Set(5)}, CaChain(), kNow, kSkew));
  ASSERT_OK_AND_ASSIGN(const TrustHeld joined, Accept(first, behind, "i"));
  EXPECT_EQ(joined.state->pins().version(), 5u);
}

TEST_F(TrustAcceptanceTest, KeepsASetThatIsWithheldAndRefusesOneThatIsForged) {
  ASSERT_OK_AND_ASSIGN(const TrustHeld held, Accept(HeldZero(), Incoming(1, {Set(5)})));
  ASSERT_OK_AND_ASSIGN(const TrustHeld withheld, Accept(held, Incoming(2, {Set(4)})));
  EXPECT_EQ(withheld.state->pins().version(), 5u);
  EXPECT_THAT(withheld.refused, testing::HasSubstr("withheld"));
  v1::SignedPinSet forged = Set(6);
  forged.mutable_signatures()->RemoveLast();
  EXPECT_THAT(Accept(held, Incoming(2, {forged})), StatusIs(kDenied));
  v1::SignedPinSet garbage;
  garbage.set_payload("\xff");
  EXPECT_THAT(Accept(held, Incoming(2, {garbage})), StatusIs(kInvalid));
}

TEST_F(TrustAcceptanceTest, RefusesTrustThatGoesBackOrComesFromElsewhere) {
  ASSERT_OK_AND_ASSIGN(const TrustHeld held, Accept(HeldZero(), Incoming(7), "first"));
  EXPECT_OK(Accept(held, Incoming(7), "first"));
  EXPECT_THAT(Accept(held, Incoming(6), "first"), StatusIs(kPrecondition, "epoch 7 is held"));
  EXPECT_THAT(Accept(held, Incoming(6)), StatusIs(kPrecondition, "linchpin ca restored"));
  ASSERT_OK_AND_ASSIGN(const TrustHeld again, Accept(held, Incoming(2), "second"));
  EXPECT_EQ(again.state->epoch(), 2u);
  EXPECT_EQ(again.incarnation, "second");
  EXPECT_THAT(Accept(again, Incoming(1), "second"), StatusIs(kPrecondition, "epoch 2 is held"));
  v1::TrustState foreign = Incoming(8);
  foreign.set_trust_domain("elsewhere.org");
  EXPECT_THAT(Accept(held, foreign), StatusIs(kPrecondition, "elsewhere.org"));
}

// Its store is another's life: epochs may go back, and nothing that signers said does.
TEST_F(TrustAcceptanceTest, AnotherLifeOfTheCaBringsBackNoPinSetAndNoSigner) {
  ASSERT_OK_AND_ASSIGN(const TrustHeld held, Accept(HeldZero(), Incoming(9, {Set(5)}), "first"));
  v1::TrustState earlier = Incoming(1, {Set(4)});
  const Certified rogue = authority_.MakeIssuer("rogue issuer");
  earlier.add_declared_issuers(rogue.pin().bytes());
  ASSERT_OK_AND_ASSIGN(const TrustHeld after, Accept(held, earlier, "second"));
  EXPECT_EQ(after.cursor.version, 5u);
  EXPECT_FALSE(after.state->IsIssuerPinned(rogue.pin()));
  EXPECT_FALSE(after.set_zero);
  EXPECT_FALSE(Accept(held,
                      Incoming(1, {Sign(authority_.PinSetMessage(6, {"mallory"}, 1), {"mallory"})}),
                      "second")
                   .ok());
}

// A copy from before the last time that the store was put back.
TEST_F(TrustAcceptanceTest, ALifeThatWasLeftForAnotherIsNoNewOne) {
  ASSERT_OK_AND_ASSIGN(const TrustHeld first, Accept(HeldZero(), Incoming(7), "first"));
  ASSERT_OK_AND_ASSIGN(const TrustHeld second, Accept(first, Incoming(5), "second"));
  EXPECT_THAT(Accept(second, Incoming(4), "first"),
              StatusIs(kPrecondition, "was left for another once"));
  // Nor by a higher number, such as that of a store that went on elsewhere: whoever took it would
  // refuse the true one from then on.
  EXPECT_THAT(Accept(second, Incoming(6), "first"), StatusIs(kPrecondition, "left for another"));
  EXPECT_OK(Accept(second, Incoming(6), "second"));
  ASSERT_OK_AND_ASSIGN(TrustHeld held, Accept(second, Incoming(4), "third"));
  EXPECT_THAT(Accept(held, Incoming(9), "second"), StatusIs(kPrecondition, "left for another"));
  // One that was taken back by earlier programs.
  held.left.push_back("third");
  EXPECT_OK(Accept(held, Incoming(4), "third"));
  held.left.pop_back();
  for (int life = 0; life < 100; ++life) {
    ASSERT_OK_AND_ASSIGN(held, Accept(held, Incoming(1), "life" + std::to_string(life)));
  }
  EXPECT_EQ(held.left.size(), kMaxLeft);
  EXPECT_EQ(held.left.back(), "life98");
}

TEST_F(TrustAcceptanceTest, WhatWasOfferedIsKnownByItsContentAndNotByItsNumber) {
  const v1::SignedPinSet newest = Set(2);
  ASSERT_OK_AND_ASSIGN(const TrustHeld two, Accept(HeldZero(), Incoming(2, {Set(1), newest}), "i"));
  EXPECT_EQ(two.offered, OfferDigest(Incoming(2, {newest}))) << "whoever held version 1 is offered";
  EXPECT_NE(two.offered, OfferDigest(Incoming(3, {newest})));
  v1::TrustState another = Incoming(2, {newest});
  another.add_revocations()->set_serial("\x01");
  EXPECT_NE(two.offered, OfferDigest(another));
  ASSERT_OK_AND_ASSIGN(const TrustHeld again, Accept(two, another, "i"));
  EXPECT_EQ(again.offered, OfferDigest(another));
  // What comes by another way is not what the CA says.
  ASSERT_OK_AND_ASSIGN(const TrustHeld carried, Accept(again, another));
  EXPECT_EQ(carried.offered, again.offered);
}

TEST_F(TrustAcceptanceTest, RefusesMalformedContentsWhole) {
  const TrustHeld held = HeldZero();
  v1::TrustState message = Incoming(1);
  message.add_anchors("no certificate");
  EXPECT_THAT(Accept(held, message), StatusIs(kInvalid));
  message = Incoming(1);
  message.add_issuers("no certificate");
  EXPECT_THAT(Accept(held, message), StatusIs(kInvalid));
  message = Incoming(1);
  message.add_declared_issuers("short");
  EXPECT_THAT(Accept(held, message), StatusIs(kInvalid, "declared issuer 2"));
  message = Incoming(1);
  message.add_revocations();
  EXPECT_THAT(Accept(held, message), StatusIs(kInvalid, "revocation 0"));
  message = Incoming(1);
  for (int i = 0; i < 300; ++i) message.add_issuers(authority_.active().certificate.der());
  EXPECT_THAT(Accept(held, message), StatusIs(kInvalid, "at most 256"));
}

TEST_F(TrustAcceptanceTest, SignersBeginUnderTheSetThatTheyEndIn) {
  ASSERT_OK_AND_ASSIGN(const TrustHeld held,
                       BeginSigned(SignersFile(2), {Set(1), Set(2)}, CaChain(), kNow, kSkew));
  EXPECT_FALSE(held.set_zero);
  EXPECT_EQ(held.cursor.version, 2u);
  EXPECT_EQ(held.state, nullptr);
  for (const v1::TrustState& incoming : {Incoming(1), Incoming(1, {Set(1), Set(2)})}) {
    ASSERT_OK_AND_ASSIGN(const TrustHeld after, Accept(held, incoming));
    EXPECT_EQ(after.state->pins().version(), 2u);
  }
}

TEST_F(TrustAcceptanceTest, SignersRefuseWhatTheyDidNotSign) {
  const auto begin = [&](const std::vector<v1::SignedPinSet>& sets,
                         const std::vector<std::string>& chain) {
    return BeginSigned(SignersFile(2), sets, chain, kNow, kSkew);
  };
  EXPECT_THAT(begin({}, CaChain()), StatusIs(kPrecondition, "no signed pin set"));
  EXPECT_THAT(begin({Set(1)}, CaChain()), StatusIs(kPrecondition, "at least 2"));
  v1::SignedPinSet forged = Sign(authority_.PinSetMessage(2, {"mallory"}, 1), {"mallory"});
  EXPECT_THAT(begin({forged}, CaChain()), StatusIs(kDenied));

  const TestAuthority rogue("example.org", "rogue");
  EXPECT_THAT(begin({Set(2)}, Ders({rogue.Leaf("/linchpin/ca").certificate,
                                    rogue.active().certificate, rogue.root().certificate})),
              StatusIs(kDenied, "no anchor"));
  const Certified unpinned = authority_.MakeIssuer("unpinned issuer");
  EXPECT_THAT(begin({Set(2)}, Ders({authority_.Leaf("/linchpin/ca", unpinned).certificate,
                                    unpinned.certificate, authority_.active().certificate,
                                    authority_.root().certificate})),
              StatusIs(kDenied, "ISSUER_NOT_PINNED"));
  EXPECT_THAT(begin({Set(2)}, CaChain(authority_.Leaf("/linchpin/node/n1"))),
              StatusIs(kDenied, "UNEXPECTED_PEER"));
}

TEST_F(TrustAcceptanceTest, SignersNeverFallBackToSetZero) {
  TrustHeld held{.cursor = {.trust_domain = authority_.trust_domain()}};
  held.cursor.signers = *DecodeSigners(SignersOf(kSigners, 2));
  EXPECT_THAT(Accept(held, Incoming(1)), StatusIs(kPrecondition, "withheld"));
  const TrustHeld nothing{.cursor = {.trust_domain = authority_.trust_domain()}};
  EXPECT_THAT(Accept(nothing, Incoming(1)), StatusIs(kPrecondition));
}

TEST_F(TrustAcceptanceTest, TheSignersFileIsChecked) {
  v1::SignersFile file = SignersFile(1);
  file.set_trust_domain("Example");
  EXPECT_THAT(BeginSigned(file, {Set(1)}, CaChain(), kNow, kSkew), StatusIs(kInvalid));
  file = SignersFile(1);
  file.mutable_signers()->set_threshold(4);
  EXPECT_THAT(BeginSigned(file, {Set(1)}, CaChain(), kNow, kSkew), StatusIs(kInvalid, "threshold"));
}

}  // namespace
}  // namespace linchpin::trust
