// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/ca_core.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"
#include "trust/judge.h"
#include "trust/mtls_context.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }

// Tokens.

TEST(JoinToken, GivesTheSameNodeToTheSameKeyAgain) {
  CoreWorld world;
  const std::string token = world.Token("a");
  ASSERT_OK_AND_ASSIGN(const auto first, world.Attest(token, world.node_key));
  ASSERT_OK_AND_ASSIGN(const auto again, world.Attest(token, world.node_key));
  EXPECT_EQ(first.node_id(), Id("/linchpin/node/a"));
  EXPECT_EQ(again.node_id(), first.node_id());
  EXPECT_THAT(world.core->registry().nodes(), SizeIs(1));
}

TEST(JoinToken, IsRefusedToAnotherKey) {
  CoreWorld world;
  const std::string token = world.Token("a");
  ASSERT_OK(world.Attest(token, world.node_key));
  EXPECT_THAT(world.Attest(token, NewKey()),
              StatusIs(StatusCode::kPermissionDenied, "already redeemed by another key"));
}

TEST(JoinToken, IsRefusedToAnotherKeyAfterARestartToo) {
  CoreWorld world;
  const std::string token = world.Token("a");
  ASSERT_OK(world.Attest(token, world.node_key));
  world.Restart();
  EXPECT_THAT(world.Attest(token, NewKey()), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_OK(world.Attest(token, world.node_key));
}

TEST(JoinToken, IsRefusedOnceExpired) {
  CoreWorld world;
  const std::string token = world.Token("a", 60);
  world.now += absl::Seconds(60);
  EXPECT_THAT(world.Attest(token, world.node_key),
              StatusIs(StatusCode::kPermissionDenied, "expired at"));
}

TEST(JoinToken, OfNobodyIsRefused) {
  CoreWorld world;
  EXPECT_THAT(world.Attest("lpt_guess", world.node_key),
              StatusIs(StatusCode::kPermissionDenied, "not known"));
}

TEST(JoinToken, IsNotInTheStore) {
  CoreWorld world;
  const std::string token = world.Token("a");
  ASSERT_OK_AND_ASSIGN(const ca::Store::Listing listing, world.store.List(""));
  for (const ca::Record& record : listing.records) {
    EXPECT_THAT(record.key + record.value, ::testing::Not(HasSubstr(token)));
  }
  EXPECT_GE(token.size(), 32u);
}

TEST(JoinToken, HasABoundedLife) {
  CoreWorld world;
  ca::v1::CreateJoinTokenRequest asked;
  asked.set_ttl_seconds(8 * 24 * 3600);
  EXPECT_THAT(world.Admin<ca::v1::JoinToken>(asked), StatusIs(StatusCode::kInvalidArgument));
  asked.set_ttl_seconds(60);
  asked.set_node_name("no/slash");
  EXPECT_THAT(world.Admin<ca::v1::JoinToken>(asked), StatusIs(StatusCode::kInvalidArgument));
}

TEST(JoinToken, IsForgottenADayAfterItExpired) {
  CoreWorld world;
  world.Token("a", 60);
  world.now += absl::Hours(25);
  world.Step(ca::event::Tick{});
  EXPECT_THAT(world.core->registry().tokens(), IsEmpty());
}

// Nodes.

TEST(Node, ThatIsBannedIsRefusedEverything) {
  CoreWorld world;
  const std::string token = world.Token("a");
  ASSERT_OK_AND_ASSIGN(const auto attested, world.Attest(token, world.node_key));
  const std::string node = attested.node_id();
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web"));
  world.Hello(1, node);
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::BanNode{node}));
  EXPECT_THAT(world.closed.at(1), StatusIs(StatusCode::kPermissionDenied, "banned"));
  EXPECT_THAT(world.Attest(token, world.node_key),
              StatusIs(StatusCode::kPermissionDenied, "banned"));
  EXPECT_THAT(world.Answer<ca::v1::IssueResponse>(world.AskIssue(node, identity.identity_id())),
              StatusIs(StatusCode::kPermissionDenied, "banned"));
  world.Hello(2, node);
  EXPECT_THAT(world.closed.at(2), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(world.Renew(world.Caller(node), world.node_key),
              StatusIs(StatusCode::kPermissionDenied, "banned"));
}

TEST(Node, RenewsWithANewKey) {
  CoreWorld world;
  const std::string node = world.Join("a");
  const x509::PrivateKey key = NewKey();
  ASSERT_OK_AND_ASSIGN(const auto renewed, world.Renew(world.Caller(node), key));
  ASSERT_OK_AND_ASSIGN(const auto leaf, x509::Certificate::FromDer(renewed.chain(0)));
  EXPECT_EQ(leaf.public_key(), key.public_key());
  EXPECT_THAT(leaf.fields().uri_sans, ElementsAre(node));
}

TEST(Node, ComesBackWithAnExpiredCertificateWithinTheGrace) {
  CoreWorld world;
  ASSERT_OK_AND_ASSIGN(const auto attested, world.Attest(world.Token("a"), world.node_key));
  ASSERT_OK_AND_ASSIGN(const auto leaf, x509::Certificate::FromDer(attested.chain(0)));
  const auto again = [&](const x509::PrivateKey& key) {
    const ca::CallId call = world.next_call++;
    world.Step(ca::event::AttestAsked{call, CoreWorld::Request(key),
                                      ca::ExpiredCertificateEvidence{leaf}});
    return world.Answer<ca::v1::AttestResponse>(call);
  };
  world.now += absl::Hours(24 * 7);
  EXPECT_OK(again(world.node_key));
  EXPECT_THAT(again(NewKey()), StatusIs(StatusCode::kPermissionDenied, "not signed with the key"));
  world.now += absl::Hours(25);
  EXPECT_THAT(again(world.node_key), StatusIs(StatusCode::kPermissionDenied, "grace"));
}

// The same leaf of an issuer that this CA does not have, as if it had been dropped meanwhile.
x509::Certificate OfADroppedIssuer(const x509::Certificate& leaf, const std::string& serial) {
  const x509::PrivateKey dropped = NewKey();
  x509::CertificateSpec spec;
  spec.common_name = "dropped";
  spec.serial = "dropped";
  spec.not_before = leaf.fields().not_before;
  spec.not_after = leaf.fields().not_after + absl::Hours(24 * 30);  // not believed
  spec.is_ca = true;
  spec.key_cert_sign = true;
  const x509::Certificate issuer = *x509::SelfSign(spec, dropped);
  spec.is_ca = spec.key_cert_sign = false;
  spec.digital_signature = true;
  spec.uri_sans = leaf.fields().uri_sans;
  spec.serial = serial;
  return *x509::SignCertificate(spec, leaf.public_key(), issuer, dropped);
}

TEST(Node, WhoseIssuerWasDroppedWhileItWasAwayComesBackByItsRecord) {
  CoreWorld world;
  ASSERT_OK_AND_ASSIGN(const auto attested, world.Attest(world.Token("a"), world.node_key));
  ASSERT_OK_AND_ASSIGN(const auto leaf, x509::Certificate::FromDer(attested.chain(0)));
  const auto again = [&](const std::string& serial) {
    const ca::CallId call = world.next_call++;
    world.Step(
        ca::event::AttestAsked{call, CoreWorld::Request(world.node_key),
                               ca::ExpiredCertificateEvidence{OfADroppedIssuer(leaf, serial)}});
    return world.Answer<ca::v1::AttestResponse>(call);
  };
  const std::string serial = leaf.fields().serial;
  world.now += absl::Hours(24 * 8 + 1);
  EXPECT_THAT(again(serial), StatusIs(StatusCode::kPermissionDenied, "grace"));
  world.now -= absl::Hours(2);
  EXPECT_THAT(again("another"), StatusIs(StatusCode::kPermissionDenied, "not issued by this CA"));
  EXPECT_OK(again(serial));
  EXPECT_THAT(again(serial), StatusIs(StatusCode::kPermissionDenied, "not issued by this CA"))
      << "it has a newer one";
}

TEST(Node, WithARevokedExpiredCertificateIsRefused) {
  CoreWorld world;
  ASSERT_OK_AND_ASSIGN(const auto attested, world.Attest(world.Token("a"), world.node_key));
  ASSERT_OK_AND_ASSIGN(const auto leaf, x509::Certificate::FromDer(attested.chain(0)));
  state::v1::RevocationRecord record;
  record.add_revocations()->set_serial(leaf.fields().serial);
  ASSERT_OK(world.store.Commit(
      {{.key = "revocation/1", .value = record.SerializeAsString(), .expected = 0}}));
  world.Restart();
  world.now += absl::Hours(25);
  const ca::CallId call = world.next_call++;
  world.Step(ca::event::AttestAsked{call, CoreWorld::Request(world.node_key),
                                    ca::ExpiredCertificateEvidence{leaf}});
  EXPECT_THAT(world.Answer<ca::v1::AttestResponse>(call),
              StatusIs(StatusCode::kPermissionDenied, "revoked"));
}

TEST(Node, IsForgottenWithAllItsTokensHoweverMany) {
  CoreWorld world;
  std::vector<std::string> tokens;
  for (size_t i = 0; i < ca::Store::kMaxBatch + 50; ++i) tokens.push_back(world.Token("a"));
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::ForgetNode{"a"}));
  EXPECT_EQ(world.core->registry().tokens().size(), 0u);
  world.Token("a");
  EXPECT_THAT(world.Attest(tokens.back(), world.node_key),
              StatusIs(StatusCode::kPermissionDenied, "not known"));
}

TEST(Node, WithAForeignExpiredCertificateIsRefused) {
  CoreWorld world, other;
  world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto theirs, other.Attest(other.Token("a"), other.node_key));
  const ca::CallId call = world.next_call++;
  world.Step(ca::event::AttestAsked{
      call, CoreWorld::Request(other.node_key),
      ca::ExpiredCertificateEvidence{*x509::Certificate::FromDer(theirs.chain(0))}});
  EXPECT_THAT(world.Answer<ca::v1::AttestResponse>(call),
              StatusIs(StatusCode::kPermissionDenied, "not issued by this CA"));
}

TEST(Node, IsNotForgottenWhileAnIdentityNamesIt) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK(world.Register("/web", {node}));
  EXPECT_THAT(world.Admin<ca::v1::Node>(ca::ForgetNode{"a"}),
              StatusIs(StatusCode::kFailedPrecondition));
}

// Issuing.

TEST(Issue, AnswersOnlyAfterTheLogHasIt) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web"));
  world.hold_issues = true;
  const ca::CallId call = world.AskIssue(node, identity.identity_id());
  EXPECT_EQ(world.ReplyOf(call), nullptr);
  const size_t logged = world.log.size();
  world.CompleteAll();
  ASSERT_OK_AND_ASSIGN(const auto answer, world.Answer<ca::v1::IssueResponse>(call));
  ASSERT_THAT(answer.results(), SizeIs(1));
  EXPECT_THAT(answer.results(0).chain(), SizeIs(2));
  ASSERT_THAT(world.log, SizeIs(logged + 1));
  EXPECT_EQ(world.log.back().spiffe_id(), Id("/web"));
  EXPECT_EQ(world.log.back().certificate_sha256(), x509::Sha256(answer.results(0).chain(0)));
}

TEST(Issue, OfALogThatFailedGivesNoCertificate) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web"));
  world.issue_fault = absl::DataLossError("the log ended");
  EXPECT_THAT(world.Answer<ca::v1::IssueResponse>(world.AskIssue(node, identity.identity_id())),
              StatusIs(StatusCode::kDataLoss));
}

TEST(Issue, RefusesWhatTheRegistryDoesNotGiveThisNode) {
  CoreWorld world;
  const std::string a = world.Join("a"), b = world.Join("b");
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web", {b}));
  const auto code = [&](const std::string& node, const std::string& id, const std::string& asks) {
    auto answer = world.Answer<ca::v1::IssueResponse>(world.AskIssue(node, id, asks));
    return static_cast<StatusCode>(answer->results(0).code());
  };
  EXPECT_EQ(code(a, identity.identity_id(), ""), StatusCode::kPermissionDenied);
  EXPECT_EQ(code(b, "no-such", ""), StatusCode::kNotFound);
  EXPECT_EQ(code(b, identity.identity_id(), Id("/db")), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(b, identity.identity_id(), Id("/web")), StatusCode::kOk);
}

TEST(Issue, TellsEachItemItsOwnResult) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web"));
  const ca::CallId call = world.next_call++;
  world.Step(ca::event::IssueAsked{call,
                                   world.Caller(node),
                                   {{"gone", CoreWorld::RequestDer(world.node_key)},
                                    {identity.identity_id(), CoreWorld::RequestDer(world.node_key)},
                                    {identity.identity_id(), ""}}});
  ASSERT_OK_AND_ASSIGN(const auto answer, world.Answer<ca::v1::IssueResponse>(call));
  EXPECT_EQ(answer.results(0).code(), 5u);
  EXPECT_THAT(answer.results(1).chain(), SizeIs(2));
  EXPECT_EQ(answer.results(2).message(), "certificate request: it is empty");
}

TEST(Issue, SignsNothingForACallerWhoHasGivenUp) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web"));
  world.hold_issues = true;
  const auto ask = [&](size_t certificates, absl::Time deadline) {
    ca::event::IssueAsked asked{
        .call = world.next_call++, .caller = world.Caller(node), .items = {}, .deadline = deadline};
    asked.items.resize(certificates,
                       {identity.identity_id(), CoreWorld::RequestDer(world.node_key)});
    const ca::CallId call = asked.call;
    world.Step(std::move(asked));
    return call;
  };
  std::vector<ca::CallId> first;
  for (size_t asked = 0; asked < ca::IssueQueue::kMaxUnderWay;
       asked += ca::CaCore::kMaxIssueItems) {
    first.push_back(ask(ca::CaCore::kMaxIssueItems, absl::InfiniteFuture()));
  }
  const ca::CallId stale = ask(1, world.now + absl::Seconds(5));
  const ca::CallId patient = ask(1, world.now + absl::Seconds(6));
  world.now += absl::Seconds(5);
  const size_t held = world.held_issues.size();
  world.hold_issues = false;
  world.CompleteAll();
  EXPECT_EQ(held, first.size());
  EXPECT_THAT(world.Answer<ca::v1::IssueResponse>(stale),
              StatusIs(StatusCode::kDeadlineExceeded, "deadline"));
  EXPECT_OK(world.Answer<ca::v1::IssueResponse>(patient));
  EXPECT_TRUE(world.core->idle());
}

TEST(Issue, GivesACertificateThatJudgeAccepts) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web"));
  ASSERT_OK_AND_ASSIGN(const auto answer, world.Answer<ca::v1::IssueResponse>(
                                              world.AskIssue(node, identity.identity_id())));
  trust::v1::PeerRule rule;
  rule.set_from(Id("/web"));
  rule.set_to(Id("/db"));
  rule.set_inbound(true);
  ASSERT_OK_AND_ASSIGN(const auto db, trust::SpiffeId::Parse(Id("/db")));
  ASSERT_OK_AND_ASSIGN(auto policy, trust::PeerPolicy::ForIdentity(db, {rule}));
  ASSERT_OK_AND_ASSIGN(const auto context,
                       trust::MtlsContext::Make(
                           {.trust = {{world.options.profile.trust_domain, world.trusts.back()}},
                            .policy = policy}));
  const auto& chain = answer.results(0).chain();
  const trust::Verdict verdict =
      trust::Judge({chain.begin(), chain.end()}, *context, trust::Direction::kInbound,
                   trust::Expect::AnyAllowed(), world.now, nullptr);
  EXPECT_TRUE(verdict.allowed) << verdict.ToString();
}

TEST(Issue, ClampsTheLifeToTheIssuers) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto identity, world.Register("/web"));
  const absl::Time ends = world.core->authorities().active().certificate.fields().not_after;
  world.now = ends - absl::Minutes(5);
  ASSERT_OK_AND_ASSIGN(const auto answer, world.Answer<ca::v1::IssueResponse>(
                                              world.AskIssue(node, identity.identity_id())));
  EXPECT_EQ(x509::Certificate::FromDer(answer.results(0).chain(0))->fields().not_after, ends);
  world.now = ends;
  ASSERT_OK_AND_ASSIGN(const auto late, world.Answer<ca::v1::IssueResponse>(
                                            world.AskIssue(node, identity.identity_id())));
  EXPECT_THAT(late.results(0).message(), HasSubstr("rotate the issuer"));
}

// The CA's own certificate.

TEST(ServingCertificate, IsLoggedAndRenewedAtHalfItsLife) {
  CoreWorld world;
  ASSERT_THAT(world.serving, SizeIs(1));
  EXPECT_THAT(world.serving[0], SizeIs(3));
  EXPECT_THAT(world.serving[0][0].fields().uri_sans, ElementsAre(Id("/linchpin/ca")));
  EXPECT_EQ(world.log[0].spiffe_id(), Id("/linchpin/ca"));
  world.now += absl::Hours(11);
  world.Step(ca::event::Tick{});
  EXPECT_THAT(world.serving, SizeIs(1));
  world.now += absl::Hours(1);
  world.Step(ca::event::Tick{});
  EXPECT_THAT(world.serving, SizeIs(2));
  EXPECT_EQ(world.core->NotReady(world.now), "");
}

TEST(ServingCertificate, IsTriedAgainAfterAFailure) {
  CoreWorld world;
  world.now += absl::Hours(12);
  world.issue_fault = absl::UnavailableError("no");
  world.Step(ca::event::Tick{});
  EXPECT_THAT(world.serving, SizeIs(1));
  world.now += absl::Seconds(5);
  world.Step(ca::event::Tick{});
  EXPECT_THAT(world.serving, SizeIs(2));
}

}  // namespace
}  // namespace linchpin::test
