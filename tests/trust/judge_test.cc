// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What golden chains cannot show: time that passes, trust that changes, and the cost.

#include "trust/judge.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::Certified;
using test::ContextOf;
using test::Ders;
using test::kNow;
using test::Rule;
using test::TestAuthority;
using testing::HasSubstr;

class JudgeTest : public testing::Test {
 protected:
  std::shared_ptr<const MtlsContext> Web(std::shared_ptr<const TrustState> state) const {
    return ContextOf({std::move(state)}, rules_, "/web", authority_);
  }
  std::shared_ptr<const TrustState> StateWith(v1::EffectivePins pins) const {
    TrustStateParts parts = authority_.StateParts();
    parts.pins = std::move(pins);
    return *TrustState::Make(std::move(parts));
  }
  RawChain ChainOf(const std::string& path) const {
    return Ders({authority_.Leaf(path).certificate, authority_.active().certificate});
  }
  Verdict Out(const RawChain& chain, const MtlsContext& context, x509::PathMemo* memo = nullptr,
              absl::Time now = kNow) const {
    return Judge(chain, context, Direction::kOutbound, payments_, now, memo);
  }
  Verdict Again(const RawChain& chain, const MtlsContext& context, absl::Time now) const {
    return JudgeAgain(chain, context, Direction::kOutbound, payments_, kNow, now, nullptr);
  }

  TestAuthority authority_;
  const Expect payments_ = Expect::Id(authority_.Id("/payments"));
  const std::vector<v1::PeerRule> rules_ = {
      Rule("spiffe://example.org/web", "spiffe://example.org/payments")};
};

TEST_F(JudgeTest, AllowsAPairFromBothEnds) {
  const auto web = ContextOf({authority_.State()}, rules_, "/web", authority_);
  const auto payments = ContextOf({authority_.State()}, rules_, "/payments", authority_);
  const Verdict out = Out(ChainOf("/payments"), *web);
  EXPECT_TRUE(out.allowed) << out.ToString();
  EXPECT_EQ(out.peer, authority_.Id("/payments"));
  EXPECT_EQ(out.path.size(), 3u);
  EXPECT_EQ(out.ToString(), "allowed spiffe://example.org/payments");
  const Verdict in =
      Judge(ChainOf("/web"), *payments, Direction::kInbound, Expect::AnyAllowed(), kNow, nullptr);
  EXPECT_TRUE(in.allowed) << in.ToString();
}

TEST_F(JudgeTest, NamesBothTimesWhereTheClocksDisagree) {
  const Verdict verdict =
      Out(ChainOf("/payments"), *Web(authority_.State()), nullptr, kNow - absl::Hours(2));
  EXPECT_EQ(verdict.reason(), v1::NOT_YET_VALID);
  EXPECT_THAT(verdict.ToString(), HasSubstr("not valid before 2030-03-17T16:46:40Z"));
  EXPECT_THAT(verdict.ToString(), HasSubstr("it is 2030-03-17T15:46:40Z here"));
  EXPECT_THAT(verdict.ToString(), HasSubstr("check both clocks"));
}

TEST_F(JudgeTest, JudgedAgainAnExpiredLeafStaysAllowed) {
  const auto context = Web(authority_.State());
  const RawChain chain = ChainOf("/payments");
  const absl::Time later = kNow + absl::Hours(24);
  EXPECT_EQ(Out(chain, *context, nullptr, later).reason(), v1::EXPIRED);
  EXPECT_TRUE(Again(chain, *context, later).allowed);
}

TEST_F(JudgeTest, JudgedAgainPinsPolicyAndRevocationsAreThoseOfNow) {
  const RawChain chain = ChainOf("/payments");
  EXPECT_TRUE(Again(chain, *Web(authority_.State()), kNow).allowed);

  const auto backup_only =
      Web(StateWith(SetZero({authority_.root().pin()}, {authority_.backup().pin()})));
  EXPECT_EQ(Again(chain, *backup_only, kNow).reason(), v1::ISSUER_NOT_PINNED);

  const auto no_rules = ContextOf({authority_.State()}, {}, "/web", authority_);
  EXPECT_EQ(Again(chain, *no_rules, kNow).reason(), v1::PEER_NOT_ALLOWED);

  TrustStateParts parts = authority_.StateParts();
  v1::Revocation denied;
  denied.set_spiffe_id("spiffe://example.org/payments");
  denied.set_issued_before(absl::ToUnixSeconds(kNow));
  parts.revocations = *Revocations::FromMessages({denied});
  EXPECT_EQ(Again(chain, *Web(*TrustState::Make(std::move(parts))), kNow).reason(), v1::REVOKED);
}

TEST_F(JudgeTest, PinsFailClosedOnceTheirHolderSawThemExpireNotByTheClockAlone) {
  v1::EffectivePins pins = authority_.StateParts().pins;
  pins.set_version(2);
  pins.set_expires_at(absl::ToUnixSeconds(kNow) + 3600);
  pins.set_on_expiry(v1::PinSet::FAIL_CLOSED);
  EXPECT_TRUE(Again(ChainOf("/payments"), *Web(StateWith(pins)), kNow + absl::Hours(2)).allowed);
  pins.set_expired(true);
  EXPECT_EQ(Again(ChainOf("/payments"), *Web(StateWith(pins)), kNow).reason(), v1::PINS_EXPIRED);
}

TEST_F(JudgeTest, RelaxedPinsAreReportedUntilTheirTimeIsOver) {
  v1::EffectivePins pins = SetZero({authority_.root().pin()}, {});
  pins.set_version(2);
  pins.set_relaxed_until(absl::ToUnixSeconds(kNow) + 60);
  const auto context = Web(StateWith(pins));
  const RawChain chain = ChainOf("/payments");
  const Verdict relaxed = Out(chain, *context, nullptr, kNow + absl::Seconds(59));
  EXPECT_TRUE(relaxed.allowed);
  ASSERT_EQ(relaxed.findings.size(), 1u);
  EXPECT_EQ(relaxed.findings[0].reason, v1::ISSUER_NOT_PINNED);
  EXPECT_THAT(relaxed.findings[0].detail, ::testing::HasSubstr("relaxed until"));
  EXPECT_EQ(Out(chain, *context, nullptr, kNow + absl::Seconds(60)).reason(),
            v1::ISSUER_NOT_PINNED);
}

TEST_F(JudgeTest, RelaxedPinsLetNoOtherRootIn) {
  v1::EffectivePins pins = authority_.StateParts().pins;
  pins.set_relaxed_until(absl::ToUnixSeconds(kNow) + 60);
  const test::TestAuthority rogue("example.org", "rogue");
  const test::Certified leaf = rogue.Leaf("/payments");
  const RawChain chain = {leaf.certificate.der(), rogue.active().certificate.der(),
                          rogue.root().certificate.der()};
  EXPECT_EQ(Out(chain, *Web(StateWith(pins)), nullptr).reason(), v1::NO_PATH);
}

TEST_F(JudgeTest, MemoisedPathsAreJudgedByThePinsOfNow) {
  x509::PathMemo memo;
  const RawChain chain = ChainOf("/payments");
  const auto good = Web(authority_.State());
  EXPECT_TRUE(Out(chain, *good, &memo).allowed);
  EXPECT_TRUE(Out(chain, *good, &memo).allowed);
  EXPECT_EQ(memo.hits(), 1u);
  const auto unpinned = Web(StateWith(SetZero({authority_.root().pin()}, {})));
  EXPECT_EQ(Out(chain, *unpinned, &memo).reason(), v1::ISSUER_NOT_PINNED);
  EXPECT_EQ(Out(chain, *good, &memo, kNow + absl::Hours(2)).reason(), v1::EXPIRED);
  EXPECT_EQ(Out(chain, *good, &memo, kNow - absl::Hours(2)).reason(), v1::NOT_YET_VALID);
}

TEST_F(JudgeTest, MemoisedPathsDoNotOutliveTheirAnchorsOrCandidates) {
  x509::PathMemo memo;
  const RawChain leaf_alone = {authority_.Leaf("/payments").certificate.der()};
  EXPECT_TRUE(Out(leaf_alone, *Web(authority_.State()), &memo).allowed);
  TrustStateParts without_issuers = authority_.StateParts();
  without_issuers.issuers.clear();
  EXPECT_EQ(Out(leaf_alone, *Web(*TrustState::Make(std::move(without_issuers))), &memo).reason(),
            v1::NO_PATH);

  const TestAuthority other("example.org", "other");
  const auto other_roots = ContextOf({other.State()}, rules_, "/web", authority_);
  EXPECT_TRUE(Out(ChainOf("/payments"), *Web(authority_.State()), &memo).allowed);
  EXPECT_EQ(Out(ChainOf("/payments"), *other_roots, &memo).reason(), v1::NO_PATH);
}

TEST_F(JudgeTest, EachTrustDomainIsJudgedByItsOwnAnchors) {
  const TestAuthority partner("partner.org", "partner");
  const std::vector<v1::PeerRule> rules = {
      Rule("spiffe://example.org/web", "spiffe://partner.org/payments")};
  const auto context = ContextOf({authority_.State(), partner.State()}, rules, "/web", authority_);
  const Expect expect = Expect::Id(partner.Id("/payments"));
  const Verdict good =
      Judge(Ders({partner.Leaf("/payments").certificate, partner.active().certificate}), *context,
            Direction::kOutbound, expect, kNow, nullptr);
  EXPECT_TRUE(good.allowed) << good.ToString();
  // Our own CA, which we trust for our own names, certifies one of theirs.
  const TestAuthority forger("partner.org", "authority");
  const Verdict forged =
      Judge(Ders({forger.Leaf("/payments").certificate, forger.active().certificate}), *context,
            Direction::kOutbound, expect, kNow, nullptr);
  EXPECT_EQ(forged.reason(), v1::NO_PATH);
  EXPECT_FALSE(forged.peer.has_value());
}

TEST_F(JudgeTest, RolesAreThoseOfOurOwnTrustDomain) {
  const TestAuthority partner("partner.org", "partner");
  const auto context =
      ContextOf({authority_.State(), partner.State()}, {}, "/linchpin/node/n1", authority_);
  const auto judge = [&](const TestAuthority& authority) {
    return Judge(Ders({authority.Leaf("/linchpin/ca").certificate, authority.active().certificate}),
                 *context, Direction::kOutbound, Expect::Ca(), kNow, nullptr);
  };
  EXPECT_TRUE(judge(authority_).allowed);
  EXPECT_EQ(judge(partner).reason(), v1::UNEXPECTED_PEER);

  // Without a certificate and with several trust domains nobody can say which is our own.
  MtlsContextParts parts;
  parts.trust = context->trust();
  const auto bare = *MtlsContext::Make(std::move(parts));
  EXPECT_EQ(Judge(Ders({authority_.Leaf("/linchpin/ca").certificate}), *bare, Direction::kOutbound,
                  Expect::Ca(), kNow, nullptr)
                .reason(),
            v1::UNEXPECTED_PEER);
}

TEST_F(JudgeTest, LimitsComeBeforeParsing) {
  const auto context = Web(authority_.State());
  EXPECT_EQ(Out(RawChain(9, "garbage"), *context).reason(), v1::TOO_MANY_CERTIFICATES);
  EXPECT_EQ(Out(RawChain(2, std::string(8193, 'x')), *context).reason(), v1::CHAIN_TOO_LARGE);
  EXPECT_EQ(Out({"garbage"}, *context).reason(), v1::MALFORMED_CERTIFICATE);
  EXPECT_EQ(Out({""}, *context).reason(), v1::MALFORMED_CERTIFICATE);
  RawChain trailing = ChainOf("/payments");
  trailing[0] += "x";
  EXPECT_EQ(Out(trailing, *context).reason(), v1::MALFORMED_CERTIFICATE);
}

TEST_F(JudgeTest, NoTruncatedOrFlippedLeafIsEverAllowed) {
  const auto context = Web(authority_.State());
  const RawChain good = ChainOf("/payments");
  ASSERT_TRUE(Out(good, *context).allowed);
  for (size_t i = 0; i < good[0].size(); ++i) {
    RawChain flipped = good;
    flipped[0][i] = static_cast<char>(flipped[0][i] ^ 0x10);
    EXPECT_FALSE(Out(flipped, *context).allowed) << "byte " << i;
    EXPECT_FALSE(Out({good[0].substr(0, i), good[1]}, *context).allowed) << "byte " << i;
  }
}

}  // namespace
}  // namespace linchpin::trust
