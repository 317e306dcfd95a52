// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A backup issuer is made apart from the CA, and takes over.

#include "absl/strings/str_cat.h"
#include "ca/core/backups.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/rotation_world.h"
#include "trust/canary.h"
#include "x509/certificate_builder.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Request = ca::v1::RotateRequest;

x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }
std::string PinOf(const x509::PrivateKey& key) { return key.public_key().pin().bytes(); }

class FailoverWorld : public RotationWorld {
 public:
  FailoverWorld() : backup(keys.at(ca::kBackupKeyName)) {
    keys.erase(ca::kBackupKeyName);  // kept apart
    LookForKeys();
  }
  void LookForKeys() {
    ca::event::KeysSeen seen;
    for (const auto& [name, key] : keys) seen.key_names.insert(name);
    Step(std::move(seen));
  }
  absl::StatusOr<ca::v1::Rotation> FailOver(const x509::PrivateKey& key, bool in_haste = false,
                                            const std::vector<std::string>& except = {}) {
    ca::v1::FailoverRequest asked;
    asked.set_now(in_haste);
    for (const std::string& node : except) asked.add_except(node);
    auto answer = Admin<ca::v1::Rotation>(ca::Failover{asked, key});
    LookForKeys();
    Acknowledge();
    return answer;
  }
  void Judged(const std::string& node, const trust::v1::CanaryVerdict& verdict) {
    ca::v1::Ack ack = Holding(held[node]);
    *ack.add_canaries() = verdict;
    Step(ca::event::NodeAck{sessions.at(node), ack});
  }
  ca::v1::FailoverOutlook Outlook() {
    return *Admin<ca::v1::FailoverOutlook>(ca::v1::GetFailoverRequest());
  }

  x509::PrivateKey backup;  // of the first start
};

class FailoverTest : public ::testing::Test {
 protected:
  FailoverWorld world;
};

TEST_F(FailoverTest, MakesTheBackupSignInOneCommitAndTheOldIssuerLeaveAfterItsCertificates) {
  const std::string old = world.Signer();
  EXPECT_TRUE(world.Outlook().ready());
  const auto done = world.FailOver(world.backup);
  ASSERT_OK(done);
  EXPECT_EQ(done->step(), ca::v1::ACTIVATED);
  EXPECT_EQ(done->what(), "failover");
  EXPECT_EQ(done->history(0).by(), "unix:root");
  EXPECT_EQ(done->history(0).gate().covered(), 2u);
  EXPECT_EQ(world.Signer(), PinOf(world.backup));
  EXPECT_EQ(world.StateOf(old), "retiring");
  EXPECT_THAT(world.Rotate(Request::DRAIN), StatusIs(StatusCode::kFailedPrecondition));
  world.ExpireEverything();
  ASSERT_OK(world.Rotate(Request::DRAIN));
  ASSERT_OK(world.Rotate(Request::DROP));
  world.Tick();
  EXPECT_EQ(world.Status().step(), ca::v1::DONE);
  EXPECT_EQ(world.StateOf(old), "retired");
  EXPECT_THAT(world.Declared(), ElementsAre(PinOf(world.backup)));
}

TEST_F(FailoverTest, RefusesAKeyThatIsNoBackupsAndSaysWhose) {
  const std::string pin = world.backup.public_key().pin().ToString();
  EXPECT_THAT(world.FailOver(world.keys.at(ca::kActiveKeyName)),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("of the active issuer"), HasSubstr(pin))));
  EXPECT_THAT(world.FailOver(world.keys.at(ca::kRootKeyName)),
              StatusIs(StatusCode::kInvalidArgument, "of the active root"));
  EXPECT_THAT(world.FailOver(NewKey()),
              StatusIs(StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("of nothing that this CA knows"), HasSubstr(pin))));
  EXPECT_EQ(world.keys.count(ca::kBackupKeyName), 0u) << "nothing was kept";
  ASSERT_OK(world.FailOver(world.backup));
  EXPECT_THAT(world.FailOver(world.backup),
              StatusIs(StatusCode::kInvalidArgument, "signs already"));
}

TEST_F(FailoverTest, WaitsForThoseWhoDoNotTrustTheBackupYetUnlessTheyAreLeftOut) {
  world.Sleep(world.nodes[1]);
  const x509::PrivateKey key = NewKey();
  ASSERT_OK(world.CreateBackup(key));
  EXPECT_FALSE(world.Outlook().ready());
  EXPECT_THAT(world.FailOver(key), StatusIs(StatusCode::kFailedPrecondition,
                                            AllOf(HasSubstr(world.nodes[1]), HasSubstr("--except"),
                                                  HasSubstr("failover --now"))));
  EXPECT_THAT(world.keys, Not(Contains(::testing::Pair(HasSubstr("backup-"), ::testing::_))))
      << "a key is not kept for nothing";
  ASSERT_OK(world.FailOver(key, false, {world.nodes[1]}));
  EXPECT_EQ(world.Signer(), PinOf(key));
  EXPECT_THAT(world.Status().except(), ElementsAre(world.nodes[1]));
}

TEST_F(FailoverTest, GoesOnAtOnceWithoutAllThatAreMissingAndNamesThem) {
  for (const std::string& node : world.nodes) world.Sleep(node);
  world.Restart();  // and so has heard of nobody
  world.LookForKeys();
  EXPECT_THAT(world.FailOver(world.backup), StatusIs(StatusCode::kFailedPrecondition));
  const auto done = world.FailOver(world.backup, true);
  ASSERT_OK(done);
  EXPECT_EQ(done->except_size(), 2);
  EXPECT_EQ(done->history(0).gate().excepted_size(), 2);
  EXPECT_THAT(done->history(0).note(), HasSubstr("--now"));
}

TEST_F(FailoverTest, NamesAllThatAreGoneOnWithoutHoweverManyTheyAre) {
  constexpr int kSilent = 300;  // more than a gate names
  for (int i = 0; i < kSilent; ++i) world.Join(absl::StrCat("silent-", i));
  const auto done = world.FailOver(world.backup, true);
  ASSERT_OK(done);
  EXPECT_EQ(done->except_size(), kSilent);
}

TEST_F(FailoverTest, DoesNotWaitForATrustEpochThatHasNothingToDoWithTheBackup) {
  world.Sleep(world.nodes[1]);
  const auto row = world.core->registry().trust();
  ca::v1::RevokeRequest revoke;
  revoke.set_spiffe_id(Id("/gone"));
  ASSERT_OK(world.Admin<ca::v1::Revoked>(revoke));
  EXPECT_GT(world.core->registry().trust().record.epoch(), row.record.epoch());
  EXPECT_OK(world.FailOver(world.backup));
}

TEST_F(FailoverTest, SurvivesACrashBeforeAndAfterItsCommit) {
  world.hold_commits = true;
  (void)world.FailOver(world.backup);
  world.CrashAndRestart();  // the key is kept, nothing is stored
  world.hold_commits = false;
  world.LookForKeys();
  EXPECT_NE(world.Signer(), PinOf(world.backup));
  world.Connect();
  EXPECT_THAT(world.core->Warnings(world.now), Contains(HasSubstr("move it away")));
  ASSERT_OK(world.FailOver(world.backup));
  world.CrashAndRestart();
  EXPECT_EQ(world.Signer(), PinOf(world.backup));
  EXPECT_EQ(world.Status().step(), ca::v1::ACTIVATED);
}

TEST_F(FailoverTest, IsTakenBack) {
  const std::string old = world.Signer();
  ASSERT_OK(world.FailOver(world.backup));
  ASSERT_OK(world.Rotate(Request::ABORT));
  EXPECT_EQ(world.Signer(), old);
  EXPECT_EQ(world.StateOf(PinOf(world.backup)), "backup");
  EXPECT_EQ(world.Status().step(), ca::v1::ABORTED);
  EXPECT_OK(world.FailOver(world.backup)) << "and is done again";
}

TEST_F(FailoverTest, CannotBeTakenBackWithoutTheOldKey) {
  world.keys.erase(ca::kActiveKeyName);
  world.LookForKeys();
  ASSERT_OK(world.FailOver(world.backup));
  EXPECT_THAT(world.Rotate(Request::ABORT),
              StatusIs(StatusCode::kFailedPrecondition, "linchpin rotate drain"));
}

TEST_F(FailoverTest, EndsARotationOfTheIssuerAtAnyOfItsSteps) {
  const std::vector<Request::Action> all = {Request::PREPARE, Request::DISTRIBUTE,
                                            Request::ACTIVATE, Request::DRAIN, Request::DROP};
  for (size_t steps = 1; steps <= all.size(); ++steps) {
    FailoverWorld rotating;
    for (size_t i = 0; i < steps; ++i) {
      if (all[i] == Request::DRAIN) rotating.ExpireEverything();
      if (all[i] == Request::DRAIN) rotating.Connect();
      ASSERT_OK(rotating.Rotate(all[i])) << steps;
    }
    x509::PrivateKey key = rotating.backup;
    if (all[steps - 1] == Request::DROP) key = rotating.keys.at("issuer-3-backup");
    const std::string signer = rotating.Signer();
    ASSERT_OK(rotating.FailOver(key)) << steps;
    EXPECT_EQ(rotating.Signer(), PinOf(key));
    EXPECT_EQ(rotating.StateOf(signer), "retiring");
    rotating.CrashAndRestart();
    rotating.ExpireEverything();
    rotating.Connect();
    ASSERT_OK(rotating.Rotate(Request::DRAIN)) << steps;
    ASSERT_OK(rotating.Rotate(Request::DROP)) << steps;
    rotating.Tick();
    EXPECT_EQ(rotating.Status().step(), ca::v1::DONE) << steps;
    for (const ca::Authority& authority : rotating.core->authorities().all()) {
      EXPECT_NE(authority.state, "prepared") << steps;
      EXPECT_NE(authority.state, "retiring") << steps;
    }
  }
}

TEST_F(FailoverTest, LeavesNoBackupWhichIsAnAlarmUntilAnotherIsMade) {
  EXPECT_THAT(world.core->Warnings(world.now), IsEmpty());
  ASSERT_OK(world.FailOver(world.backup));
  EXPECT_THAT(world.core->Warnings(world.now),
              Contains(HasSubstr("linchpin ca backup create --out FILE")));
  const x509::PrivateKey key = NewKey();
  ASSERT_OK(world.CreateBackup(key));
  EXPECT_THAT(world.core->Warnings(world.now), IsEmpty());
  EXPECT_THAT(world.Declared(), Contains(PinOf(key)));
  EXPECT_TRUE(world.Outlook().ready());
  EXPECT_OK(world.FailOver(key));
}

TEST_F(FailoverTest, ABackupMadeApartReplacesTheOneBeforeAndItsKeyIsNeverHere) {
  const size_t kept = world.keys.size();
  const x509::PrivateKey key = NewKey();
  const auto made = world.CreateBackup(key);
  ASSERT_OK(made);
  EXPECT_EQ(made->state(), "backup");
  EXPECT_FALSE(made->key_present());
  EXPECT_EQ(world.keys.size(), kept);
  EXPECT_EQ(world.StateOf(PinOf(world.backup)), "retired");
  EXPECT_THAT(world.Declared(), AllOf(Contains(PinOf(key)), Not(Contains(PinOf(world.backup)))));
  const auto message = ca::TrustMessage(world.core->registry(), world.core->authorities(), 0);
  EXPECT_EQ(message.twins_size(), 2);
}

TEST_F(FailoverTest, ABackupIsToldToNobodyBeforeItIsFinishedWhateverCrashes) {
  const x509::PrivateKey key = NewKey();
  const auto certified = world.Certify(key);
  ASSERT_OK(certified);
  EXPECT_THAT(world.Declared(), AllOf(Not(Contains(PinOf(key))), Contains(PinOf(world.backup))));
  world.CrashAndRestart();
  const auto again = world.Certify(key);
  ASSERT_OK(again);
  EXPECT_EQ(again->certificate(), certified->certificate());
  EXPECT_THAT(world.FailOver(key), StatusIs(StatusCode::kFailedPrecondition, "ca backup create"));
  ca::v1::FinishBackupRequest wrong;
  wrong.set_certificate(certified->certificate());
  wrong.set_twin(world.core->authorities().active().twin->der());
  EXPECT_THAT(world.Admin<ca::v1::Authority>(wrong),
              StatusIs(StatusCode::kInvalidArgument, "no twin"));
  ASSERT_OK(world.Finish(*certified, key));
  EXPECT_OK(world.Finish(*certified, key)) << "an answer was lost";
  EXPECT_THAT(world.Declared(), Contains(PinOf(key)));
}

// As a company's template may make it, in a way that no check of ours knows.
TEST_F(FailoverTest, ABackupThatAgentsWouldRefuseDoesNotReplaceTheOneBefore) {
  const x509::PrivateKey key = NewKey();
  ASSERT_OK_AND_ASSIGN(ca::v1::Authority certified, world.Certify(key));
  const ca::Authority& root = *world.core->authorities().RootOf(world.core->authorities().active());
  auto spec = ca::IssuerSpec(world.options.profile, key.public_key(), root.certificate, world.now,
                             world.random);
  spec.not_before = world.now + absl::Hours(1);  // so a canary, which begins with it, is refused
  const auto bad = *x509::SignCertificate(spec, key.public_key(), root.certificate,
                                          world.keys.at(ca::kRootKeyName));
  const std::string record_key = ca::AuthorityKey(false, PinOf(key));
  const auto row = world.core->registry().authorities().at(record_key);
  state::v1::AuthorityRecord record = row.record;
  record.set_certificate(bad.der());
  ASSERT_OK(world.store.Commit(
      {{.key = record_key, .value = record.SerializeAsString(), .expected = row.revision}}));
  world.CrashAndRestart();
  certified.set_certificate(bad.der());
  EXPECT_THAT(world.Finish(certified, key),
              StatusIs(StatusCode::kInvalidArgument, "agents would refuse what it signs"));
  EXPECT_THAT(world.Declared(), Not(Contains(PinOf(key))));
  EXPECT_EQ(world.StateOf(PinOf(world.backup)), "backup");
  EXPECT_TRUE(world.Outlook().ready()) << "by the one before";
}

TEST_F(FailoverTest, ABackupNeedsAKeyOfItsOwn) {
  EXPECT_THAT(world.Certify(world.keys.at(ca::kActiveKeyName)),
              StatusIs(StatusCode::kAlreadyExists, "the active issuer"));
  EXPECT_THAT(world.Certify(world.keys.at(ca::kRootKeyName)),
              StatusIs(StatusCode::kAlreadyExists, "the active root"));
}

TEST_F(FailoverTest, ShowsByTheBackupsCanaryWhoWouldTakeWhatItSigns) {
  const auto message = ca::TrustMessage(world.core->registry(), world.core->authorities(), 0);
  ASSERT_EQ(message.canaries_size(), 1);
  auto trusted = *ca::OwnTrust(world.core->registry(), world.core->authorities());
  const auto good = trust::JudgeCanaries(trusted, message.canaries(), world.now);
  ASSERT_TRUE(good[0].good()) << good[0].why();
  world.Judged(world.nodes[0], good[0]);
  EXPECT_EQ(world.Outlook().backups(0).canary_good(), 1u);
  EXPECT_TRUE(world.Outlook().ready()) << "one that has not judged it hinders nobody";

  trust::v1::CanaryVerdict bad = good[0];
  bad.set_good(false);
  bad.set_why("ISSUER_NOT_PINNED");
  world.Judged(world.nodes[1], bad);
  EXPECT_EQ(world.Outlook().backups(0).canary_bad(), 1u);
  EXPECT_FALSE(world.Outlook().ready());
  EXPECT_THAT(world.core->Warnings(world.now), Contains(HasSubstr("1 nodes would refuse")));
  EXPECT_THAT(world.FailOver(world.backup),
              StatusIs(StatusCode::kFailedPrecondition, "canary: ISSUER_NOT_PINNED"));
  EXPECT_OK(world.FailOver(world.backup, false, {world.nodes[1]}));
}

TEST_F(FailoverTest, ACanaryIsJudgedBadByWhoDoesNotPinItsIssuer) {
  const auto before = ca::TrustMessage(world.core->registry(), world.core->authorities(), 0);
  ASSERT_OK(world.CreateBackup(NewKey()));  // in its place
  auto trusted = *ca::OwnTrust(world.core->registry(), world.core->authorities());
  const auto verdicts = trust::JudgeCanaries(trusted, before.canaries(), world.now);
  ASSERT_EQ(verdicts.size(), 1u);
  EXPECT_FALSE(verdicts[0].good());
  EXPECT_THAT(verdicts[0].why(), Not(IsEmpty()));
  trust::v1::TrustState said;
  *said.add_canaries() = before.canaries(0);
  said.mutable_canaries(0)->set_issuer_key_sha256(world.Signer());
  EXPECT_FALSE(trust::JudgeCanaries(trusted, said.canaries(), world.now)[0].good());
}

TEST_F(FailoverTest, HasWhatTheOldIssuerCertifiedReplacedWithinAWindow) {
  const std::string old = world.core->authorities().active().certificate.der();
  const auto replacements = [&] {
    return ca::TrustMessage(world.core->registry(), world.core->authorities(), 0).replacements();
  };
  const uint64_t epoch = world.core->registry().trust().record.epoch();
  EXPECT_THAT(replacements(), IsEmpty());
  ASSERT_OK(world.FailOver(world.backup));
  EXPECT_GT(world.core->registry().trust().record.epoch(), epoch) << "nodes are told";
  ASSERT_EQ(replacements().size(), 1);
  EXPECT_EQ(replacements()[0].issuer(), old);
  EXPECT_EQ(replacements()[0].from(), absl::ToUnixSeconds(world.now) + 2);
  EXPECT_EQ(replacements()[0].until(), absl::ToUnixSeconds(world.now) + 4) << "of a small fleet";
  world.CrashAndRestart();
  world.LookForKeys();
  EXPECT_EQ(replacements().size(), 1);
  ASSERT_OK(world.Rotate(Request::ABORT));
  EXPECT_THAT(replacements(), IsEmpty()) << "or what it makes again would be replaced";
}

TEST_F(FailoverTest, TheOldKeyIsDeniedAndTheCaShowsACertificateOfTheNewIssuer) {
  const std::string old = world.Signer();
  ASSERT_OK(world.FailOver(world.backup));
  ca::v1::RevokeRequest revoke;
  revoke.set_key_sha256(old);
  ASSERT_OK(world.Admin<ca::v1::Revoked>(revoke));
  EXPECT_THAT(world.Rotate(Request::ABORT),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("revoked")))
      << "an issuer whose key is denied does not sign again";
  EXPECT_TRUE(world.serving.back()[0].IsSignedBy(world.backup.public_key()));
}

TEST_F(FailoverTest, AnIssuersRotationBringsANewBackup) {
  for (const auto action : {Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE}) {
    ASSERT_OK(world.Rotate(action));
  }
  EXPECT_EQ(world.StateOf(PinOf(world.backup)), "backup") << "there always is one";
  world.ExpireEverything();
  ASSERT_OK(world.Rotate(Request::DRAIN));
  ASSERT_OK(world.Rotate(Request::DROP));
  world.Tick();
  EXPECT_EQ(world.Status().step(), ca::v1::DONE);
  EXPECT_EQ(world.StateOf(PinOf(world.backup)), "retired");
  EXPECT_EQ(world.StateOf(PinOf(world.keys.at("issuer-3-backup"))), "backup");
  EXPECT_EQ(world.Outlook().backups_size(), 1);
}

}  // namespace
}  // namespace linchpin::test
