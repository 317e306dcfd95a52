// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/peer_policy.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::trust {
namespace {

using test::StatusIs;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

SpiffeId Id(const std::string& path) { return *SpiffeId::Parse("spiffe://example.org" + path); }

v1::PeerRule Rule(const std::string& from, const std::string& to, bool outbound, bool inbound,
                  v1::PeerRule::Mode mode = v1::PeerRule::ENFORCE) {
  v1::PeerRule rule;
  rule.set_from(Id(from).ToString());
  rule.set_to(Id(to).ToString());
  rule.set_outbound(outbound);
  rule.set_inbound(inbound);
  rule.set_mode(mode);
  return rule;
}

TEST(PeerPolicy, DeniesByDefault) {
  EXPECT_EQ(PeerPolicy().Ask(Direction::kInbound, Id("/web")), PolicyAnswer::kDenied);
  ASSERT_OK_AND_ASSIGN(const PeerPolicy none, PeerPolicy::ForIdentity(Id("/web"), {}));
  EXPECT_EQ(none.Ask(Direction::kOutbound, Id("/payments")), PolicyAnswer::kDenied);
}

TEST(PeerPolicy, EachEndTakesItsOwnHalf) {
  const std::vector<v1::PeerRule> rules = {Rule("/web", "/payments", true, true)};
  ASSERT_OK_AND_ASSIGN(const PeerPolicy web, PeerPolicy::ForIdentity(Id("/web"), rules));
  ASSERT_OK_AND_ASSIGN(const PeerPolicy payments, PeerPolicy::ForIdentity(Id("/payments"), rules));
  ASSERT_OK_AND_ASSIGN(const PeerPolicy orders, PeerPolicy::ForIdentity(Id("/orders"), rules));
  EXPECT_EQ(web.Ask(Direction::kOutbound, Id("/payments")), PolicyAnswer::kAllowed);
  EXPECT_EQ(web.Ask(Direction::kInbound, Id("/payments")), PolicyAnswer::kDenied);
  EXPECT_EQ(payments.Ask(Direction::kInbound, Id("/web")), PolicyAnswer::kAllowed);
  EXPECT_EQ(payments.Ask(Direction::kOutbound, Id("/web")), PolicyAnswer::kDenied);
  EXPECT_TRUE(orders.Peers(Direction::kInbound).empty());
  EXPECT_TRUE(orders.Peers(Direction::kOutbound).empty());
}

TEST(PeerPolicy, AHalfThatIsNotThereIsNotEnforcedAsTheOther) {
  ASSERT_OK_AND_ASSIGN(
      const PeerPolicy web,
      PeerPolicy::ForIdentity(Id("/web"), {Rule("/web", "/payments", false, true)}));
  EXPECT_EQ(web.Ask(Direction::kOutbound, Id("/payments")), PolicyAnswer::kDenied);
}

TEST(PeerPolicy, AnswersAuditedWhereARuleOnlyAudits) {
  ASSERT_OK_AND_ASSIGN(const PeerPolicy web,
                       PeerPolicy::ForIdentity(Id("/web"), {Rule("/web", "/payments", true, true,
                                                                 v1::PeerRule::AUDIT)}));
  EXPECT_EQ(web.Ask(Direction::kOutbound, Id("/payments")), PolicyAnswer::kAudited);
  EXPECT_EQ(web.Peers(Direction::kOutbound), std::vector<SpiffeId>{Id("/payments")});
}

TEST(PeerPolicy, OfTwoRulesForAPairTheAllowingOneWinsInAnyOrder) {
  std::vector<v1::PeerRule> rules = {Rule("/web", "/payments", true, true, v1::PeerRule::AUDIT),
                                     Rule("/web", "/payments", true, true)};
  for (int order = 0; order < 2; ++order) {
    ASSERT_OK_AND_ASSIGN(const PeerPolicy web, PeerPolicy::ForIdentity(Id("/web"), rules));
    EXPECT_EQ(web.Ask(Direction::kOutbound, Id("/payments")), PolicyAnswer::kAllowed);
    std::swap(rules[0], rules[1]);
  }
}

TEST(PeerPolicy, GivesItsRulesBackSorted) {
  const std::vector<v1::PeerRule> rules = {Rule("/web", "/z", true, true),
                                           Rule("/web", "/a", true, false, v1::PeerRule::AUDIT),
                                           Rule("/m", "/web", false, true)};
  ASSERT_OK_AND_ASSIGN(const PeerPolicy web, PeerPolicy::ForIdentity(Id("/web"), rules));
  const std::vector<v1::PeerRule> back = web.rules(Id("/web"));
  ASSERT_EQ(back.size(), 3u);
  EXPECT_EQ(back[0].to(), Id("/a").ToString());
  EXPECT_EQ(back[1].to(), Id("/z").ToString());
  EXPECT_EQ(back[2].from(), Id("/m").ToString());
  ASSERT_OK_AND_ASSIGN(const PeerPolicy again, PeerPolicy::ForIdentity(Id("/web"), back));
  EXPECT_EQ(again.Ask(Direction::kOutbound, Id("/a")), PolicyAnswer::kAudited);
  EXPECT_EQ(again.Ask(Direction::kOutbound, Id("/z")), PolicyAnswer::kAllowed);
  EXPECT_EQ(again.Ask(Direction::kInbound, Id("/m")), PolicyAnswer::kAllowed);
}

TEST(PeerPolicy, RefusesMalformedAndReservedRulesEvenOfOthers) {
  const auto with = [](const std::string& from, const std::string& to) {
    v1::PeerRule rule;
    rule.set_from(from);
    rule.set_to(to);
    return PeerPolicy::ForIdentity(Id("/web"), {Rule("/web", "/a", true, true), rule}).status();
  };
  EXPECT_THAT(with("web", Id("/a").ToString()), StatusIs(kInvalid, "peer rule 1, from"));
  EXPECT_THAT(with(Id("/a").ToString(), ""), StatusIs(kInvalid, "peer rule 1, to"));
  EXPECT_THAT(with(Id("/linchpin/node/n1").ToString(), Id("/a").ToString()),
              StatusIs(kInvalid, "is reserved"));
  EXPECT_THAT(with(Id("/a").ToString(), Id("/linchpin/ca").ToString()),
              StatusIs(kInvalid, "is reserved"));
  v1::PeerRule rule = Rule("/web", "/a", true, true);
  rule.set_mode(static_cast<v1::PeerRule::Mode>(5));
  EXPECT_THAT(PeerPolicy::ForIdentity(Id("/web"), {rule}), StatusIs(kInvalid, "mode 5"));
}

}  // namespace
}  // namespace linchpin::trust
