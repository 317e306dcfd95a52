// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/deliver/envoy_secrets.h"

#include "absl/strings/str_cat.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/secrets_fixture.h"
#include "tests/support/status_matchers.h"
#include "x509/certificate.h"
#include "x509/pem.h"

namespace linchpin::test {
namespace {

namespace tls = envoy::extensions::transport_sockets::tls::v3;
using agent::EnvoySecret;
using agent::EnvoySecrets;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const TestAuthority& Authority() {
  static const TestAuthority& authority = *new TestAuthority();
  return authority;
}

EnvoySecrets Secrets(const Contexts& contexts, bool spiffe_validator = true,
                     trust::BundleKind kind = trust::BundleKind::kPinned) {
  return EnvoySecrets(contexts.Share(), {.spiffe_validator = spiffe_validator},
                      {.kind = kind, .now = kNow});
}

std::vector<std::string> Matchers(const EnvoySecret& secret) {
  std::vector<std::string> names;
  for (const auto& one : secret.validation_context().match_typed_subject_alt_names()) {
    EXPECT_EQ(one.san_type(), tls::SubjectAltNameMatcher::URI);
    names.push_back(one.matcher().exact());
  }
  return names;
}

std::vector<std::string> DersOf(const std::string& pem) {
  std::vector<std::string> ders;
  const auto blocks = x509::ReadPem(pem, 16);
  for (const x509::PemBlock& block : *blocks) ders.push_back(block.der);
  return ders;
}

TEST(EnvoySecrets, ACertificateHasItsChainAndKey) {
  const Contexts contexts = Contexts(Authority()).Identity("/web").Identity("/other");
  for (const std::string name : {"default", "spiffe://example.org/web"}) {
    const EnvoySecret secret = Secrets(contexts).Render(name);
    EXPECT_EQ(secret.name(), name);
    const auto& identity = contexts.message.identities(0);
    EXPECT_THAT(DersOf(secret.tls_certificate().certificate_chain().inline_bytes()),
                ElementsAre(identity.chain(0), identity.chain(1)));
    EXPECT_THAT(DersOf(secret.tls_certificate().private_key().inline_bytes()),
                ElementsAre(identity.private_key()));
    EXPECT_FALSE(Secrets(contexts).Look(name)->is_trust);
  }
  EXPECT_THAT(DersOf(Secrets(contexts)
                         .Render("spiffe://example.org/other")
                         .tls_certificate()
                         .private_key()
                         .inline_bytes()),
              ElementsAre(contexts.message.identities(1).private_key()));
}

TEST(EnvoySecrets, ARootIsForTheSpiffeValidatorOrPlain) {
  const Contexts contexts = Contexts(Authority()).Identity("/web");
  for (const std::string name : {"ROOTCA", "spiffe://example.org"}) {
    const auto custom =
        Secrets(contexts).Render(name).validation_context().custom_validator_config();
    EXPECT_EQ(custom.name(), "envoy.tls.cert_validator.spiffe");
    tls::SPIFFECertValidatorConfig config;
    ASSERT_TRUE(custom.typed_config().UnpackTo(&config));
    ASSERT_THAT(config.trust_domains(), SizeIs(1));
    EXPECT_EQ(config.trust_domains(0).name(), "example.org");
    const auto plain = Secrets(contexts, false).Render(name).validation_context();
    EXPECT_FALSE(plain.has_custom_validator_config());
    EXPECT_EQ(plain.trusted_ca().inline_bytes(),
              config.trust_domains(0).trust_bundle().inline_bytes());
    EXPECT_THAT(DersOf(plain.trusted_ca().inline_bytes()), ::testing::Not(IsEmpty()));
    EXPECT_TRUE(Secrets(contexts).Look(name)->is_trust);
  }
}

TEST(EnvoySecrets, AllKeepsTrustDomainsApart) {
  const TestAuthority other("other.org", "other");
  const Contexts contexts = Contexts(Authority()).Identity("/web").Domain(other);
  tls::SPIFFECertValidatorConfig config;
  ASSERT_TRUE(Secrets(contexts)
                  .Render("ALL")
                  .validation_context()
                  .custom_validator_config()
                  .typed_config()
                  .UnpackTo(&config));
  ASSERT_THAT(config.trust_domains(), SizeIs(2));
  EXPECT_EQ(config.trust_domains(1).name(), "other.org");
  EXPECT_NE(config.trust_domains(0).trust_bundle().inline_bytes(),
            config.trust_domains(1).trust_bundle().inline_bytes());
  // Envoy's own validator would let a peer of one in by the other's anchors.
  EXPECT_FALSE(Secrets(contexts, false).Look("ALL").has_value());
}

TEST(EnvoySecrets, PeersAreThoseThatThePolicyAllows) {
  const Contexts contexts = Contexts(Authority())
                                .Identity("/web", {"/b", "/a"}, {"/db", "/cache"})
                                .Identity("/other", {"/z"}, {"/z"});
  const EnvoySecrets secrets = Secrets(contexts);
  const EnvoySecret inbound = secrets.Render("peers:inbound");
  EXPECT_THAT(Matchers(inbound), ElementsAre("spiffe://example.org/a", "spiffe://example.org/b"));
  EXPECT_THAT(DersOf(inbound.validation_context().trusted_ca().inline_bytes()),
              ::testing::Not(IsEmpty()));
  EXPECT_THAT(Matchers(secrets.Render("peers:outbound")),
              ElementsAre("spiffe://example.org/cache", "spiffe://example.org/db"));
  EXPECT_THAT(Matchers(secrets.Render("peers:outbound:spiffe://example.org/db")),
              ElementsAre("spiffe://example.org/db"));
}

TEST(EnvoySecrets, WhereNobodyIsAllowedAMatcherMatchesNobody) {
  const Contexts contexts = Contexts(Authority()).Identity("/web", {}, {"/db"});
  for (const std::string name : {"peers:inbound", "peers:outbound:spiffe://example.org/evil",
                                 "peers:outbound:spiffe://other.org/db"}) {
    EXPECT_THAT(Matchers(Secrets(contexts).Render(name)), ElementsAre(agent::kNobody)) << name;
  }
  EXPECT_FALSE(trust::SpiffeId::Parse(agent::kNobody).ok());
}

TEST(EnvoySecrets, ARevokedPeerIsNotAllowed) {
  Contexts contexts = Contexts(Authority()).Identity("/web", {"/a", "/b"}, {"/a"});
  contexts.message.mutable_trust_domains(0)->add_revocations()->set_spiffe_id(
      "spiffe://example.org/a");
  EXPECT_THAT(Matchers(Secrets(contexts).Render("peers:inbound")),
              ElementsAre("spiffe://example.org/b"));
  EXPECT_THAT(Matchers(Secrets(contexts).Render("peers:outbound")), ElementsAre(agent::kNobody));
}

TEST(EnvoySecrets, APeerOfATrustDomainWhoseAnchorsAreNotThereIsNotAllowed) {
  Contexts contexts = Contexts(Authority()).Identity("/web");
  trust::v1::PeerRule& rule = *contexts.message.mutable_identities(0)->add_rules();
  rule = Rule("spiffe://other.org/a", "spiffe://example.org/web");
  EXPECT_THAT(Matchers(Secrets(contexts).Render("peers:inbound")), ElementsAre(agent::kNobody));
}

TEST(EnvoySecrets, UnknownNamesAndThoseOfOthersHaveNoSecret) {
  const Contexts contexts = Contexts(Authority()).Identity("/web", {"/a"}, {"/a"});
  for (const std::string name :
       {"", "rootca", "spiffe://example.org/a", "spiffe://other.org", "spiffe://",
        "peers:", "peers:inbound:", "peers:inbound:spiffe://example.org/a",
        "peers:outbound:", "peers:outbound:evil", "file-root:system", "*"}) {
    EXPECT_FALSE(Secrets(contexts).Look(name).has_value()) << name;
  }
}

TEST(EnvoySecrets, AnchorsAreTheTwinsUnlessRootsAreWanted) {
  const Contexts contexts = Contexts(Authority()).Identity("/web", {"/a"});
  const auto& domain = contexts.message.trust_domains(0);
  for (const std::string name : {"ROOTCA", "peers:inbound"}) {
    const auto anchors = [&](trust::BundleKind kind) {
      return DersOf(Secrets(contexts, false, kind)
                        .Render(name)
                        .validation_context()
                        .trusted_ca()
                        .inline_bytes());
    };
    EXPECT_THAT(anchors(trust::BundleKind::kPinned),
                ::testing::ElementsAreArray(domain.twins().begin(), domain.twins().end()));
    EXPECT_THAT(anchors(trust::BundleKind::kRoots), ElementsAre(domain.anchors(0)));
  }
}

TEST(EnvoySecrets, NoCaIsAllowedBeneathATwin) {
  const Contexts contexts = Contexts(Authority()).Identity("/web", {"/a"});
  for (const std::string name : {"ROOTCA", "peers:inbound"}) {
    EXPECT_EQ(Secrets(contexts, false).Render(name).validation_context().max_verify_depth().value(),
              1);
    EXPECT_FALSE(Secrets(contexts, false, trust::BundleKind::kRoots)
                     .Render(name)
                     .validation_context()
                     .has_max_verify_depth());
  }
}

// The anchors, however they are given.
std::string AnchorsOf(const EnvoySecret& secret) {
  const auto& context = secret.validation_context();
  if (!context.has_custom_validator_config()) return context.trusted_ca().inline_bytes();
  tls::SPIFFECertValidatorConfig config;
  EXPECT_TRUE(context.custom_validator_config().typed_config().UnpackTo(&config));
  EXPECT_THAT(config.trust_domains(), SizeIs(1));
  return config.trust_domains(0).trust_bundle().inline_bytes();
}

// An Envoy goes on with a secret that is withdrawn, so that it would go on with the old anchors.
TEST(EnvoySecrets, WithoutAnAnchorThereIsOneThatNobodyHasTheKeyOf) {
  Contexts no_twin = Contexts(Authority()).Identity("/web", {"/a"});
  no_twin.message.mutable_trust_domains(0)->clear_twins();
  Contexts expired = Contexts(Authority()).Identity("/web", {"/a"});
  trust::v1::EffectivePins& pins = *expired.message.mutable_trust_domains(0)->mutable_pins();
  pins.set_mode(trust::v1::PinSet::ENFORCE);
  pins.set_on_expiry(trust::v1::PinSet::FAIL_CLOSED);
  pins.set_expires_at(absl::ToUnixSeconds(kNow));
  pins.set_expired(true);
  for (const Contexts* contexts : {&no_twin, &expired}) {
    for (const bool validator : {true, false}) {
      const EnvoySecrets secrets = Secrets(*contexts, validator);
      for (const std::string name : {"ROOTCA", "spiffe://example.org", "peers:inbound"}) {
        ASSERT_TRUE(secrets.Look(name).has_value()) << name;
        EXPECT_TRUE(secrets.Look(name)->is_trust);
        EXPECT_THAT(DersOf(AnchorsOf(secrets.Render(name))), ElementsAre(trust::NobodysAnchor()))
            << name;
      }
      EXPECT_THAT(Matchers(secrets.Render("peers:inbound")), ElementsAre(agent::kNobody));
    }
    EXPECT_THAT(DersOf(AnchorsOf(Secrets(*contexts).Render("ALL"))),
                ElementsAre(trust::NobodysAnchor()));
  }
}

TEST(EnvoySecrets, TheCallersOfEachOwnIdentityCanBeNamed) {
  const Contexts contexts =
      Contexts(Authority()).Identity("/web", {"/a"}).Identity("/other", {"/z"});
  const EnvoySecrets secrets = Secrets(contexts);
  EXPECT_THAT(Matchers(secrets.Render("peers:inbound:spiffe://example.org/other")),
              ElementsAre("spiffe://example.org/z"));
  EXPECT_THAT(Matchers(secrets.Render("peers:inbound:spiffe://example.org/web")),
              ElementsAre("spiffe://example.org/a"));
  EXPECT_THAT(Matchers(secrets.Render("peers:inbound")), ElementsAre("spiffe://example.org/a"));
}

TEST(EnvoySecrets, AVersionChangesWithTheContentOnly) {
  const Contexts before = Contexts(Authority()).Identity("/web", {"/a"}, {"/b"});
  const Contexts epoch = Contexts(Authority()).Identity("/web", {"/a"}, {"/b"}).Epoch(2);
  const Contexts renewed = Contexts(Authority()).Identity("/web", {"/a"}, {"/b"}, "new key");
  const Contexts allowed = Contexts(Authority()).Identity("/web", {"/a", "/c"}, {"/b"});
  const auto version = [](const Contexts& contexts, const std::string& name) {
    return Secrets(contexts).Look(name)->version;
  };
  for (const std::string name : {"default", "ROOTCA", "peers:inbound", "peers:outbound"}) {
    EXPECT_EQ(version(before, name), version(epoch, name)) << name;
    EXPECT_EQ(version(before, name) != version(renewed, name), name == "default") << name;
    EXPECT_EQ(version(before, name) != version(allowed, name), name == "peers:inbound") << name;
  }
}

TEST(EnvoySecrets, EverythingIsNamedProperly) {
  const Contexts contexts = Contexts(Authority()).Identity("/web").Identity("/other");
  const EnvoySecrets secrets = Secrets(contexts);
  EXPECT_THAT(secrets.Names(),
              ElementsAre("spiffe://example.org/web", "spiffe://example.org/other",
                          "spiffe://example.org", "peers:inbound", "peers:outbound"));
  for (const std::string& name : secrets.Names()) EXPECT_TRUE(secrets.Look(name).has_value());
}

TEST(EnvoySecrets, WhoseIdentitiesWereWithdrawnKeepsHisRulesUnderTheTrustOfNow) {
  const auto all = [](const std::string&) { return true; };
  const Contexts before = Contexts(Authority()).Identity("/web", {"/a"}).Identity("/other");
  const Contexts withdrawn = Contexts(Authority()).Epoch(2);
  const agent::EnvoySelf web{.default_id = "spiffe://example.org/web", .withdrawn = {}};
  const auto kept = agent::KeepWithdrawn(web, before.message, withdrawn.message, all);
  EXPECT_THAT(kept->withdrawn, SizeIs(2));
  EXPECT_EQ(kept->withdrawn[0].private_key(), "");
  const EnvoySecrets secrets(withdrawn.Share(), {}, {.now = kNow}, kept);
  EXPECT_FALSE(secrets.Look("default").has_value());
  EXPECT_THAT(Matchers(secrets.Render("peers:inbound")), ElementsAre("spiffe://example.org/a"));
  EXPECT_TRUE(secrets.Look("ROOTCA").has_value());
  const auto web_only = [](const std::string& id) { return id == "spiffe://example.org/web"; };
  EXPECT_THAT(
      agent::KeepWithdrawn(*kept, withdrawn.message, withdrawn.message, web_only)->withdrawn,
      SizeIs(1));
  EXPECT_THAT(agent::KeepWithdrawn(*kept, withdrawn.message, before.message, all)->withdrawn,
              IsEmpty());
}

envoy::config::core::v3::Node Node(uint32_t major, uint32_t minor) {
  envoy::config::core::v3::Node node;
  node.mutable_user_agent_build_version()->mutable_version()->set_major_number(major);
  node.mutable_user_agent_build_version()->mutable_version()->set_minor_number(minor);
  return node;
}

TEST(EnvoyStyle, IsTheSpiffeValidatorWhereTheNodeHasIt) {
  EXPECT_FALSE(agent::StyleOf({}).spiffe_validator);
  EXPECT_FALSE(agent::StyleOf(Node(1, 17)).spiffe_validator);
  EXPECT_TRUE(agent::StyleOf(Node(1, 18)).spiffe_validator);
  EXPECT_TRUE(agent::StyleOf(Node(2, 0)).spiffe_validator);
}

TEST(EnvoyStyle, TheNodeCanOptOut) {
  const auto style = [](const google::protobuf::Value& value) {
    envoy::config::core::v3::Node node = Node(1, 40);
    (*node.mutable_metadata()->mutable_fields())["disable_spiffe_cert_validation"] = value;
    return agent::StyleOf(node).spiffe_validator;
  };
  google::protobuf::Value value;
  value.set_bool_value(true);
  EXPECT_FALSE(style(value));
  value.set_string_value("true");
  EXPECT_FALSE(style(value));
  value.set_string_value("no");
  EXPECT_TRUE(style(value));
  value.set_bool_value(false);
  EXPECT_TRUE(style(value));
}

}  // namespace
}  // namespace linchpin::test
