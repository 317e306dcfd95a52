// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sdk/service.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using Kind = tls::Notice::Kind;

TEST(LiveConnection, ARevokedPeerIsClosedAndOthersAreKept) {
  World world;
  agent::v1::MtlsContexts contexts = world.Contexts(kPayments);
  World::Allow(&contexts, kStranger, kPayments);
  Service payments(contexts);
  Service web(world.Contexts(kWeb));
  agent::v1::MtlsContexts other = world.Contexts(kStranger);
  World::Allow(&other, kStranger, kPayments);
  Service stranger(other);
  auto server = payments.Server();
  Pair kept = Meet(*web.Client(), *server, kPayments);
  Pair closed = Meet(*stranger.Client(), *server, kPayments);
  ExpectAlive(kept);
  ExpectAlive(closed);

  World::Revoke(&contexts, kStranger, world.now() + absl::Minutes(1));
  payments.Deliver(contexts);
  EXPECT_THAT((*closed.server)->Read(1, kLong), StatusIs(StatusCode::kPermissionDenied, "REVOKED"));
  EXPECT_FALSE((*closed.client)->Read(1, kLong).value_or("").size());
  ExpectAlive(kept);
  EXPECT_EQ(payments.notices().WaitFor(Kind::kPeerNoLongerAllowed).verdict.reason, "REVOKED");
}

TEST(LiveConnection, APolicyThatNoLongerAllowsThePeerClosesIt) {
  World world;
  agent::v1::MtlsContexts contexts = world.Contexts(kWeb);
  Service web(contexts);
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  ExpectAlive(pair);
  contexts.mutable_identities(0)->clear_rules();
  World::NextEpoch(&contexts);
  web.Deliver(contexts);
  EXPECT_THAT((*pair.client)->Read(1, kLong),
              StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
}

TEST(LiveConnection, AnUrgentPinSetWithoutItsIssuerClosesIt) {
  World world;
  agent::v1::MtlsContexts contexts = world.Contexts(kWeb);
  Service web(contexts);
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  ExpectAlive(pair);
  const Signer other = world.MakeIssuer("other");
  trust::v1::EffectivePins* pins = contexts.mutable_trust_domains(0)->mutable_pins();
  pins->set_issuers(0, other.pin());
  pins->set_version(2);
  pins->set_urgent(true);
  World::NextEpoch(&contexts);
  web.Deliver(contexts);
  EXPECT_THAT((*pair.client)->Read(1, kLong),
              StatusIs(StatusCode::kPermissionDenied, "ISSUER_NOT_PINNED"));
}

TEST(LiveConnection, AnIssuerThatIsNoLongerSentAlongButStillPinnedClosesNothing) {
  World world;
  agent::v1::MtlsContexts contexts = world.Contexts(kWeb);
  Service web(contexts);
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  contexts.mutable_trust_domains(0)->clear_issuers();
  contexts.mutable_trust_domains(0)->mutable_pins()->set_urgent(true);
  World::NextEpoch(&contexts);
  web.Deliver(contexts);
  EXPECT_TRUE(web.agent().WaitForReport(
      [](const agent::v1::ReportRequest& report) { return report.trust_epoch() == 2; }));
  ExpectAlive(pair);
}

TEST(LiveConnection, ALeafThatExpiresClosesNothing) {
  World world;
  agent::v1::MtlsContexts contexts = world.ContextsOf(kWeb, world.issuer(), absl::Hours(3));
  Service web(contexts);
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  web.clock().Shift(absl::Hours(2));
  World::Revoke(&contexts, kStranger, world.now());  // judged again, by a later clock
  web.Deliver(contexts);
  ExpectAlive(pair);
}

TEST(LiveConnection, ReachesItsGreatestAge) {
  World world;
  Service web(world.Contexts(kWeb));
  agent::v1::MtlsContexts contexts = world.Contexts(kPayments);
  Service payments(contexts);
  tls::TlsOptions options;
  options.max_connection_age = absl::Hours(1);
  Pair pair = Meet(*web.Client(), *payments.Server(options), kPayments);
  ExpectAlive(pair);
  payments.clock().Shift(absl::Hours(1));
  World::NextEpoch(&contexts);
  payments.Deliver(contexts);  // whatever happens next, it looks at the clock
  payments.notices().WaitFor(Kind::kConnectionAge);
  EXPECT_THAT((*pair.server)->Write("x", kLong), StatusIs(StatusCode::kUnavailable, "age"));
  // The peer sees an orderly end.
  EXPECT_THAT((*pair.client)->Read(1, kLong), IsOkAndHolds(std::string()));
}

TEST(LiveConnection, CloseEndsAReadOfAnotherThread) {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  ASSERT_OK(pair.client);
  std::thread closer([&] { (*pair.client)->Close(); });
  EXPECT_THAT((*pair.client)->Read(1, kLong), StatusIs(StatusCode::kFailedPrecondition));
  closer.join();
  EXPECT_THAT((*pair.server)->Read(1, kLong), IsOkAndHolds(std::string()));
}

TEST(LiveConnection, OutlivesItsSourceAndItsContext) {
  World world;
  Pair pair;
  {
    Service web(world.Contexts(kWeb));
    Service payments(world.Contexts(kPayments));
    pair = Meet(*web.Client(), *payments.Server(), kPayments);
    ExpectAlive(pair);
    // The clocks of the test go with the services; the connections must go before them.
    pair = Pair();
  }
}

TEST(Reports, WhatIsInForceIsAcknowledgedAndVerdictsAreCounted) {
  World world;
  agent::v1::MtlsContexts contexts = world.Contexts(kPayments);
  Service payments(contexts);
  Service web(world.Contexts(kWeb));
  EXPECT_TRUE(payments.agent().WaitForReport([&](const agent::v1::ReportRequest& report) {
    return report.trust_epoch() == 1 && report.consumer_id() == "consumer" &&
           report.trust_digest().size() == 32;
  }));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  ExpectAlive(pair);
  EXPECT_TRUE(payments.agent().WaitForReport([&](const agent::v1::ReportRequest& report) {
    return report.verdicts_size() == 1 && report.verdicts(0).peer_id() == kWeb &&
           report.verdicts(0).self_id() == kPayments && report.verdicts(0).inbound() &&
           report.verdicts(0).reason() == trust::v1::VERDICT_REASON_UNSPECIFIED &&
           report.verdicts(0).count() == 1;
  }));
  World::Revoke(&contexts, kStranger, world.now());
  payments.Deliver(contexts);
  EXPECT_TRUE(payments.agent().WaitForReport(
      [&](const agent::v1::ReportRequest& report) { return report.trust_epoch() == 2; }));
}

}  // namespace
}  // namespace linchpin::test
