// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Pin sets, the trust epoch, coverage, and what may enter the registry.

#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ca/core/ca_core.h"
#include "ca/core/registration.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"
#include "trust/freshness.h"
#include "trust/pin_set.h"
#include "trust/relax.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::SizeIs;

x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }

class PinSets : public ::testing::Test {
 protected:
  trust::v1::PinSet Draft(uint64_t version, const std::vector<x509::PrivateKey>& signers) {
    trust::v1::PinSet set;
    set.set_trust_domain(kDomain);
    set.set_version(version);
    set.set_mode(trust::v1::PinSet::ENFORCE);
    set.set_issued_at(absl::ToUnixSeconds(world.now));
    set.set_expires_at(absl::ToUnixSeconds(world.now + absl::Hours(24)));
    for (const ca::Authority& authority : world.core->authorities().all()) {
      const std::string pin = authority.certificate.public_key().pin().bytes();
      if (authority.is_root) {
        set.add_anchors()->set_spki_sha256(pin);
        continue;
      }
      trust::v1::IssuerPin* issuer = set.add_issuers();
      issuer->set_spki_sha256(pin);
      const bool backup = authority.state == ca::kBackup;
      issuer->set_role(backup ? trust::v1::IssuerPin::BACKUP : trust::v1::IssuerPin::ACTIVE);
      ca::v1::ProvePossessionRequest prove;
      prove.set_spki_sha256(pin);
      if (!backup) continue;
      *issuer->mutable_proof() = *world.Admin<trust::v1::PossessionProof>(prove);
    }
    for (const x509::PrivateKey& key : signers) {
      set.mutable_signers()->add_keys(key.public_key().spki());
    }
    set.mutable_signers()->set_threshold(1);
    return set;
  }
  static trust::v1::SignedPinSet Sign(const trust::v1::PinSet& set,
                                      const std::vector<x509::PrivateKey>& signers) {
    trust::v1::SignedPinSet made;
    made.set_payload(set.SerializeAsString());
    for (const x509::PrivateKey& key : signers) {
      *made.add_signatures() = trust::SignPinSet(made.payload(), key);
    }
    return made;
  }
  absl::StatusOr<ca::v1::PinSetPublished> Publish(const trust::v1::SignedPinSet& set) {
    return world.Admin<ca::v1::PinSetPublished>(ca::PublishPinSet{set});
  }

  CoreWorld world;
  x509::PrivateKey signer = NewKey();
};

TEST_F(PinSets, RaiseTheTrustEpochAndReachEveryNode) {
  world.Hello(1, world.Join("a"));
  ASSERT_OK_AND_ASSIGN(const auto published, Publish(Sign(Draft(1, {signer}), {signer})));
  EXPECT_EQ(published.version(), 1u);
  EXPECT_EQ(published.trust_epoch(), 2u);
  ASSERT_TRUE(world.pushed[1].back().has_trust());
  EXPECT_EQ(world.pushed[1].back().trust().epoch(), 2u);
  EXPECT_THAT(world.pushed[1].back().trust().pin_sets(), SizeIs(1));
}

TEST_F(PinSets, PublishedTwiceChangeNothing) {
  const auto set = Sign(Draft(1, {signer}), {signer});
  ASSERT_OK(Publish(set));
  ASSERT_OK_AND_ASSIGN(const auto again, Publish(set));
  EXPECT_EQ(again.trust_epoch(), 2u);
}

TEST_F(PinSets, OfStrangersAreRefused) {
  ASSERT_OK(Publish(Sign(Draft(1, {signer}), {signer})));
  const x509::PrivateKey stranger = NewKey();
  EXPECT_THAT(Publish(Sign(Draft(2, {stranger}), {stranger})),
              StatusIs(StatusCode::kPermissionDenied));
  EXPECT_OK(Publish(Sign(Draft(2, {stranger}), {signer, stranger})));
  EXPECT_THAT(Publish(Sign(Draft(3, {signer}), {signer})), StatusIs(StatusCode::kPermissionDenied));
}

TEST_F(PinSets, ThatGoBackAreRefused) {
  ASSERT_OK(Publish(Sign(Draft(5, {signer}), {signer})));
  EXPECT_THAT(Publish(Sign(Draft(4, {signer}), {signer})),
              StatusIs(StatusCode::kFailedPrecondition, "not newer"));
}

TEST_F(PinSets, ThatWouldLockTheFleetOutAreRefused) {
  trust::v1::PinSet no_root = Draft(1, {signer});
  no_root.mutable_anchors(0)->set_spki_sha256(NewKey().public_key().pin().bytes());
  EXPECT_THAT(Publish(Sign(no_root, {signer})),
              StatusIs(StatusCode::kFailedPrecondition, "among its anchors"));
  trust::v1::PinSet no_issuer = Draft(1, {signer});
  for (trust::v1::IssuerPin& issuer : *no_issuer.mutable_issuers()) {
    if (issuer.role() != trust::v1::IssuerPin::ACTIVE) continue;
    issuer.set_spki_sha256(NewKey().public_key().pin().bytes());
  }
  EXPECT_THAT(Publish(Sign(no_issuer, {signer})),
              StatusIs(StatusCode::kFailedPrecondition, "among its issuers"));
  trust::v1::PinSet expired = Draft(1, {signer});
  world.now += absl::Hours(24);
  EXPECT_THAT(Publish(Sign(expired, {signer})),
              StatusIs(StatusCode::kFailedPrecondition, "expired"));
  EXPECT_EQ(world.core->registry().trust().record.epoch(), 1u);
}

TEST_F(PinSets, AreKeptOnlyAsFarAsSomebodyNeedsThemToFollowTheSigners) {
  const x509::PrivateKey next = NewKey();
  ASSERT_OK(Publish(Sign(Draft(1, {signer}), {signer})));
  ASSERT_OK(Publish(Sign(Draft(2, {signer}), {signer})));
  ASSERT_OK(Publish(Sign(Draft(3, {signer}), {signer})));
  ASSERT_OK(Publish(Sign(Draft(4, {next}), {signer, next})));
  ASSERT_OK(Publish(Sign(Draft(5, {next}), {next})));
  ASSERT_OK(Publish(Sign(Draft(6, {next}), {next})));
  ca::v1::GetTrustRequest asked;
  asked.set_trust_domain(kDomain);
  world.Step(ca::event::GetTrustAsked{1000, asked});
  ASSERT_OK_AND_ASSIGN(const auto answer, world.Answer<ca::v1::GetTrustResponse>(1000));
  EXPECT_LE(answer.pin_sets_size(), 5);
  // A node that has slept since version 1 follows them to the last.
  ASSERT_OK_AND_ASSIGN(const auto first, trust::ParsePinSet(answer.pin_sets(0).payload()));
  ASSERT_OK_AND_ASSIGN(
      const auto followed,
      trust::FollowPinSets({.trust_domain = world.options.profile.trust_domain,
                            .signers = first.signers,
                            .version = 1},
                           {answer.pin_sets().begin(), answer.pin_sets().end()}, world.now, false));
  EXPECT_EQ(followed.cursor.version, 6u);
}

TEST_F(PinSets, ThatCallAnIssuerInUseABackupAreRefused) {
  trust::v1::PinSet set = Draft(1, {signer});
  for (trust::v1::IssuerPin& issuer : *set.mutable_issuers()) {
    const bool backup = issuer.role() == trust::v1::IssuerPin::BACKUP;
    issuer.set_role(backup ? trust::v1::IssuerPin::ACTIVE : trust::v1::IssuerPin::BACKUP);
    ca::v1::ProvePossessionRequest prove;
    prove.set_spki_sha256(issuer.spki_sha256());
    *issuer.mutable_proof() = *world.Admin<trust::v1::PossessionProof>(prove);
  }
  EXPECT_THAT(Publish(Sign(set, {signer})),
              StatusIs(StatusCode::kFailedPrecondition, "as a backup"));
}

TEST_F(PinSets, AreRelaxedByTheirOwnSignersUntilTheNextSet) {
  trust::v1::Relax relax;
  relax.set_trust_domain(kDomain);
  relax.set_version(1);
  relax.set_scope(trust::v1::Relax::ISSUER_PINS);
  relax.set_issued_at(absl::ToUnixSeconds(world.now));
  relax.set_latest(absl::ToUnixSeconds(world.now) + 3600);
  relax.set_max_seconds(600);
  ca::PlayRelax play;
  play.document.set_payload(relax.SerializeAsString());
  *play.document.add_signatures() = trust::SignRelax(play.document.payload(), signer);
  EXPECT_THAT(world.Admin<ca::v1::PinSetPublished>(play),
              StatusIs(StatusCode::kFailedPrecondition, "no pin set is published"));
  ASSERT_OK(Publish(Sign(Draft(1, {signer}), {signer})));
  world.Hello(1, world.Join("a"));
  ca::PlayRelax forged = play;
  *forged.document.mutable_signatures(0) = trust::SignRelax(play.document.payload(), NewKey());
  EXPECT_THAT(world.Admin<ca::v1::PinSetPublished>(forged),
              StatusIs(StatusCode::kPermissionDenied));
  ASSERT_OK_AND_ASSIGN(const auto played, world.Admin<ca::v1::PinSetPublished>(play));
  EXPECT_EQ(played.trust_epoch(), 3u);
  EXPECT_TRUE(world.pushed[1].back().trust().has_relax());
  ca::v1::GetTrustRequest asked;
  asked.set_trust_domain(kDomain);
  world.Step(ca::event::GetTrustAsked{1000, asked});
  ASSERT_OK_AND_ASSIGN(const auto shown, world.Answer<ca::v1::GetTrustResponse>(1000));
  EXPECT_TRUE(shown.has_relax());
  ASSERT_OK(Publish(Sign(Draft(2, {signer}), {signer})));
  EXPECT_FALSE(world.pushed[1].back().trust().has_relax());
  world.now += absl::Hours(1);
  EXPECT_THAT(world.Admin<ca::v1::PinSetPublished>(play),
              StatusIs(StatusCode::kFailedPrecondition));
}

TEST_F(PinSets, AreRelaxedAsOftenAsNodesHonourItAndByEachDocumentOnce) {
  ASSERT_OK(Publish(Sign(Draft(1, {signer}), {signer})));
  const auto play = [&](uint64_t version, int64_t seconds) {
    trust::v1::Relax relax;
    relax.set_trust_domain(kDomain);
    relax.set_version(version);
    relax.set_scope(trust::v1::Relax::ISSUER_PINS);
    relax.set_issued_at(absl::ToUnixSeconds(world.now));
    relax.set_latest(absl::ToUnixSeconds(world.now) + 3600);
    relax.set_max_seconds(seconds);
    ca::PlayRelax asked;
    asked.document.set_payload(relax.SerializeAsString());
    *asked.document.add_signatures() = trust::SignRelax(asked.document.payload(), signer);
    return world.Admin<ca::v1::PinSetPublished>(asked).status();
  };
  for (int i = 0; i < static_cast<int>(trust::kMaxRelaxes); ++i) EXPECT_OK(play(1, 600 + i));
  EXPECT_OK(play(1, 615)) << "asked again";
  EXPECT_THAT(play(1, 600), StatusIs(StatusCode::kFailedPrecondition, "was played before"));
  EXPECT_THAT(play(1, 700), StatusIs(StatusCode::kResourceExhausted, "publish the next set"));
  ASSERT_OK(Publish(Sign(Draft(2, {signer}), {signer})));
  EXPECT_OK(play(2, 700));
}

TEST_F(PinSets, AreSaidToBeTheNewestByTheKeyTheyName) {
  const x509::PrivateKey clerk = NewKey();
  trust::v1::PinSet set = Draft(1, {signer});
  set.set_freshness_key(clerk.public_key().spki());
  ASSERT_OK(Publish(Sign(set, {signer})));
  trust::v1::Freshness statement;
  statement.set_trust_domain(kDomain);
  statement.set_version(1);
  statement.set_issued_at(absl::ToUnixSeconds(world.now));
  statement.set_expires_at(absl::ToUnixSeconds(world.now) + 3600);
  const auto publish = [&](const trust::v1::SignedFreshness& made) {
    return world.Admin<ca::v1::PinSetPublished>(ca::PublishFreshness{made});
  };
  EXPECT_THAT(publish(trust::SignFreshness(statement, signer)),
              StatusIs(StatusCode::kPermissionDenied));
  EXPECT_OK(publish(trust::SignFreshness(statement, clerk)));
  EXPECT_THAT(world.core->Warnings(world.now), ::testing::Not(::testing::IsEmpty()));
  statement.set_version(2);
  EXPECT_THAT(publish(trust::SignFreshness(statement, clerk)),
              StatusIs(StatusCode::kFailedPrecondition, "version 2"));
  EXPECT_THAT(absl::StrJoin(world.core->Warnings(world.now + absl::Hours(48)), "\n"),
              HasSubstr("withheld"));
}

TEST_F(PinSets, ThatANodeHasByAnotherWayAreSaidToBeMissingHere) {
  ASSERT_OK(Publish(Sign(Draft(1, {signer}), {signer})));
  world.Hello(1, world.Join("a"));
  ca::v1::Ack ack;
  const auto concerns = [&](uint64_t version) {
    ack.set_pin_set_version(version);
    world.Step(ca::event::NodeAck{1, ack});
    const auto nodes = world.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest());
    return absl::StrJoin(nodes->nodes(0).pin_concerns(), "\n");
  };
  EXPECT_EQ(concerns(1), "");
  EXPECT_THAT(concerns(2), HasSubstr("publish it here too"));
}

TEST_F(PinSets, OfAnotherTrustDomainAreNotServed) {
  ca::v1::GetTrustRequest asked;
  asked.set_trust_domain("other.org");
  world.Step(ca::event::GetTrustAsked{1000, asked});
  EXPECT_THAT(world.Answer<ca::v1::GetTrustResponse>(1000),
              StatusIs(StatusCode::kFailedPrecondition, "example.org"));
}

TEST(Coverage, IsCompleteWhenEveryNodeAndConsumerEnforcesTheEpoch) {
  CoreWorld world;
  const std::string node = world.Join("a");
  const auto complete = [&] {
    return world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest())->complete();
  };
  EXPECT_FALSE(complete());
  world.Hello(1, node);
  ca::v1::Ack ack = world.Holding(1);
  world.Step(ca::event::NodeAck{1, ack});
  EXPECT_TRUE(complete());
  ca::v1::Consumer* consumer = ack.add_consumers();
  consumer->set_consumer_id("7");
  consumer->set_trust_epoch(1);
  world.Step(ca::event::NodeAck{1, ack});
  EXPECT_FALSE(complete()) << "no evidence yet";
  consumer->set_evidence(ca::v1::IN_FORCE);
  world.Step(ca::event::NodeAck{1, ack});
  EXPECT_TRUE(complete());
  ack.set_trust_epoch(0);
  world.Step(ca::event::NodeAck{1, ack});
  EXPECT_FALSE(complete()) << "acknowledgements may regress";
}

TEST(Authorities, WarnWhileTheBackupsKeyIsHere) {
  CoreWorld world;
  world.Step(ca::event::KeysSeen{{ca::kActiveKeyName, ca::kBackupKeyName}});
  EXPECT_THAT(world.core->Warnings(world.now), SizeIs(1));
  EXPECT_THAT(world.notes.back().message, HasSubstr("move it away"));
  world.Step(ca::event::KeysSeen{{ca::kActiveKeyName}});
  EXPECT_THAT(world.core->Warnings(world.now), SizeIs(0));
  ASSERT_OK_AND_ASSIGN(const auto answer,
                       world.Admin<ca::v1::Authorities>(ca::v1::GetAuthoritiesRequest()));
  EXPECT_EQ(answer.authorities(0).kind(), "root");
  EXPECT_EQ(answer.authorities(1).state(), "active");
  EXPECT_FALSE(answer.authorities(2).key_present());
}

TEST(Authorities, StoreATwinOfEachIssuer) {
  CoreWorld world;
  for (const ca::Authority& authority : world.core->authorities().all()) {
    if (authority.is_root) continue;
    ASSERT_TRUE(authority.twin.has_value());
    EXPECT_TRUE(x509::IsTwinOf(*authority.twin, authority.certificate));
  }
}

TEST(Authorities, SendTheTwinsToTheNodesAsTheyDoTheIssuers) {
  CoreWorld world;
  const ca::Authorities& authorities = world.core->authorities();
  const trust::v1::TrustState sent = ca::TrustMessage(world.core->registry(), authorities, 0);
  ASSERT_EQ(sent.twins_size(), sent.issuers_size());
  for (int i = 0; i < sent.twins_size(); ++i) {
    EXPECT_TRUE(x509::IsTwinOf(*x509::Certificate::FromDer(sent.twins(i)),
                               *x509::Certificate::FromDer(sent.issuers(i))));
  }
}

// Registration.

struct BadIdentity {
  const char* name;
  std::function<void(ca::v1::Identity*)> spoil;
  StatusCode code;
};

class RefusedIdentity : public ::testing::TestWithParam<BadIdentity> {};

TEST_P(RefusedIdentity, IsNotStored) {
  CoreWorld world;
  ca::v1::Identity identity;
  identity.set_spiffe_id(Id("/web"));
  identity.add_selectors("unix:uid:1");
  identity.set_any_node(true);
  GetParam().spoil(&identity);
  const auto answer = world.Admin<ca::v1::Identity>(ca::CreateIdentity{identity});
  EXPECT_THAT(answer, StatusIs(GetParam().code));
  EXPECT_THAT(world.core->registry().identities(), SizeIs(0));
}

using I = ca::v1::Identity;
constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
INSTANTIATE_TEST_SUITE_P(
    Identities, RefusedIdentity,
    ::testing::Values(
        BadIdentity{"NoId", [](I* i) { i->clear_spiffe_id(); }, kInvalid},
        BadIdentity{"Reserved", [](I* i) { i->set_spiffe_id(Id("/linchpin/ca")); }, kInvalid},
        BadIdentity{"ReservedNode", [](I* i) { i->set_spiffe_id(Id("/linchpin/x")); }, kInvalid},
        BadIdentity{"Foreign", [](I* i) { i->set_spiffe_id("spiffe://other.org/a"); }, kInvalid},
        BadIdentity{"NoPath", [](I* i) { i->set_spiffe_id("spiffe://example.org"); }, kInvalid},
        BadIdentity{"DotDot", [](I* i) { i->set_spiffe_id(Id("/a/../b")); }, kInvalid},
        BadIdentity{"NoSelector", [](I* i) { i->clear_selectors(); }, kInvalid},
        BadIdentity{"SelectorTwice", [](I* i) { i->add_selectors("unix:uid:1"); }, kInvalid},
        BadIdentity{"SelectorForm", [](I* i) { i->set_selectors(0, "unix:uid"); }, kInvalid},
        BadIdentity{"SelectorKey", [](I* i) { i->set_selectors(0, "unix:pid:1"); }, kInvalid},
        BadIdentity{"SelectorUid", [](I* i) { i->set_selectors(0, "unix:uid:root"); }, kInvalid},
        BadIdentity{"SelectorPath", [](I* i) { i->set_selectors(0, "unix:path:bin"); }, kInvalid},
        BadIdentity{"SelectorHash", [](I* i) { i->set_selectors(0, "unix:sha256:0"); }, kInvalid},
        BadIdentity{"NegativeTtl", [](I* i) { i->set_ttl_seconds(-1); }, kInvalid},
        BadIdentity{"TtlOverIssuer", [](I* i) { i->set_ttl_seconds(1 << 30); }, kInvalid},
        BadIdentity{"DnsWildcard", [](I* i) { i->add_dns_names("*.example.org"); }, kInvalid},
        BadIdentity{"DnsCapitals", [](I* i) { i->add_dns_names("Web"); }, kInvalid},
        BadIdentity{"DnsEmptyLabel", [](I* i) { i->add_dns_names("a..b"); }, kInvalid},
        BadIdentity{"NoNode", [](I* i) { i->set_any_node(false); }, kInvalid},
        BadIdentity{"BothNodes", [](I* i) { i->add_node_ids(Id("/linchpin/node/a")); }, kInvalid},
        BadIdentity{"HintControl", [](I* i) { i->set_hint("a\nb"); }, kInvalid},
        BadIdentity{"UnknownNode",
                    [](I* i) {
                      i->set_any_node(false);
                      i->add_node_ids(Id("/linchpin/node/nobody"));
                    },
                    StatusCode::kNotFound}),
    [](const auto& suite) { return suite.param.name; });

TEST(Identity, OfTheSameSelectorsIsThereOnce) {
  CoreWorld world;
  ASSERT_OK(world.Register("/web"));
  EXPECT_THAT(world.Register("/web"), StatusIs(StatusCode::kAlreadyExists));
  EXPECT_OK(world.Register("/db"));
}

TEST(Policy, RefusesReservedAndForeignEnds) {
  CoreWorld world;
  trust::v1::PeerRule rule;
  rule.set_from(Id("/web"));
  for (const char* to : {"spiffe://other.org/a", "spiffe://example.org/linchpin/ca", "", "x"}) {
    rule.set_to(to);
    EXPECT_THAT(world.Admin<ca::v1::PolicyChange>(ca::AllowPeer{rule}),
                StatusIs(StatusCode::kInvalidArgument));
  }
  rule.set_to(Id("/db"));
  ASSERT_OK_AND_ASSIGN(const auto made, world.Admin<ca::v1::PolicyChange>(ca::AllowPeer{rule}));
  EXPECT_TRUE(made.rule().inbound() && made.rule().outbound());
  ASSERT_OK_AND_ASSIGN(const auto again, world.Admin<ca::v1::PolicyChange>(ca::AllowPeer{rule}));
  EXPECT_EQ(again.revision(), made.revision()) << "nothing changed";
}

// What the profiles are, in one place to look at when one changes.
std::string Show(const x509::Certificate& certificate) {
  const x509::CertificateFields& f = certificate.fields();
  const auto flag = [](bool set, const char* name) {
    return set ? absl::StrCat(" ", name) : std::string();
  };
  return absl::StrCat(
      f.is_ca ? "CA" : "leaf", f.path_length ? absl::StrCat(" pathLen ", *f.path_length) : "",
      flag(f.key_usage_critical, "critical:"), flag(f.digital_signature, "digitalSignature"),
      flag(f.key_cert_sign, "keyCertSign"), flag(f.crl_sign, "cRLSign"), ";",
      flag(f.server_auth, "serverAuth"), flag(f.client_auth, "clientAuth"), ";",
      flag(f.san_critical, "critical:"), " ", absl::StrJoin(f.uri_sans, ","), " ",
      absl::StrJoin(f.dns_sans, ","), "; subject ", f.subject.empty() ? "empty" : "named",
      "; life ", absl::FormatDuration(f.not_after - f.not_before));
}

TEST(Profile, IsAsDocumented) {
  CoreWorld world;
  ASSERT_OK_AND_ASSIGN(const auto attested, world.Attest(world.Token("a"), world.node_key));
  ca::v1::Identity identity;
  identity.set_spiffe_id(Id("/web"));
  identity.add_selectors("unix:uid:1");
  identity.add_dns_names("web.internal");
  identity.set_any_node(true);
  ASSERT_OK_AND_ASSIGN(identity, world.Admin<ca::v1::Identity>(ca::CreateIdentity{identity}));
  ASSERT_OK_AND_ASSIGN(const auto issued, world.Answer<ca::v1::IssueResponse>(world.AskIssue(
                                              attested.node_id(), identity.identity_id())));
  const auto& all = world.core->authorities().all();
  EXPECT_EQ(Show(all[0].certificate),
            "CA critical: keyCertSign cRLSign;; spiffe://example.org ; subject named; "
            "life 87600h1m");
  EXPECT_EQ(Show(all[1].certificate),
            "CA pathLen 0 critical: keyCertSign cRLSign;; spiffe://example.org ; subject named; "
            "life 2160h1m");
  EXPECT_EQ(Show(world.serving[0][0]),
            "leaf critical: digitalSignature; serverAuth clientAuth; critical: "
            "spiffe://example.org/linchpin/ca ; subject empty; life 24h1m");
  EXPECT_EQ(Show(*x509::Certificate::FromDer(attested.chain(0))),
            "leaf critical: digitalSignature; serverAuth clientAuth; critical: "
            "spiffe://example.org/linchpin/node/a ; subject empty; life 24h1m");
  EXPECT_EQ(Show(*x509::Certificate::FromDer(issued.results(0).chain(0))),
            "leaf critical: digitalSignature; serverAuth clientAuth; critical: "
            "spiffe://example.org/web web.internal; subject empty; life 1h1m");
}

}  // namespace
}  // namespace linchpin::test
