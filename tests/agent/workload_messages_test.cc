// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/deliver/workload_messages.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

namespace v1 = agent::v1;
using agent::BundleStream;
using agent::SvidStream;
using trust::BundleKind;

constexpr char kDomain[] = "example.org";
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::Identity& AddIdentity(v1::MtlsContexts* contexts, const std::string& path,
                          const std::string& hint = "") {
  v1::Identity& identity = *contexts->add_identities();
  identity.set_spiffe_id("spiffe://example.org" + path);
  identity.set_hint(hint);
  identity.add_chain("leaf of " + path + ";");
  identity.add_chain("issuer;");
  identity.set_private_key("key of " + path);
  return identity;
}

v1::MtlsContexts WithoutIdentity() {
  v1::MtlsContexts contexts;
  contexts.add_selectors("unix:gid:1000");
  contexts.add_selectors("unix:uid:1000");
  return contexts;
}

v1::MtlsContexts Contexts() {
  v1::MtlsContexts contexts = WithoutIdentity();
  AddIdentity(&contexts, "/web");
  v1::TrustDomainContext& domain = *contexts.add_trust_domains();
  domain.set_trust_domain(kDomain);
  domain.add_anchors("root;");
  domain.add_twins("twin;");
  domain.add_twins("twin of the backup;");
  domain.mutable_pins()->set_mode(trust::v1::PinSet::ENFORCE);
  return contexts;
}

std::vector<std::string> Hints(const v1::MtlsContexts& contexts) {
  std::vector<std::string> hints;
  const X509SVIDResponse response = agent::ToX509Svids(contexts, BundleKind::kPinned, kNow);
  for (const X509SVID& svid : response.svids()) {
    hints.push_back(svid.hint());
  }
  return hints;
}

TEST(WorkloadMessages, CertificatesStandOneAfterTheOtherLeafFirst) {
  const X509SVIDResponse response = agent::ToX509Svids(Contexts(), BundleKind::kPinned, kNow);
  ASSERT_EQ(response.svids_size(), 1);
  EXPECT_EQ(response.svids(0).spiffe_id(), "spiffe://example.org/web");
  EXPECT_EQ(response.svids(0).x509_svid(), "leaf of /web;issuer;");
  EXPECT_EQ(response.svids(0).x509_svid_key(), "key of /web");
  EXPECT_EQ(response.crl_size(), 0);
  EXPECT_EQ(response.federated_bundles_size(), 0);
}

TEST(WorkloadMessages, TheBundleHoldsTwinsOrRootsAndNeverBoth) {
  const auto bundle = [](BundleKind kind) {
    return agent::ToX509Svids(Contexts(), kind, kNow).svids(0).bundle();
  };
  EXPECT_EQ(bundle(BundleKind::kPinned), "twin;twin of the backup;");
  EXPECT_EQ(bundle(BundleKind::kRoots), "root;");
}

TEST(WorkloadMessages, BundlesGoByTheIdOfTheirTrustDomain) {
  const X509BundlesResponse response = agent::ToX509Bundles(Contexts(), BundleKind::kPinned, kNow);
  ASSERT_EQ(response.bundles_size(), 1);
  EXPECT_EQ(response.bundles().at("spiffe://example.org"), "twin;twin of the backup;");
}

TEST(WorkloadMessages, NoBundleOfAnotherTrustDomainIsAnIdentitys) {
  v1::MtlsContexts contexts = Contexts();
  contexts.mutable_trust_domains(0)->set_trust_domain("example.organic");
  EXPECT_EQ(agent::ToX509Svids(contexts, BundleKind::kPinned, kNow).svids(0).bundle(), "");
}

TEST(WorkloadMessages, IdentitiesKeepTheirOrderAndHintsAreUnique) {
  v1::MtlsContexts contexts;
  AddIdentity(&contexts, "/a", "external");
  AddIdentity(&contexts, "/b");
  AddIdentity(&contexts, "/c", "external");
  AddIdentity(&contexts, "/d", "internal");
  AddIdentity(&contexts, "/e");
  AddIdentity(&contexts, "/f", std::string(1025, 'x'));
  EXPECT_THAT(Hints(contexts), ::testing::ElementsAre("external", "", "", "internal", "", ""));
  EXPECT_EQ(agent::ToX509Svids(contexts, BundleKind::kPinned, kNow).svids(3).spiffe_id(),
            "spiffe://example.org/d");
}

TEST(WorkloadMessages, WhoHasNoIdentityIsToldHowToGetOne) {
  const absl::Status status = agent::CheckHasIdentity(WithoutIdentity(), kDomain);
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()),
              ::testing::AllOf(::testing::HasSubstr("unix:gid:1000, unix:uid:1000"),
                               ::testing::HasSubstr("linchpin identity create --id "
                                                    "spiffe://example.org/NAME --selector "
                                                    "unix:uid:1000 ")));
}

TEST(WorkloadMessages, ManySelectorsDoNotMakeALongError) {
  v1::MtlsContexts contexts;
  for (int i = 0; i < 10'000; ++i) contexts.add_selectors("unix:supplementary_gid:1000");
  EXPECT_LT(agent::CheckHasIdentity(contexts, kDomain).message().size(), 2000u);
}

TEST(WorkloadMessages, KeysAreWiped) {
  X509SVIDResponse response = agent::ToX509Svids(Contexts(), BundleKind::kPinned, kNow);
  agent::WipeKeys(&response);
  EXPECT_EQ(response.SerializeAsString().find("key of"), std::string::npos);
}

TEST(WorkloadStream, SaysWhatChangedAndNothingElse) {
  SvidStream svids(kDomain, BundleKind::kPinned);
  BundleStream bundles(kDomain, BundleKind::kPinned);
  v1::MtlsContexts contexts = Contexts();
  EXPECT_NE(*svids.Next(contexts, kNow), nullptr);
  EXPECT_NE(*bundles.Next(contexts, kNow), nullptr);
  contexts.set_trust_epoch(2);
  contexts.mutable_identities(0)->add_rules();
  EXPECT_EQ(*svids.Next(contexts, kNow), nullptr) << "policy is nothing that this API can say";
  EXPECT_EQ(*bundles.Next(contexts, kNow), nullptr);
  contexts.mutable_identities(0)->set_chain(0, "renewed;");
  EXPECT_NE(*svids.Next(contexts, kNow), nullptr);
  EXPECT_EQ(*bundles.Next(contexts, kNow), nullptr);
  contexts.mutable_trust_domains(0)->add_twins("a third twin;");
  EXPECT_NE(*svids.Next(contexts, kNow), nullptr);
  const auto bundle = bundles.Next(contexts, kNow);
  ASSERT_NE(*bundle, nullptr);
  EXPECT_THAT((*bundle)->bundles().at("spiffe://example.org"),
              ::testing::HasSubstr("a third twin;"));
}

TEST(WorkloadStream, WhoMayGetAnIdentitySoonIsUnavailableNotDenied) {
  v1::MtlsContexts contexts = WithoutIdentity();
  contexts.set_unavailable("it is being made");
  SvidStream svids(kDomain, BundleKind::kPinned);
  EXPECT_EQ(svids.Next(contexts, kNow).status(), absl::UnavailableError("it is being made"));
  BundleStream bundles(kDomain, BundleKind::kPinned);
  EXPECT_EQ(bundles.Next(contexts, kNow).status(), absl::UnavailableError("it is being made"));
}

TEST(WorkloadStream, WhatHasBegunGoesOnWhenACertificateRunsOut) {
  SvidStream svids(kDomain, BundleKind::kPinned);
  BundleStream bundles(kDomain, BundleKind::kPinned);
  v1::MtlsContexts contexts = Contexts();
  EXPECT_NE(*svids.Next(contexts, kNow), nullptr);
  EXPECT_NE(*bundles.Next(contexts, kNow), nullptr);
  contexts.clear_identities();
  contexts.set_unavailable("it has expired");
  contexts.mutable_trust_domains(0)->add_twins("a third twin;");
  EXPECT_EQ(*svids.Next(contexts, kNow), nullptr);
  EXPECT_NE(*bundles.Next(contexts, kNow), nullptr) << "trust is still given";
}

TEST(WorkloadStream, EndsWhenTheLastIdentityIsWithdrawn) {
  SvidStream svids(kDomain, BundleKind::kPinned);
  BundleStream bundles(kDomain, BundleKind::kPinned);
  v1::MtlsContexts contexts = Contexts();
  EXPECT_NE(*svids.Next(contexts, kNow), nullptr);
  EXPECT_NE(*bundles.Next(contexts, kNow), nullptr);
  contexts.clear_identities();
  EXPECT_EQ(svids.Next(contexts, kNow).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(bundles.Next(contexts, kNow).status().code(), absl::StatusCode::kPermissionDenied);
}

// Clients keep their old anchors rather than take an empty bundle, or none.
TEST(WorkloadStream, WhereNobodyCanBeAcceptedIsToldSoAtItsBeginningAndLater) {
  v1::MtlsContexts without = Contexts();
  without.mutable_trust_domains(0)->clear_twins();
  SvidStream svids(kDomain, BundleKind::kPinned);
  BundleStream bundles(kDomain, BundleKind::kPinned);
  for (const v1::MtlsContexts& contexts : {without, Contexts(), without}) {
    const bool nobody = contexts.trust_domains(0).twins().empty();
    const std::string expected = nobody ? trust::NobodysAnchor() : "twin;twin of the backup;";
    const auto svid = svids.Next(contexts, kNow);
    const auto bundle = bundles.Next(contexts, kNow);
    ASSERT_OK(svid);
    ASSERT_OK(bundle);
    EXPECT_EQ((*svid)->svids(0).bundle(), expected);
    EXPECT_EQ((*bundle)->bundles().at("spiffe://example.org"), expected);
  }
}

}  // namespace
}  // namespace linchpin::test
