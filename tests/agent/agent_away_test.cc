// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A node that comes back to a CA which has changed: it returns by itself, or says what it needs.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_harness.h"

namespace linchpin::test {
namespace {

const std::vector<std::string> kSigners = {"alice", "bob"};

// A node under set 0, and an issuer that the CA did not have then.
class Away : public ::testing::Test, public AgentHarness {
 protected:
  Away() : next_(authority.MakeIssuer("next")) { Join(); }

  void Leave() {
    ca_up = false;
    Do(agent::event::SyncClosed{stream, absl::UnavailableError("down")});
    log.clear();
    attest.reset();
  }
  void LeaveUntilExpired() {
    Leave();
    Advance(absl::Hours(3));
  }
  void Return() {
    ca_up = true;
    Advance(absl::Minutes(5));
  }
  // The CA's trust, with the next issuer declared.
  trust::v1::TrustState WithNext(uint64_t epoch) const {
    trust::v1::TrustState state = authority.Message(epoch);
    state.add_issuers(next_.certificate.der());
    state.add_declared_issuers(next_.pin().bytes());
    return state;
  }

  const Certified next_;
};

TEST_F(Away, LongerThanItsCertificateItShowsItAndHasAnother) {
  LeaveUntilExpired();
  Return();
  ASSERT_TRUE(attest.has_value());
  EXPECT_FALSE(attest->expired_certificate.empty());
  EXPECT_TRUE(core->connected());
}

TEST_F(Away, AnAgentThatWentOnJudgesTheCaByTheTrustOfNowAndNotOfItsFirstContact) {
  SayTrust(WithNext(2), 2);
  issuer = next_;
  LeaveUntilExpired();
  Return();
  EXPECT_TRUE(core->connected());
}

// Its issuer signs already, while the CA still shows a certificate of the one before.
TEST_F(Away, InTheMidstOfARotationItTakesTheTrustThatComesWithItsCertificate) {
  issuer = next_;
  serves_by_active = true;
  trust_at_attestation = WithNext(2);
  LeaveUntilExpired();
  Return();
  EXPECT_TRUE(core->connected());
  EXPECT_EQ(core->model().trust_epoch(), 2u);
}

TEST_F(Away, UnderSetZeroAnIssuerThatWasNotDeclaredIsNamedAndTakenOnceItsPinIsGiven) {
  issuer = next_;
  LeaveUntilExpired();
  Return();
  EXPECT_FALSE(attest->expired_certificate.empty());
  EXPECT_FALSE(core->connected());
  EXPECT_TRUE(Alarmed("--ca-pin " + next_.pin().ToString()));
  options->ca_pins.push_back(next_.pin());
  trust_at_attestation = WithNext(2);
  Restart();
  Advance(absl::Minutes(5));
  EXPECT_TRUE(core->connected());
}

// Its certificate is valid still: nothing but the stream tells it what the CA says.
TEST_F(Away, UnderSetZeroWhatItContinuesWithIsNotWhatTheCaOffered) {
  issuer = next_;
  Leave();
  Do(agent::event::TimerFired{});
  EXPECT_FALSE(core->connected());
  options->ca_pins.push_back(next_.pin());
  ca_up = true;
  hellos.clear();
  Restart();
  Advance(absl::Minutes(5));
  ASSERT_TRUE(core->connected());
  EXPECT_EQ(hellos.back().trust_epoch(), 1u);
  EXPECT_EQ(hellos.back().trust_digest(), "") << "so that it is sent again";
  SayTrust(WithNext(1), 3);
  EXPECT_EQ(acks.back().trust_digest(), trust::OfferDigest(WithNext(1)));
}

TEST_F(Away, UnderSetZeroAnotherRootIsNotTakenWhateverIsPinned) {
  const TestAuthority other("example.org", "other");
  options->ca_pins = {other.root().pin(), other.active().pin()};
  authority = other;
  LeaveUntilExpired();
  Return();
  EXPECT_FALSE(core->connected());
  EXPECT_TRUE(Alarmed("give the agent an empty data directory"));
}

TEST_F(Away, UnderSetZeroTheRootIsNoIssuerThoughItIsPinned) {
  issuer = authority.root();
  options->ca_pins = {authority.root().pin()};
  LeaveUntilExpired();
  Return();
  EXPECT_FALSE(core->connected());
  EXPECT_TRUE(Alarmed("of the root itself"));
}

TEST_F(Away, UnderASignedSetAnIssuerThatNoSetNamesIsNotTakenWhateverIsPinned) {
  trust::v1::TrustState state = authority.Message(2);
  *state.add_pin_sets() = Sign(authority.PinSetMessage(1, kSigners, 2), kSigners);
  SayTrust(state, 2);
  options->ca_pins.push_back(next_.pin());
  issuer = next_;
  LeaveUntilExpired();
  Restart();
  Return();
  EXPECT_FALSE(core->connected());
}

TEST_F(Away, ACertificateThatTheCaDoesNotTakeIsReplacedBeforeItExpires) {
  Leave();
  ca_up = true;
  stream_status = absl::UnauthenticatedError("it is of an issuer that was dropped");
  Do(agent::event::TimerFired{});
  for (int i = 0; i < 600 && !attest.has_value(); ++i) Advance(absl::Milliseconds(100));
  ASSERT_TRUE(attest.has_value());
  EXPECT_FALSE(attest->expired_certificate.empty());
  stream_status = absl::OkStatus();
  Advance(absl::Minutes(1));
  EXPECT_TRUE(core->connected());
}

TEST_F(Away, OneWhoseCertificateIsRevokedSaysWhatItNeedsAndTriesATokenInTurn) {
  Leave();
  ca_up = true;
  stream_status = absl::PermissionDeniedError("revoked");
  attest_status = absl::PermissionDeniedError("it is revoked: give its agent a join token");
  bool token = false;
  for (int i = 0; i < 1200 && !token; ++i) {
    Advance(absl::Milliseconds(100));
    token = attest.has_value() && attest->expired_certificate.empty();
  }
  EXPECT_TRUE(token);
  EXPECT_TRUE(Alarmed("give its agent a join token"));
  stream_status = attest_status = absl::OkStatus();
  Advance(absl::Minutes(5));
  EXPECT_TRUE(core->connected());
}

TEST_F(Away, ARevocationOfItsOwnCertificateIsNoticedByItself) {
  trust::v1::TrustState state = authority.Message(2);
  const auto own = *x509::Certificate::FromDer(*core->model().node->chain[0]);
  state.add_revocations()->set_serial(own.fields().serial);
  attest.reset();
  SayTrust(state, 2);
  Advance(absl::Seconds(10));
  ASSERT_TRUE(attest.has_value());
  EXPECT_NE(*core->model().node->chain[0], own.der());
  EXPECT_EQ(CountLog("attest"), 2u) << "at first, and once for this";
}

TEST_F(Away, AnOutageIsNoReasonToAttestAgain) {
  Leave();
  Advance(absl::Minutes(10));
  ca_up = true;
  Advance(absl::Minutes(1));
  EXPECT_TRUE(core->connected());
  EXPECT_FALSE(attest.has_value());
}

}  // namespace
}  // namespace linchpin::test
