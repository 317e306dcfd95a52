// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <algorithm>
#include <variant>

#include "sdk/sdk_core.h"
#include "tests/sdk/world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

namespace action = tls::action;
namespace event = tls::event;

template <typename T>
std::vector<T> All(const std::vector<tls::Action>& actions) {
  std::vector<T> found;
  for (const tls::Action& a : actions) {
    if (const T* wanted = std::get_if<T>(&a)) found.push_back(*wanted);
  }
  return found;
}

class SdkCoreTest : public ::testing::Test {
 protected:
  SdkCoreTest() {
    Step(event::Started{});
    Step(event::StreamOpened{});
  }

  std::vector<tls::Action> Step(const tls::Event& e) { return core_.Step(now_, e); }

  // Delivers and swaps; the actions of both steps.
  std::vector<tls::Action> PutInForce(const agent::v1::MtlsContexts& message) {
    std::vector<tls::Action> actions = Step(event::ContextsReceived{message});
    const auto swaps = All<action::Swap>(actions);
    EXPECT_EQ(swaps.size(), 1u);
    for (tls::Action& a : Step(event::Swapped{swaps.at(0).contexts->generation})) {
      actions.push_back(std::move(a));
    }
    return actions;
  }

  event::ConnectionOpened Inbound(tls::ConnectionId id, const std::string& peer) {
    const Signer leaf = world_.MakeLeaf(peer, world_.issuer());
    event::ConnectionOpened opened;
    opened.id = id;
    opened.self_id = kPayments;
    opened.context = core_.in_force()->Find(kPayments);
    opened.chain = {leaf.certificate.der(), world_.issuer().certificate.der()};
    opened.handshake_time = now_;
    opened.trust_digest = core_.in_force()->decoded.trust_digest;
    return opened;
  }

  event::Judged Refused(const std::string& peer) {
    event::Judged judged;
    judged.counts.Add({trust::v1::PEER_NOT_ALLOWED, kPayments, peer, trust::Direction::kInbound},
                      1);
    return judged;
  }

  World world_;
  absl::Time now_ = world_.now();
  tls::SdkCore core_{tls::CoreOptions{.seed = 7}};
};

TEST_F(SdkCoreTest, AcknowledgesOnlyAfterTheSwap) {
  const auto received = Step(event::ContextsReceived{world_.Contexts(kPayments)});
  EXPECT_TRUE(All<action::Report>(received).empty());
  EXPECT_EQ(core_.in_force(), nullptr);
  const auto swaps = All<action::Swap>(received);
  ASSERT_EQ(swaps.size(), 1u);
  const auto reports = All<action::Report>(Step(event::Swapped{swaps[0].contexts->generation}));
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].request.trust_epoch(), 1u);
  EXPECT_EQ(reports[0].request.trust_digest(), core_.in_force()->decoded.trust_digest);
}

TEST_F(SdkCoreTest, ASwapThatWasOvertakenIsNotAcknowledged) {
  const auto first = All<action::Swap>(Step(event::ContextsReceived{world_.Contexts(kPayments)}));
  agent::v1::MtlsContexts newer = world_.Contexts(kPayments);
  World::NextEpoch(&newer);
  const auto second = All<action::Swap>(Step(event::ContextsReceived{newer}));
  const auto early = Step(event::Swapped{first.at(0).contexts->generation});
  EXPECT_TRUE(All<action::Report>(early).empty());
  const auto reports = All<action::Report>(Step(event::Swapped{second.at(0).contexts->generation}));
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].request.trust_epoch(), 2u);
}

TEST_F(SdkCoreTest, ARenewalIsSwappedInAndNotReported) {
  PutInForce(world_.Contexts(kPayments));
  Step(event::ReportDone{});
  EXPECT_TRUE(All<action::Report>(PutInForce(world_.Contexts(kPayments))).empty());
}

TEST_F(SdkCoreTest, ARefusedMessageLeavesTheLastGoodOne) {
  PutInForce(world_.Contexts(kPayments));
  const auto before = core_.in_force();
  agent::v1::MtlsContexts bad = world_.Contexts(kPayments);
  bad.mutable_identities(0)->set_private_key("no key");
  const auto actions = Step(event::ContextsReceived{bad});
  EXPECT_EQ(All<action::RefusedMessage>(actions).size(), 1u);
  EXPECT_TRUE(All<action::Swap>(actions).empty());
  EXPECT_EQ(core_.in_force(), before);
}

TEST_F(SdkCoreTest, AWithdrawnIdentityKeepsServing) {
  PutInForce(world_.Contexts(kPayments));
  agent::v1::MtlsContexts none;
  none.add_selectors("unix:uid:1");
  const auto actions = Step(event::ContextsReceived{none});
  ASSERT_EQ(All<action::NoIdentity>(actions).size(), 1u);
  EXPECT_NE(core_.in_force(), nullptr);
}

TEST_F(SdkCoreTest, AWithdrawnIdentityGoesOnUnderTheTrustOfNow) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  PutInForce(contexts);
  Step(event::ReportDone{});
  Step(Inbound(1, kWeb));
  const auto before = core_.in_force();
  World::Revoke(&contexts, kWeb, now_ + absl::Minutes(1));
  contexts.clear_identities();
  const auto actions = PutInForce(contexts);
  EXPECT_EQ(All<action::NoIdentity>(actions).size(), 1u);
  const auto closed = All<action::CloseConnection>(actions);
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].verdict->reason(), trust::v1::REVOKED);
  const auto context = core_.in_force()->Find(kPayments);
  ASSERT_NE(context, nullptr);
  EXPECT_EQ(context->chain().front().der(), before->Find(kPayments)->chain().front().der());
  EXPECT_EQ(context->policy().Ask(trust::Direction::kInbound, trust::SpiffeId::Parse(kWeb).value()),
            trust::PolicyAnswer::kAllowed);
  const auto reports = All<action::Report>(actions);
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].request.trust_epoch(), 2u);
  EXPECT_EQ(reports[0].request.trust_digest(), context->trust_digest())
      << "what is enforced: the trust of now and the rules that are held";
}

TEST_F(SdkCoreTest, TrustWithoutAnIdentityIsNotPutInForceWhereNothingIsHeld) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  contexts.clear_identities();
  EXPECT_TRUE(All<action::Swap>(Step(event::ContextsReceived{contexts})).empty());
}

TEST_F(SdkCoreTest, AConnectionOfOneIdentityThatIsGoneIsStillJudgedAgain) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  PutInForce(contexts);
  Step(Inbound(1, kWeb));
  Step(Inbound(2, kStranger));
  agent::v1::MtlsContexts other = world_.Contexts(kWeb);
  World::Revoke(&other, kStranger, now_ + absl::Minutes(1));
  World::Revoke(&other, kWeb, now_ - absl::Hours(1));  // before its leaf was issued
  const auto closed = All<action::CloseConnection>(PutInForce(other));
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].id, 2u);
  EXPECT_EQ(core_.connections(), 2u);
}

TEST_F(SdkCoreTest, AClockSetBackDelaysNoReconnectAndNoReport) {
  PutInForce(world_.Contexts(kPayments));
  Step(event::ReportDone{});
  Step(Refused(kWeb));
  Step(event::ReportDone{absl::UnavailableError("gone")});
  now_ -= absl::Hours(1);
  EXPECT_EQ(All<action::Report>(Step(event::TimerFired{})).size(), 1u);
  Step(event::StreamLost{absl::UnavailableError("gone")});
  now_ -= absl::Hours(1);
  EXPECT_EQ(All<action::OpenStream>(Step(event::TimerFired{})).size(), 1u);
}

TEST_F(SdkCoreTest, ReopensALostStreamLaterAndLater) {
  absl::Duration longest;
  for (int i = 0; i < 12; ++i) {
    const auto timers =
        All<action::SetTimer>(Step(event::StreamLost{absl::UnavailableError("gone")}));
    ASSERT_EQ(timers.size(), 1u);
    longest = std::max(longest, timers[0].at - now_);
    now_ = timers[0].at;
    EXPECT_EQ(All<action::OpenStream>(Step(event::TimerFired{})).size(), 1u);
    Step(event::StreamOpened{});
  }
  EXPECT_GT(longest, absl::Seconds(2));
  EXPECT_LE(longest, absl::Seconds(5));
}

TEST_F(SdkCoreTest, AnEarlyTimerIsSetAgain) {
  Step(event::StreamLost{absl::UnavailableError("gone")});
  const auto actions = Step(event::TimerFired{});
  EXPECT_TRUE(All<action::OpenStream>(actions).empty());
  EXPECT_EQ(All<action::SetTimer>(actions).size(), 1u);
}

TEST_F(SdkCoreTest, ReportsVerdictsOnceASecondAtMost) {
  PutInForce(world_.Contexts(kPayments));
  Step(event::ReportDone{});
  auto reports = All<action::Report>(Step(Refused(kWeb)));
  ASSERT_EQ(reports.size(), 1u);
  Step(event::ReportDone{});
  const auto quiet = Step(Refused(kWeb));
  EXPECT_TRUE(All<action::Report>(quiet).empty());
  EXPECT_TRUE(All<action::Report>(Step(Refused(kWeb))).empty());
  ASSERT_EQ(All<action::SetTimer>(quiet).size(), 1u);
  now_ = All<action::SetTimer>(quiet)[0].at;
  reports = All<action::Report>(Step(event::TimerFired{}));
  ASSERT_EQ(reports.size(), 1u);
  ASSERT_EQ(reports[0].request.verdicts_size(), 1);
  EXPECT_EQ(reports[0].request.verdicts(0).count(), 2u);
}

TEST_F(SdkCoreTest, AReportThatFailedIsSentAgainWithItsCounts) {
  PutInForce(world_.Contexts(kPayments));
  Step(event::ReportDone{});
  Step(Refused(kWeb));
  Step(event::ReportDone{absl::UnavailableError("gone")});
  now_ += absl::Seconds(2);
  const auto reports = All<action::Report>(Step(event::TimerFired{}));
  ASSERT_EQ(reports.size(), 1u);
  ASSERT_EQ(reports[0].request.verdicts_size(), 1);
  EXPECT_EQ(reports[0].request.verdicts(0).count(), 1u);
}

TEST_F(SdkCoreTest, CountsOfManyPeersAreBounded) {
  for (size_t i = 0; i < 3 * tls::VerdictCounts::kMaxKeys; ++i) {
    Step(Refused(absl::StrCat("spiffe://example.org/peer/", i)));
  }
  auto reports = All<action::Report>(PutInForce(world_.Contexts(kPayments)));
  uint64_t sum = 0;
  for (int i = 0; i < 4 && !reports.empty(); ++i) {
    // As much as an agent takes at once; the rest follows.
    EXPECT_LE(reports[0].request.verdicts_size(),
              static_cast<int>(tls::VerdictCounts::kMostInReport));
    EXPECT_LT(reports[0].request.ByteSizeLong(), size_t{256} << 10);
    for (const auto& entry : reports[0].request.verdicts()) sum += entry.count();
    Step(event::ReportDone{});
    now_ += absl::Minutes(1);
    reports = All<action::Report>(Step(event::TimerFired{}));
  }
  EXPECT_EQ(sum, 3 * tls::VerdictCounts::kMaxKeys);
}

TEST_F(SdkCoreTest, LongNamesMakeSmallReports) {
  const std::string long_path(1500, 'p');
  for (int i = 0; i < 300; ++i) {
    Step(Refused(absl::StrCat("spiffe://example.org/", long_path, i)));
  }
  const auto reports = All<action::Report>(PutInForce(world_.Contexts(kPayments)));
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_GT(reports[0].request.verdicts_size(), 0);
  EXPECT_LT(reports[0].request.ByteSizeLong(), size_t{256} << 10);
}

TEST_F(SdkCoreTest, CountsThatTheAgentWillNeverTakeDoNotKeepBackTheAcknowledgement) {
  PutInForce(world_.Contexts(kPayments));
  Step(event::ReportDone{});
  Step(Refused(kWeb));
  now_ += absl::Minutes(1);
  Step(event::TimerFired{});
  Step(event::ReportDone{absl::InvalidArgumentError("too much")});
  now_ += absl::Minutes(1);
  for (const auto& report : All<action::Report>(Step(event::TimerFired{}))) {
    EXPECT_EQ(report.request.verdicts_size(), 0);
  }
}

TEST_F(SdkCoreTest, ANewStreamIsAcknowledgedAgain) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  PutInForce(contexts);
  Step(event::ReportDone{});
  Step(event::StreamLost{absl::UnavailableError("restarted")});
  now_ += absl::Seconds(5);
  Step(event::TimerFired{});
  Step(event::StreamOpened{});
  contexts.set_consumer_id("another");
  const auto reports = All<action::Report>(PutInForce(contexts));
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].request.consumer_id(), "another");
}

TEST_F(SdkCoreTest, ARevokedPeerIsClosedAtOnceAndAnAllowedOneIsKept) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  World::Allow(&contexts, kStranger, kPayments);
  PutInForce(contexts);
  Step(Inbound(1, kWeb));
  Step(Inbound(2, kStranger));
  World::Revoke(&contexts, kStranger, now_ + absl::Minutes(1));
  const auto closed = All<action::CloseConnection>(PutInForce(contexts));
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].id, 2u);
  EXPECT_EQ(closed[0].verdict->reason(), trust::v1::REVOKED);
  Step(event::ConnectionClosed{2});
  EXPECT_EQ(core_.connections(), 1u);
}

TEST_F(SdkCoreTest, AConnectionJudgedUnderOlderTrustIsJudgedAgainAtOnce) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  PutInForce(contexts);
  event::ConnectionOpened opened = Inbound(1, kWeb);
  World::Revoke(&contexts, kWeb, now_ + absl::Minutes(1));
  PutInForce(contexts);
  EXPECT_EQ(All<action::CloseConnection>(Step(opened)).size(), 1u);
}

TEST_F(SdkCoreTest, AConnectionUnderASwapThatIsUnderWayIsNotJudgedByTheOldTrust) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  PutInForce(contexts);
  World::Allow(&contexts, kStranger, kPayments);
  const auto swap = All<action::Swap>(Step(event::ContextsReceived{contexts})).at(0);
  event::ConnectionOpened opened = Inbound(1, kStranger);
  opened.trust_digest = swap.contexts->decoded.trust_digest;
  EXPECT_TRUE(All<action::CloseConnection>(Step(opened)).empty());
  const auto swapped = Step(event::Swapped{swap.contexts->generation});
  EXPECT_TRUE(All<action::CloseConnection>(swapped).empty());
}

TEST_F(SdkCoreTest, ADroppedIssuerClosesWithinAMinuteUnlessTheSetIsUrgent) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  PutInForce(contexts);
  for (tls::ConnectionId id = 1; id <= 20; ++id) Step(Inbound(id, kWeb));
  contexts.mutable_trust_domains(0)->mutable_pins()->set_issuers(0,
                                                                 world_.MakeIssuer("next").pin());
  const auto actions = PutInForce(contexts);
  size_t closed = All<action::CloseConnection>(actions).size();
  EXPECT_LT(closed, 20u);
  now_ += absl::Seconds(30);
  closed += All<action::CloseConnection>(Step(event::TimerFired{})).size();
  EXPECT_GT(closed, 0u);
  EXPECT_LT(closed, 20u);
  now_ += absl::Seconds(30);
  closed += All<action::CloseConnection>(Step(event::TimerFired{})).size();
  EXPECT_EQ(closed, 20u);
}

TEST_F(SdkCoreTest, TrustThatComesBackInTimeClosesNothing) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  const agent::v1::MtlsContexts good = contexts;
  PutInForce(contexts);
  Step(Inbound(1, kWeb));
  contexts.mutable_trust_domains(0)->mutable_pins()->set_issuers(0,
                                                                 world_.MakeIssuer("next").pin());
  EXPECT_TRUE(All<action::CloseConnection>(PutInForce(contexts)).empty());
  PutInForce(good);
  now_ += absl::Minutes(5);
  EXPECT_TRUE(All<action::CloseConnection>(Step(event::TimerFired{})).empty());
}

TEST_F(SdkCoreTest, ClosesAtTheGreatestAgeAndABitBefore) {
  PutInForce(world_.Contexts(kPayments));
  event::ConnectionOpened opened = Inbound(1, kWeb);
  opened.max_age = absl::Minutes(10);
  Step(opened);
  now_ += absl::Minutes(9) - absl::Seconds(1);
  EXPECT_TRUE(All<action::CloseConnection>(Step(event::TimerFired{})).empty());
  now_ += absl::Minutes(1) + absl::Seconds(1);
  const auto closed = All<action::CloseConnection>(Step(event::TimerFired{}));
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_FALSE(closed[0].verdict.has_value());
}

}  // namespace
}  // namespace linchpin::test
