// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Rotations under signed pin sets: a step that changes what is trusted waits for its signatures.

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/rotation_world.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ca::v1::RotationStep;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using Request = ca::v1::RotateRequest;

x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }

class SignedRotation : public ::testing::Test {
 protected:
  SignedRotation() { EXPECT_OK(Publish(Draft())); }

  // The next set as `linchpin pins draft` makes it.
  trust::v1::PinSet Draft() {
    trust::v1::PinSet set;
    set.set_trust_domain(kDomain);
    set.set_version(++version);
    set.set_mode(trust::v1::PinSet::ENFORCE);
    set.set_issued_at(absl::ToUnixSeconds(world.now));
    set.set_expires_at(absl::ToUnixSeconds(world.now + absl::Hours(24 * 365)));
    const auto authorities = *world.Admin<ca::v1::Authorities>(ca::v1::GetAuthoritiesRequest());
    for (const ca::v1::Authority& authority : authorities.authorities()) {
      if (authority.state() == "retired" || authority.leaving()) continue;
      if (authority.kind() == "root") {
        set.add_anchors()->set_spki_sha256(authority.spki_sha256());
        continue;
      }
      trust::v1::IssuerPin* issuer = set.add_issuers();
      issuer->set_spki_sha256(authority.spki_sha256());
      const bool backup = authority.state() == "backup";
      issuer->set_role(backup ? trust::v1::IssuerPin::BACKUP : trust::v1::IssuerPin::ACTIVE);
      if (!backup) continue;
      ca::v1::ProvePossessionRequest prove;
      prove.set_spki_sha256(authority.spki_sha256());
      *issuer->mutable_proof() = *world.Admin<trust::v1::PossessionProof>(prove);
    }
    set.mutable_signers()->add_keys(signer.public_key().spki());
    set.mutable_signers()->set_threshold(1);
    return set;
  }
  absl::StatusOr<ca::v1::PinSetPublished> Publish(const trust::v1::PinSet& set,
                                                  std::vector<x509::PrivateKey> also = {}) {
    trust::v1::SignedPinSet made;
    made.set_payload(set.SerializeAsString());
    *made.add_signatures() = trust::SignPinSet(made.payload(), signer);
    for (const x509::PrivateKey& key : also) {
      *made.add_signatures() = trust::SignPinSet(made.payload(), key);
    }
    auto published = world.Admin<ca::v1::PinSetPublished>(ca::PublishPinSet{made});
    world.Acknowledge();
    return published;
  }
  void Do(const std::vector<Request::Action>& actions) {
    for (const Request::Action action : actions) {
      if (action == Request::DRAIN) world.ExpireEverything();
      ASSERT_OK(world.Rotate(action)) << action;
    }
  }
  std::string KeyNameOf(const std::string& pin) const {
    return world.core->authorities().FindIssuer(pin)->key_name;
  }
  RotationStep step() { return world.Status().step(); }
  std::set<std::string> Anchors() const {
    const auto message = ca::TrustMessage(world.core->registry(), world.core->authorities(), 0);
    return {message.anchors().begin(), message.anchors().end()};
  }

  RotationWorld world;
  x509::PrivateKey signer = NewKey();
  uint64_t version = 0;
};

TEST_F(SignedRotation, OfAnIssuerWaitsForASetThatNamesItAndForOneThatDoesNotNameTheOld) {
  const std::string old = world.Signer();
  Do({Request::PREPARE, Request::DISTRIBUTE});
  EXPECT_EQ(step(), ca::v1::AWAITING_SIGNATURES_TO_DISTRIBUTE);
  const std::string next = world.Status().new_pins(0);
  EXPECT_THAT(world.Status().waits_for(), HasSubstr("pin set 2"));
  EXPECT_THAT(world.Status().next(0), HasSubstr("rotate draft"));
  EXPECT_THAT(world.Declared(), Not(Contains(next)));
  EXPECT_THAT(world.Rotate(Request::ACTIVATE), StatusIs(StatusCode::kFailedPrecondition));
  ASSERT_OK(Publish(Draft()));
  EXPECT_EQ(step(), ca::v1::DISTRIBUTED);
  EXPECT_THAT(world.Declared(), Contains(next));
  Do({Request::ACTIVATE, Request::DRAIN, Request::DROP});
  EXPECT_EQ(world.Signer(), next);
  EXPECT_EQ(step(), ca::v1::AWAITING_SIGNATURES_TO_DROP);
  EXPECT_THAT(world.Declared(), Contains(old));
  ASSERT_OK(Publish(Draft()));
  EXPECT_EQ(step(), ca::v1::DROPPED);
  EXPECT_THAT(world.Declared(), Not(Contains(old)));
  world.Tick();
  EXPECT_EQ(step(), ca::v1::DONE);
  const ca::v1::Rotation status = world.Status();
  for (const ca::v1::RotationEvent& event : status.history()) {
    const bool by_set = event.step() == ca::v1::DISTRIBUTED || event.step() == ca::v1::DROPPED;
    const std::string who = by_set                         ? "unix:root, by pin set version "
                            : event.step() == ca::v1::DONE ? "linchpin-ca"
                                                           : "unix:root";
    EXPECT_THAT(event.by(), ::testing::StartsWith(who)) << event.ShortDebugString();
    EXPECT_EQ(event.gate().nodes(), 2u) << event.ShortDebugString();
  }
}

TEST_F(SignedRotation, GoesOnByAPublishedSetWithoutBeingAsked) {
  Do({Request::PREPARE});
  ASSERT_OK(Publish(Draft()));
  EXPECT_EQ(step(), ca::v1::DISTRIBUTED);
}

TEST_F(SignedRotation, IsNotMovedByASetThatDoesNotNameTheNewKey) {
  const trust::v1::PinSet drafted_before = Draft();
  Do({Request::PREPARE, Request::DISTRIBUTE});
  ASSERT_OK(Publish(drafted_before));
  EXPECT_EQ(step(), ca::v1::AWAITING_SIGNATURES_TO_DISTRIBUTE);
}

TEST_F(SignedRotation, RefusesASetThatWouldTakeTheNewKeyBackOrDropTheOldTooSoon) {
  trust::v1::PinSet without_next = Draft();
  Do({Request::PREPARE});
  ASSERT_OK(Publish(Draft()));
  without_next.set_version(++version);
  EXPECT_THAT(Publish(without_next),
              StatusIs(StatusCode::kFailedPrecondition, "does not name the prepared issuer"));
  Do({Request::ACTIVATE});
  trust::v1::PinSet without_old = Draft();
  for (int i = 0; i < without_old.issuers_size(); ++i) {
    if (without_old.issuers(i).spki_sha256() != world.Status().old_pins(0)) continue;
    without_old.mutable_issuers()->DeleteSubrange(i--, 1);
  }
  EXPECT_THAT(Publish(without_old),
              StatusIs(StatusCode::kFailedPrecondition, "does not name the retiring issuer"));
}

TEST_F(SignedRotation, IsTakenBackBeforeTheDropAndAfterIt) {
  const std::string old = world.Signer();
  Do({Request::PREPARE});
  ASSERT_OK(Publish(Draft()));
  Do({Request::ACTIVATE, Request::DRAIN, Request::DROP, Request::ABORT});
  EXPECT_EQ(step(), ca::v1::DRAINED) << "nothing was dropped yet";
  Do({Request::DROP});
  ASSERT_OK(Publish(Draft()));
  Do({Request::ABORT});
  EXPECT_EQ(step(), ca::v1::AWAITING_SIGNATURES_TO_RESTORE);
  EXPECT_THAT(world.Declared(), Not(Contains(old)));
  ASSERT_OK(Publish(Draft()));
  EXPECT_EQ(step(), ca::v1::DRAINED);
  EXPECT_THAT(world.Declared(), Contains(old));
  Do({Request::ABORT, Request::ABORT});
  EXPECT_EQ(world.Signer(), old);
}

TEST_F(SignedRotation, OfARootHasBothRootsAsAnchorsInBetweenAndBringsANewBackup) {
  const std::string old_signer = world.Signer();
  const std::set<std::string> before = Anchors();
  ASSERT_THAT(before, SizeIs(1));
  world.what = "root";
  Do({Request::PREPARE});
  EXPECT_EQ(world.Status().new_pins_size(), 3) << "root, issuer and backup";
  EXPECT_EQ(world.Status().old_pins_size(), 3);
  EXPECT_THAT(Anchors(), SizeIs(1));
  Do({Request::DISTRIBUTE});
  ASSERT_OK(Publish(Draft()));
  EXPECT_EQ(step(), ca::v1::DISTRIBUTED);
  EXPECT_THAT(Anchors(), SizeIs(2));
  Do({Request::ACTIVATE});
  EXPECT_NE(world.Signer(), old_signer);
  EXPECT_THAT(Anchors(), SizeIs(2));
  const auto shown_root = [&] { return world.serving.back().back(); };
  const auto first_listed = [&] {
    return world.Admin<ca::v1::Authorities>(ca::v1::GetAuthoritiesRequest())
        ->authorities(0)
        .certificate();
  };
  EXPECT_THAT(before, Contains(shown_root().der()));
  EXPECT_EQ(first_listed(), shown_root().der());
  Do({Request::DRAIN});
  EXPECT_THAT(before, Not(Contains(shown_root().der()))) << "the CA shows the new root";
  EXPECT_EQ(first_listed(), shown_root().der());
  Do({Request::DROP});
  ASSERT_OK(Publish(Draft()));
  EXPECT_THAT(Anchors(), SizeIs(1));
  EXPECT_NE(Anchors(), before);
  world.Tick();
  EXPECT_EQ(step(), ca::v1::DONE);
  std::map<std::string, int> states;
  for (const ca::Authority& authority : world.core->authorities().all()) ++states[authority.state];
  EXPECT_EQ(states, (std::map<std::string, int>{{"active", 2}, {"backup", 1}, {"retired", 3}}));
  world.what = "issuer";
  Do({Request::PREPARE});
  EXPECT_EQ(step(), ca::v1::PREPARED) << "an issuer under the new root";
}

TEST_F(SignedRotation, OfARootIsTakenBack) {
  const std::string old = world.Signer();
  const std::set<std::string> before = Anchors();
  world.what = "root";
  Do({Request::PREPARE});
  ASSERT_OK(Publish(Draft()));
  Do({Request::ACTIVATE, Request::ABORT});
  EXPECT_EQ(world.Signer(), old);
  world.ExpireEverything();
  Do({Request::ABORT, Request::ABORT});
  EXPECT_EQ(step(), ca::v1::ABORTED);
  EXPECT_EQ(Anchors(), before);
}

TEST_F(SignedRotation, OfSignersWaitsForTheSetUnderBothAndThenForEverybody) {
  world.what = "signers";
  Do({Request::PREPARE});
  EXPECT_EQ(step(), ca::v1::AWAITING_SIGNATURES_TO_DISTRIBUTE);
  EXPECT_THAT(world.Status().next(0), HasSubstr("pins draft --signer"));
  for (const auto action :
       {Request::DISTRIBUTE, Request::ACTIVATE, Request::DRAIN, Request::DROP}) {
    EXPECT_THAT(world.Rotate(action), StatusIs(StatusCode::kFailedPrecondition, "pins publish"));
  }
  ASSERT_OK(Publish(Draft()));
  EXPECT_EQ(step(), ca::v1::AWAITING_SIGNATURES_TO_DISTRIBUTE) << "of the same signers";
  const x509::PrivateKey next = NewKey();
  trust::v1::PinSet set = Draft();
  set.mutable_signers()->set_keys(0, next.public_key().spki());
  world.Sleep(world.nodes[1]);
  ASSERT_OK(Publish(set, {next}));
  EXPECT_EQ(step(), ca::v1::DISTRIBUTED);
  world.Tick();
  EXPECT_EQ(step(), ca::v1::DISTRIBUTED) << "somebody does not know them yet";
  EXPECT_THAT(world.Rotate(Request::DROP),
              StatusIs(StatusCode::kFailedPrecondition, "ends by itself"));
  EXPECT_THAT(world.Status().gate().late(0).node_id(), world.nodes[1]);
  world.asleep.clear();
  world.Connect();
  world.Tick();
  EXPECT_EQ(step(), ca::v1::DONE);
}

TEST_F(SignedRotation, ABackupMadeApartComesWithTheSetThatNamesItAndReplacesTheOneBefore) {
  const std::string first = world.keys.at(ca::kBackupKeyName).public_key().pin().bytes();
  const x509::PrivateKey key = NewKey();
  const std::string pin = key.public_key().pin().bytes();
  const auto made = world.CreateBackup(key);
  ASSERT_OK(made);
  EXPECT_FALSE(made->leaving());
  EXPECT_THAT(world.Declared(), AllOf(Contains(first), Not(Contains(pin))));
  const auto fail_over = [&] {
    return world.Admin<ca::v1::Rotation>(ca::Failover{ca::v1::FailoverRequest(), key});
  };
  EXPECT_THAT(fail_over(), StatusIs(StatusCode::kFailedPrecondition,
                                    AllOf(HasSubstr("version 1"), HasSubstr("pins draft"))));
  world.CrashAndRestart();
  world.keys.emplace(KeyNameOf(pin), key);  // to prove that it is held
  trust::v1::PinSet set = Draft();
  ASSERT_EQ(set.issuers_size(), 2) << "not the one that it replaces";
  ASSERT_OK(Publish(set));
  EXPECT_THAT(world.Declared(), AllOf(Contains(pin), Not(Contains(first))));
  EXPECT_EQ(world.StateOf(first), "retired");
  ASSERT_OK(fail_over());
  EXPECT_EQ(world.Signer(), pin);
}

TEST_F(SignedRotation, GoesOnAfterACrashWhileItWaitsForSignatures) {
  Do({Request::PREPARE, Request::DISTRIBUTE});
  world.CrashAndRestart();
  ASSERT_OK(Publish(Draft()));
  world.CrashAndRestart();
  EXPECT_EQ(step(), ca::v1::DISTRIBUTED);
  Do({Request::ACTIVATE, Request::DRAIN, Request::DROP});
  world.CrashAndRestart();
  ASSERT_OK(Publish(Draft()));
  world.CrashAndRestart();
  world.Tick();
  EXPECT_EQ(step(), ca::v1::DONE);
}

}  // namespace
}  // namespace linchpin::test
