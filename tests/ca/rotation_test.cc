// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Rotations, a step at a time: what opens a gate, what a step changes, and what taking it back
// leaves.

#include <map>

#include "absl/strings/str_cat.h"
#include "ca/core/authorities.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/rotation_world.h"
#include "trust/trust_acceptance.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ca::v1::RotationStep;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Request = ca::v1::RotateRequest;

class IssuerRotation : public ::testing::Test {
 protected:
  // Asks for each in turn.
  void Do(const std::vector<Request::Action>& actions) {
    for (const Request::Action action : actions) {
      if (action == Request::DRAIN) world.ExpireEverything();
      ASSERT_OK(world.Rotate(action)) << action;
    }
  }
  RotationStep step() { return world.Status().step(); }

  RotationWorld world;
  const std::string old = world.Signer();
};

TEST_F(IssuerRotation, PreparesAnIssuerThatNobodyIsToldOf) {
  const uint64_t epoch = world.core->registry().trust().record.epoch();
  ASSERT_OK_AND_ASSIGN(const auto rotation, world.Rotate(Request::PREPARE));
  EXPECT_EQ(rotation.step(), ca::v1::PREPARED);
  ASSERT_EQ(rotation.new_pins_size(), 2);
  EXPECT_EQ(world.StateOf(rotation.new_pins(0)), "prepared");
  EXPECT_EQ(world.StateOf(rotation.new_pins(1)), "backup");
  for (const std::string& pin : rotation.new_pins()) {
    EXPECT_THAT(world.Declared(), Not(Contains(pin)));
  }
  EXPECT_EQ(world.core->registry().trust().record.epoch(), epoch);
  EXPECT_EQ(world.Signer(), old);
}

TEST_F(IssuerRotation, GoesFromStepToStepAndRetiresTheOldIssuer) {
  Do({Request::PREPARE, Request::DISTRIBUTE});
  const std::string next = world.Status().new_pins(0);
  EXPECT_THAT(world.Declared(), AllOf(Contains(next), Contains(old)));
  EXPECT_EQ(world.Signer(), old);
  Do({Request::ACTIVATE});
  EXPECT_EQ(world.Signer(), next);
  EXPECT_EQ(world.StateOf(old), "retiring");
  EXPECT_THAT(world.Declared(), Contains(old)) << "its certificates are still valid";
  Do({Request::DRAIN, Request::DROP});
  EXPECT_THAT(world.Declared(), Not(Contains(old)));
  world.Tick();
  EXPECT_EQ(step(), ca::v1::DONE);
  EXPECT_EQ(world.StateOf(old), "retired");
  EXPECT_EQ(world.Signer(), next);
  EXPECT_OK(world.Rotate(Request::PREPARE)) << "another may follow";
}

TEST_F(IssuerRotation, HasTheKeyDeletedThatWasRetired) {
  Do({Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE, Request::DRAIN, Request::DROP});
  world.Step(ca::event::KeysSeen{{"issuer-1", "issuer-3"}});
  EXPECT_EQ(world.keys.count("issuer-1"), 1u) << "it may yet be taken back";
  world.Tick();
  ASSERT_EQ(step(), ca::v1::DONE);
  world.Step(ca::event::KeysSeen{{"issuer-1", "issuer-3"}});
  EXPECT_EQ(world.keys.count("issuer-1"), 0u);
  EXPECT_EQ(world.keys.count("issuer-3"), 1u);
}

TEST_F(IssuerRotation, WarnsOfItsDeadlineAtHalfAQuarterAndATenthOfTheIssuersLife) {
  Do({Request::PREPARE});
  const absl::Time begun = world.now;
  EXPECT_TRUE(world.Status().warnings().empty());
  for (const auto& [days, percent] :
       std::vector<std::pair<int, std::string>>{{46, "50 %"}, {68, "25 %"}, {82, "10 %"}}) {
    world.now = begun + absl::Hours(24) * days;
    const auto status = world.Status();
    ASSERT_EQ(status.warnings_size(), 1) << days;
    EXPECT_THAT(status.warnings(0), AllOf(HasSubstr(percent), HasSubstr("hold")));
    EXPECT_THAT(world.core->Warnings(world.now), Contains(status.warnings(0)));
  }
}

TEST_F(IssuerRotation, IsWarnedForAtHalfAQuarterAndATenthOfTheIssuersLifeWhereNoneHasBegun) {
  const absl::Time begun = world.now;
  EXPECT_THAT(world.core->Warnings(world.now), IsEmpty());
  for (const auto& [days, percent] :
       std::vector<std::pair<int, std::string>>{{46, "50 %"}, {68, "25 %"}, {82, "10 %"}}) {
    world.now = begun + absl::Hours(24) * days;
    const auto warned = AllOf(HasSubstr(percent), HasSubstr("linchpin rotate prepare"));
    ASSERT_EQ(world.Status().warnings_size(), 1) << days;
    EXPECT_THAT(world.Status().warnings(0), warned);
    EXPECT_THAT(world.core->Warnings(world.now), Contains(warned));
  }
}

TEST_F(IssuerRotation, RecordsOfEachStepWhoTookItAndWhatHadReachedWhomByThen) {
  Do({Request::PREPARE});
  world.Sleep(world.nodes[1]);
  Do({Request::DISTRIBUTE});
  const auto rotation = world.Rotate(Request::ACTIVATE, {"b"});
  ASSERT_OK(rotation);
  Do({Request::DRAIN, Request::DROP});
  world.Tick();
  const auto history = world.Status().history();
  ASSERT_EQ(history.size(), 6);
  const std::vector<std::string> by = {"unix:root", "unix:root", "unix:root",
                                       "unix:root", "unix:root", "linchpin-ca"};
  for (int i = 0; i < history.size(); ++i) {
    EXPECT_EQ(history[i].by(), by[i]) << i;
    EXPECT_GT(history[i].gate().epoch(), 0u) << i;
    EXPECT_TRUE(history[i].gate().open()) << i << history[i].gate().ShortDebugString();
  }
  EXPECT_EQ(history[0].gate().covered(), 2u);
  EXPECT_EQ(history[1].gate().covered(), 2u) << "of the epoch before, which both had";
  EXPECT_EQ(history[2].gate().covered(), 1u);
  EXPECT_THAT(history[2].gate().excepted(), Contains(world.nodes[1]));
}

TEST_F(IssuerRotation, DoesNotActivateAnIssuerWhoseKeyWasRevokedMeanwhile) {
  Do({Request::PREPARE, Request::DISTRIBUTE});
  ca::v1::RevokeRequest revoke;
  revoke.set_key_sha256(world.Status().new_pins(0));
  ASSERT_OK(world.Admin<ca::v1::Revoked>(revoke));
  world.Acknowledge();
  EXPECT_THAT(world.Rotate(Request::ACTIVATE),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("revoked"), HasSubstr("linchpin rotate abort"))));
  EXPECT_EQ(world.Signer(), old);
}

TEST_F(IssuerRotation, MayBeToldAnewWhatToDoAtItsDeadlineWhileItWaits) {
  const auto tell = [&](const std::string& then) {
    Request request;
    request.set_on_deadline(then);
    return world.Admin<ca::v1::Rotation>(request);
  };
  EXPECT_THAT(tell("proceed"), StatusIs(StatusCode::kFailedPrecondition, "rotate prepare"));
  Do({Request::PREPARE, Request::DISTRIBUTE});
  EXPECT_THAT(tell("never"), StatusIs(StatusCode::kInvalidArgument, "hold or proceed"));
  ASSERT_OK_AND_ASSIGN(const auto told, tell("proceed"));
  EXPECT_EQ(told.on_deadline(), "proceed");
  EXPECT_EQ(told.step(), ca::v1::DISTRIBUTED);
  EXPECT_EQ(told.history().rbegin()->by(), "unix:root");
  Do({Request::ACTIVATE});
  EXPECT_THAT(tell("hold"), StatusIs(StatusCode::kFailedPrecondition, "no deadline"));
}

// A node that hears of the new issuer last is to be able to hear of it.
TEST_F(IssuerRotation, ShowsACertificateOfTheOldIssuerUntilItIsDrained) {
  Do({Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE});
  const auto shown_by = [&] {
    return world.serving.back()[1].public_key().pin().bytes();  // its issuer
  };
  world.Tick();
  EXPECT_EQ(shown_by(), old);
  world.now += absl::Hours(13);
  world.Tick();
  EXPECT_EQ(shown_by(), old) << "renewed";
  world.CrashAndRestart();
  EXPECT_EQ(shown_by(), old) << "after a start";
  world.now += absl::Hours(12);
  ASSERT_OK(world.Rotate(Request::DRAIN)) << "the CA's own is nothing to wait for";
  EXPECT_EQ(shown_by(), world.Signer()) << "at once";
  Do({Request::ABORT});
  EXPECT_EQ(shown_by(), old);
}

TEST_F(IssuerRotation, ShowsACertificateOfTheNewIssuerIfTheOldOneCannotMakeIt) {
  Do({Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE});
  world.now += absl::Hours(13);
  world.issue_fault = absl::FailedPreconditionError("the key is gone");
  world.Tick();
  world.Tick();
  EXPECT_EQ(world.serving.back()[1].public_key().pin().bytes(), world.Signer());
}

TEST_F(IssuerRotation, IsNotActivatedWhileANodeIsMissingWhichIsNamed) {
  world.asleep = {world.nodes[1]};
  Do({Request::PREPARE, Request::DISTRIBUTE});
  EXPECT_THAT(world.Rotate(Request::ACTIVATE),
              StatusIs(StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr(world.nodes[1]), HasSubstr("holds trust epoch"),
                             HasSubstr("linchpin coverage"), HasSubstr("--except"),
                             Not(HasSubstr(world.nodes[0])))));
  EXPECT_EQ(world.Signer(), old);
  const auto status = world.Status();
  EXPECT_FALSE(status.gate().open());
  EXPECT_THAT(status.waits_for(), HasSubstr("1 of 2 nodes"));
  world.asleep.clear();
  world.Connect();
  EXPECT_OK(world.Rotate(Request::ACTIVATE));
}

TEST_F(IssuerRotation, GoesOnWithoutANodeThatIsExceptedAndRecordsIt) {
  world.asleep = {world.nodes[1]};
  Do({Request::PREPARE, Request::DISTRIBUTE});
  EXPECT_THAT(world.Rotate(Request::ACTIVATE, {"stranger"}), StatusIs(StatusCode::kNotFound));
  ASSERT_OK_AND_ASSIGN(const auto rotation, world.Rotate(Request::ACTIVATE, {"b"}));
  EXPECT_THAT(rotation.except(), Contains(world.nodes[1]));
  EXPECT_THAT(rotation.history().rbegin()->gate().excepted(), Contains(world.nodes[1]));
}

TEST_F(IssuerRotation, LeavesOutANodeOnceNothingIssuedThroughItIsValid) {
  world.Sleep(world.nodes[1]);
  Do({Request::PREPARE, Request::DISTRIBUTE});
  world.now += absl::Hours(24) + absl::Minutes(1);
  EXPECT_THAT(world.Rotate(Request::ACTIVATE), StatusIs(StatusCode::kFailedPrecondition));
  world.now += absl::Seconds(1);
  ASSERT_OK_AND_ASSIGN(const auto rotation, world.Rotate(Request::ACTIVATE));
  EXPECT_THAT(rotation.history().rbegin()->gate().lapsed(), Contains(world.nodes[1]));
}

TEST_F(IssuerRotation, CountsNoNodeOfWhichNothingWasHeardSinceTheStart) {
  Do({Request::PREPARE, Request::DISTRIBUTE});
  world.Restart();
  EXPECT_THAT(world.Rotate(Request::ACTIVATE),
              StatusIs(StatusCode::kFailedPrecondition, "has not been heard of"));
  world.Connect();
  EXPECT_OK(world.Rotate(Request::ACTIVATE));
}

TEST_F(IssuerRotation, GoesOnHoweverMuchNodesHaveToSay) {
  for (int i = 0; i < 64; ++i) world.nodes.push_back(world.Join(absl::StrCat("n", i)));
  world.Connect();
  Do({Request::PREPARE, Request::DISTRIBUTE});
  for (const auto& [node, session] : world.sessions) {
    ca::v1::Ack ack = world.Holding(1);
    ack.set_refused(std::string(2000, 'x'));
    world.Step(ca::event::NodeAck{session, ack});
  }
  Request request;
  for (int i = 0; i < 32; ++i) {
    request.set_on_deadline(i % 2 == 0 ? "proceed" : "hold");
    ASSERT_OK(world.Admin<ca::v1::Rotation>(request)) << i;
  }
  EXPECT_LT(world.Status().ByteSizeLong(), 512u << 10);
}

TEST_F(IssuerRotation, BelievesNoNodeThatRefusesOrHoldsAnEpochOfAnotherPast) {
  Do({Request::PREPARE, Request::DISTRIBUTE});
  const auto say = [&](uint64_t epoch, const std::string& refused) {
    ca::v1::Ack ack = world.Holding(epoch);
    ack.set_refused(refused);
    world.Step(ca::event::NodeAck{world.sessions.at(world.nodes[1]), ack});
    Request request;
    request.set_action(Request::ACTIVATE);
    return world.Admin<ca::v1::Rotation>(request);
  };
  EXPECT_THAT(say(99, ""), StatusIs(StatusCode::kFailedPrecondition, "does not know"));
  EXPECT_THAT(say(2, "it goes back"), StatusIs(StatusCode::kFailedPrecondition, "it goes back"));
  EXPECT_EQ(world.Status().gate().covered(), 1u);
  const auto coverage = world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest());
  ASSERT_OK(coverage);
  EXPECT_EQ(coverage->nodes_size(), 2) << "it is late, and not covered as well";
  EXPECT_EQ(coverage->count().nodes_covered(), 1u);
  EXPECT_OK(say(2, ""));
}

TEST_F(IssuerRotation, DrainsOnlyWhenNoCertificateOfTheOldIssuerIsValid) {
  world.now += absl::Hours(1);
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  const auto issued = world.AskIssue(world.nodes[0], web.identity_id());
  ASSERT_OK(world.Answer<ca::v1::IssueResponse>(issued));
  Do({Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE});
  EXPECT_THAT(world.Rotate(Request::DRAIN),
              StatusIs(StatusCode::kFailedPrecondition, "are valid until"));
  EXPECT_THAT(world.Rotate(Request::DROP), StatusIs(StatusCode::kFailedPrecondition, "follow"));
  world.CrashAndRestart();
  EXPECT_THAT(world.Rotate(Request::DRAIN),
              StatusIs(StatusCode::kFailedPrecondition, "are valid until"));
  // Nodes live longest: they were certified an hour before, for a day.
  world.now += absl::Hours(23) - absl::Seconds(1);
  EXPECT_THAT(world.Rotate(Request::DRAIN), StatusIs(StatusCode::kFailedPrecondition));
  world.now += absl::Minutes(1);
  EXPECT_THAT(world.Rotate(Request::DRAIN), StatusIs(StatusCode::kFailedPrecondition))
      << "a node's clock may be a minute behind";
  world.now += absl::Seconds(2);
  EXPECT_OK(world.Rotate(Request::DRAIN));
}

TEST_F(IssuerRotation, KnowsWhatWasIssuedEvenIfTheLogIsLost) {
  Do({Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE});
  world.log.clear();
  world.CrashAndRestart();
  EXPECT_THAT(world.Rotate(Request::DRAIN), StatusIs(StatusCode::kFailedPrecondition));
}

TEST_F(IssuerRotation, AllowsOneAtATimeAndNoStepOutOfTurn) {
  for (const auto action :
       {Request::DISTRIBUTE, Request::ACTIVATE, Request::DRAIN, Request::DROP, Request::ABORT}) {
    EXPECT_THAT(world.Rotate(action), StatusIs(StatusCode::kFailedPrecondition, "rotate prepare"));
  }
  Do({Request::PREPARE});
  EXPECT_THAT(world.Rotate(Request::PREPARE),
              StatusIs(StatusCode::kFailedPrecondition, "rotate status"));
  for (const auto action : {Request::ACTIVATE, Request::DRAIN, Request::DROP}) {
    EXPECT_THAT(world.Rotate(action), StatusIs(StatusCode::kFailedPrecondition, "does not follow"));
  }
}

TEST_F(IssuerRotation, RefusesWhatItDoesNotKnow) {
  world.what = "leaf";
  EXPECT_THAT(world.Rotate(Request::PREPARE), StatusIs(StatusCode::kInvalidArgument, "--what"));
  world.what = "issuer";
  world.on_deadline = "whatever";
  EXPECT_THAT(world.Rotate(Request::PREPARE),
              StatusIs(StatusCode::kInvalidArgument, "--on-deadline"));
}

TEST_F(IssuerRotation, SaysUnderSetZeroThatRootsAndSignersNeedASignedSet) {
  for (const char* what : {"root", "signers"}) {
    world.what = what;
    EXPECT_THAT(world.Rotate(Request::PREPARE),
                StatusIs(StatusCode::kFailedPrecondition, "pins publish"));
  }
}

TEST_F(IssuerRotation, IsTakenBackStepByStepWithTheOldIssuerTrustedAllTheWay) {
  Do({Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE, Request::DRAIN, Request::DROP});
  const std::string next = world.Signer();
  Do({Request::ABORT});
  EXPECT_EQ(step(), ca::v1::DRAINED);
  EXPECT_THAT(world.Declared(), AllOf(Contains(next), Contains(old)));
  Do({Request::ABORT, Request::ABORT});
  EXPECT_EQ(step(), ca::v1::DISTRIBUTED);
  EXPECT_EQ(world.Signer(), old);
  EXPECT_EQ(world.StateOf(next), "prepared");
  EXPECT_THAT(world.Declared(), Contains(next)) << "what it has issued is still served";
  world.ExpireEverything();
  Do({Request::ABORT});
  EXPECT_EQ(step(), ca::v1::PREPARED);
  EXPECT_THAT(world.Declared(), Not(Contains(next)));
  Do({Request::ABORT});
  EXPECT_EQ(step(), ca::v1::ABORTED);
  EXPECT_EQ(world.StateOf(next), "retired");
  EXPECT_EQ(world.StateOf(old), "active");
  ASSERT_OK(world.Rotate(Request::PREPARE)) << "another may follow";
  EXPECT_NE(world.Status().new_pins(0), next) << "a key that was given up is not taken up again";
}

TEST_F(IssuerRotation, IsNotTakenBackWhileWhatTheNewIssuerMadeIsValid) {
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  Do({Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE});
  const auto issued = world.AskIssue(world.nodes[0], web.identity_id());
  ASSERT_OK(world.Answer<ca::v1::IssueResponse>(issued));
  Do({Request::ABORT});
  EXPECT_THAT(world.Rotate(Request::ABORT),
              StatusIs(StatusCode::kFailedPrecondition, "are valid until"));
}

TEST_F(IssuerRotation, LetsTheOldIssuerSignAgainOnlyWhenItIsTrustedAgainEverywhere) {
  Do({Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE, Request::DRAIN, Request::DROP});
  world.asleep = {world.nodes[0]};  // it has taken the drop, and hears nothing of its end
  Do({Request::ABORT, Request::ABORT});
  EXPECT_THAT(world.Rotate(Request::ABORT),
              StatusIs(StatusCode::kFailedPrecondition, world.nodes[0]));
  world.asleep.clear();
  world.Connect();
  EXPECT_OK(world.Rotate(Request::ABORT));
}

// A rotation that was distributed, with a node that says nothing and so keeps the gate closed.
struct Behind {
  explicit Behind(const std::string& on_deadline, bool before_the_deadline = true) {
    one.on_deadline = on_deadline;
    EXPECT_OK(one.Rotate(Request::PREPARE));
    const absl::Time deadline = absl::FromUnixSeconds(one.Status().deadline());
    one.now = deadline + (before_the_deadline ? -absl::Hours(2) : absl::Hours(2));
    EXPECT_OK(one.Attest(one.Token("late"), one.node_key));
    EXPECT_OK(one.Rotate(Request::DISTRIBUTE));
    one.Tick();
  }
  bool proceeded() const { return one.Signer() != before; }
  RotationWorld one;
  const std::string before = one.Signer();
};

TEST_F(IssuerRotation, ProceedsAtItsDeadlineOnlyIfItWasToldTo) {
  for (const char* on_deadline : {"hold", "proceed"}) {
    Behind behind(on_deadline);
    behind.one.now += absl::Hours(2) - absl::Seconds(1);
    behind.one.Tick();
    EXPECT_FALSE(behind.proceeded()) << on_deadline;
    behind.one.now += absl::Seconds(2);
    behind.one.Tick();
    EXPECT_EQ(behind.proceeded(), std::string("proceed") == on_deadline) << on_deadline;
  }
}

TEST_F(IssuerRotation, ProceedsNotBeforeNodesHadTimeToTakeTheNewKey) {
  Behind behind("proceed", false);
  EXPECT_FALSE(behind.proceeded());
  behind.one.now += absl::Hours(1) - absl::Seconds(1);
  behind.one.Tick();
  EXPECT_FALSE(behind.proceeded());
  behind.one.now += absl::Seconds(1);
  behind.one.Tick();
  EXPECT_TRUE(behind.proceeded());
}

TEST_F(IssuerRotation, HasADeadlineThatNoRegistrationMoves) {
  world.on_deadline = "proceed";
  ASSERT_OK_AND_ASSIGN(const auto prepared, world.Rotate(Request::PREPARE));
  ca::v1::Identity identity;
  identity.set_spiffe_id(Id("/long"));
  identity.add_selectors("unix:uid:1000");
  identity.set_any_node(true);
  identity.set_ttl_seconds(90 * 24 * 3600);
  ASSERT_OK(world.Admin<ca::v1::Identity>(ca::CreateIdentity{identity}));
  EXPECT_EQ(world.Status().deadline(), prepared.deadline());
  world.Sleep(world.nodes[1]);
  Do({Request::DISTRIBUTE});
  world.now += absl::Hours(2);
  world.Tick();
  EXPECT_EQ(world.Signer(), old) << "the gate is closed, and the deadline is far away";
}

TEST_F(IssuerRotation, StaysTakenBackAfterItHadProceeded) {
  Behind behind("proceed");
  behind.one.now += absl::Hours(3);
  behind.one.Tick();
  ASSERT_TRUE(behind.proceeded());
  ASSERT_OK_AND_ASSIGN(const auto taken_back, behind.one.Rotate(Request::ABORT));
  EXPECT_EQ(taken_back.on_deadline(), "hold");
  EXPECT_THAT(taken_back.history().rbegin()->note(), HasSubstr("hold"));
  behind.one.Tick();
  EXPECT_FALSE(behind.proceeded());
}

// Whatever step it has come to, a CA that is killed goes on from there.
// Nodes are known to hold an epoch by the digest of what was said of it.
TEST_F(IssuerRotation, SaysTheSameOfAnEpochAtEveryStepAndAfterEveryStart) {
  std::map<uint64_t, std::string> said;
  const auto say = [&](Request::Action action) {
    const auto offer = ca::TrustMessage(world.core->registry(), world.core->authorities(), 0);
    const std::string digest = trust::OfferDigest(offer);
    EXPECT_EQ(said.emplace(offer.epoch(), digest).first->second, digest) << action;
  };
  for (const Request::Action action :
       {Request::PREPARE, Request::DISTRIBUTE, Request::ACTIVATE, Request::ABORT, Request::ACTIVATE,
        Request::DRAIN, Request::DROP}) {
    Do({action});
    say(action);
    world.CrashAndRestart();
    say(action);
  }
  EXPECT_GE(said.size(), 2u);
}

TEST_F(IssuerRotation, GoesOnAfterACrashAtEveryStep) {
  const std::vector<Request::Action> all = {Request::PREPARE, Request::DISTRIBUTE,
                                            Request::ACTIVATE, Request::DRAIN, Request::DROP};
  for (const Request::Action action : all) {
    if (action == Request::DRAIN) world.ExpireEverything();
    // Killed before the commit: nothing has happened.
    const RotationStep before = step();
    world.hold_commits = true;
    Request request;
    request.set_action(action);
    request.set_what("issuer");
    world.Ask(request);
    world.hold_commits = false;
    world.CrashAndRestart();
    EXPECT_EQ(step(), before) << action;
    // Killed after it: it has.
    world.commit_fault = absl::UnavailableError("killed");
    world.fault_after_applying = true;
    ASSERT_OK(world.Rotate(action)) << action;
    world.fault_after_applying = false;
    const RotationStep after = step();
    EXPECT_NE(after, before) << action;
    world.CrashAndRestart();
    EXPECT_EQ(step(), after) << action;
  }
  world.Tick();
  EXPECT_EQ(step(), ca::v1::DONE);
  EXPECT_NE(world.Signer(), old);
}

TEST_F(IssuerRotation, ChangesNothingIfItCannotBeStored) {
  Do({Request::PREPARE, Request::DISTRIBUTE});
  world.commit_fault = absl::ResourceExhaustedError("disk full");
  EXPECT_THAT(world.Rotate(Request::ACTIVATE), StatusIs(StatusCode::kResourceExhausted));
  EXPECT_EQ(step(), ca::v1::DISTRIBUTED);
  EXPECT_EQ(world.Signer(), old);
}

}  // namespace
}  // namespace linchpin::test
