// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sdk/service.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using Kind = tls::Notice::Kind;
using ::testing::HasSubstr;

TEST(Handshake, BothSidesKnowEachOther) {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  ASSERT_OK(pair.client);
  ASSERT_OK(pair.server);
  EXPECT_EQ((*pair.client)->peer_id(), kPayments);
  EXPECT_EQ((*pair.server)->peer_id(), kWeb);
  EXPECT_TRUE((*pair.client)->verdict().allowed);
  EXPECT_NE((*pair.client)->group(), "");
  ExpectAlive(pair);
}

TEST(Handshake, AStrangerIsRefusedAndBothSidesCanSayWhy) {
  World world;
  agent::v1::MtlsContexts contexts = world.Contexts(kStranger);
  World::Allow(&contexts, kStranger, kPayments);  // its own half: the callee's is missing
  Service stranger(contexts);
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*stranger.Client(), *payments.Server(), kPayments);
  EXPECT_THAT(pair.server, StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
  EXPECT_THAT(pair.client, StatusIs(StatusCode::kPermissionDenied, "TLS alert"));
  const tls::Notice notice = payments.notices().WaitFor(Kind::kPeerRefused);
  EXPECT_EQ(notice.verdict.reason, "PEER_NOT_ALLOWED");
  EXPECT_EQ(notice.verdict.peer_id, kStranger);
}

TEST(Handshake, AnAllowedPeerMayNotAnswerForAnother) {
  World world;
  agent::v1::MtlsContexts contexts = world.Contexts(kWeb);
  World::Allow(&contexts, kWeb, kStranger);
  Service web(contexts);
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*web.Client(), *payments.Server(), kStranger);
  EXPECT_THAT(pair.client, StatusIs(StatusCode::kPermissionDenied, "UNEXPECTED_PEER"));
  EXPECT_FALSE(pair.server.ok());
}

TEST(Handshake, AnUnpinnedIssuerUnderTheTrueRootIsRefused) {
  World world;
  const Signer rogue = world.MakeIssuer("rogue");
  Service web(world.Contexts(kWeb));
  Service payments(world.ContextsOf(kPayments, rogue));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  EXPECT_THAT(pair.client, StatusIs(StatusCode::kPermissionDenied, "ISSUER_NOT_PINNED"));
  EXPECT_THAT(pair.server, StatusIs(StatusCode::kPermissionDenied, "unknown CA"));
}

TEST(Handshake, APinSetThatOnlyReportsLetsPassAndSaysSo) {
  World world;
  const Signer rogue = world.MakeIssuer("rogue");
  agent::v1::MtlsContexts contexts = world.Contexts(kWeb);
  contexts.mutable_trust_domains(0)->mutable_pins()->set_mode(trust::v1::PinSet::REPORT_ONLY);
  Service web(contexts);
  Service payments(world.ContextsOf(kPayments, rogue));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  ExpectAlive(pair);
  EXPECT_THAT((*pair.client)->verdict().detail, HasSubstr("only reported: ISSUER_NOT_PINNED: "));
}

TEST(Handshake, WithoutAContextTheClientIsUnavailable) {
  World world;
  Service web;
  web.Open();
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  EXPECT_THAT(pair.client, StatusIs(StatusCode::kUnavailable, "NO_CONTEXT"));
  EXPECT_FALSE(pair.server.ok());
}

TEST(Handshake, WithoutAContextTheServerIsUnavailable) {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments;
  payments.Open();
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  EXPECT_THAT(pair.server, StatusIs(StatusCode::kUnavailable, "NO_CONTEXT"));
  EXPECT_THAT(pair.client, StatusIs(StatusCode::kUnavailable, "internal error"));
}

TEST(Handshake, AnIdentityThatWasNotDeliveredIsUnavailable) {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments(world.Contexts(kPayments));
  tls::TlsOptions options;
  options.identity = kStranger;
  Pair pair = Meet(*web.Client(options), *payments.Server(), kPayments);
  EXPECT_THAT(pair.client, StatusIs(StatusCode::kUnavailable, kStranger));
}

TEST(Handshake, AnOwnLeafThatHasExpiredIsNotShown) {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments(world.Contexts(kPayments));
  web.clock().Shift(absl::Hours(2));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  EXPECT_THAT(pair.client, StatusIs(StatusCode::kUnavailable, "expired"));
}

TEST(Handshake, APeerWhoseLeafHasExpiredIsRefused) {
  World world;
  Service web(world.ContextsOf(kWeb, world.issuer(), absl::Hours(3)));
  Service payments(world.ContextsOf(kPayments, world.issuer(), absl::Hours(1)));
  web.clock().Shift(absl::Hours(2));
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  EXPECT_THAT(pair.client, StatusIs(StatusCode::kPermissionDenied, "EXPIRED"));
  EXPECT_THAT(pair.server, StatusIs(StatusCode::kPermissionDenied, "expired"));
}

TEST(Handshake, WithTheAgentGoneTheLastContextServes) {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments(world.Contexts(kPayments));
  web.StopAgent();
  payments.StopAgent();
  web.notices().WaitFor(Kind::kAgentLost);
  payments.notices().WaitFor(Kind::kAgentLost);
  Pair pair = Meet(*web.Client(), *payments.Server(), kPayments);
  ExpectAlive(pair);
}

TEST(Handshake, ARenewalIsShownInTheNextHandshake) {
  World world;
  Service web(world.Contexts(kWeb));
  agent::v1::MtlsContexts contexts = world.Contexts(kPayments);
  Service payments(contexts);
  auto client = web.Client();
  auto server = payments.Server();
  Pair before = Meet(*client, *server, kPayments);
  const std::string old_serial = payments.source()->Current().at(0).serial;
  world.SetLeaf(&contexts, kPayments, world.issuer(), world.MakeLeaf(kPayments, world.issuer()));
  payments.Deliver(contexts);
  EXPECT_NE(payments.source()->Current().at(0).serial, old_serial);
  Pair after = Meet(*client, *server, kPayments);
  ExpectAlive(after);
  ExpectAlive(before);  // a renewal closes nothing
}

TEST(Handshake, AClientThatDoesNotSayWhomItExpectsIsStopped) {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments(world.Contexts(kPayments));
  Pair pair = Meet(*web.Client(), *payments.Server(), "not an id");
  EXPECT_THAT(pair.client, StatusIs(StatusCode::kInvalidArgument, "not an id"));
}

TEST(Handshake, GarbageFromTheNetworkIsRefused) {
  World world;
  Service payments(world.Contexts(kPayments));
  auto server = payments.Server();
  for (const std::string& garbage :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(4096, '\0'), std::string(4096, '\x16'),
        std::string("\x16\x03\x01\xff\xff", 5) + std::string(70000, 'x'), std::string()}) {
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    std::thread writer([&] {
      (void)!send(fds[1], garbage.data(), garbage.size(), MSG_NOSIGNAL);
      shutdown(fds[1], SHUT_WR);
    });
    EXPECT_THAT(tls::Connection::Accept(*server, fds[0], kLong),
                StatusIs(StatusCode::kUnavailable));
    writer.join();
    close(fds[1]);
  }
  Service web(world.Contexts(kWeb));
  Pair pair = Meet(*web.Client(), *server, kPayments);
  ExpectAlive(pair);
}

TEST(Handshake, ASilentClientIsGivenUp) {
  World world;
  Service payments(world.Contexts(kPayments));
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  EXPECT_THAT(tls::Connection::Accept(*payments.Server(), fds[0], absl::Milliseconds(20)),
              StatusIs(StatusCode::kDeadlineExceeded));
  close(fds[1]);
}

}  // namespace
}  // namespace linchpin::test
