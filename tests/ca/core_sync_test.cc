// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What nodes are sent and when, and what becomes of commits that fail.

#include "absl/strings/str_cat.h"
#include "base/retry_after.h"
#include "ca/core/ca_core.h"
#include "ca/core/registration.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sync/projection.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"
#include "trust/pin_set.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A node's side of one session: applies what it is sent.
struct Held {
  sync::Receiver receiver{sync::Projection{}};
  sync::Receiver::Change last;
  size_t taken = 0;
  bool saw_trust = false;

  void Take(CoreWorld& world, ca::SessionId session) {
    const std::vector<ca::v1::CaMessage>& messages = world.pushed[session];
    saw_trust = false;
    for (; taken < messages.size(); ++taken) {
      auto complete = receiver.Add(messages[taken]);
      ASSERT_OK(complete);
      if (!*complete) continue;
      last = receiver.Take();
      saw_trust = saw_trust || last.has_trust;
    }
  }
};

ca::v1::Hello HelloOf(const Held& held) {
  ca::v1::Hello hello;
  hello.set_incarnation(held.last.stamp.incarnation);
  hello.set_revision(held.last.stamp.revision);
  hello.set_trust_epoch(held.last.trust.epoch());
  hello.set_trust_digest(trust::OfferDigest(held.last.trust));
  hello.set_projection_digest(held.last.projection.Digest());
  return hello;
}

trust::v1::PeerRule Rule(const std::string& from, const std::string& to) {
  trust::v1::PeerRule rule;
  rule.set_from(Id(from));
  rule.set_to(Id(to));
  return rule;
}

TEST(Sync, ANodeThatBeginsAgainAndAgainIsToldWhenToComeAndKeepsTheStreamItHas) {
  CoreWorld world;
  const std::string node = world.Join("a"), other = world.Join("b");
  ca::SessionId session = 0;
  for (int i = 0; i < ca::kHellosOfNode; ++i) world.Hello(++session, node);
  const ca::SessionId last = session;
  EXPECT_FALSE(world.closed.contains(last));
  world.Hello(++session, node);
  ASSERT_TRUE(world.closed.contains(session));
  EXPECT_THAT(world.closed.at(session), StatusIs(StatusCode::kResourceExhausted, "too often"));
  EXPECT_EQ(base::RetryAfter(world.closed.at(session)), ca::kBetweenHellos);
  EXPECT_THAT(world.pushed[session], IsEmpty()) << "nothing was worked out for it";
  EXPECT_FALSE(world.closed.contains(last));
  EXPECT_EQ(world.core->connected_nodes(), 1u);

  world.Hello(++session, other);
  EXPECT_FALSE(world.closed.contains(session));
  world.now += ca::kBetweenHellos;
  world.Hello(++session, node);
  EXPECT_FALSE(world.closed.contains(session));
  EXPECT_TRUE(world.closed.contains(last));
  EXPECT_TRUE(world.at_once.contains(last)) << "the stream that took over says it all";
  EXPECT_FALSE(world.at_once.contains(session));
}

// A snapshot that no stream carries would never be sent: the write that would make it so is
// refused.
TEST(Sync, NothingIsRegisteredThatCouldNotBeSent) {
  CoreWorld world;
  const std::string full = world.Join("a"), other = world.Join("b");
  size_t made = 0;
  const auto large = [&](const std::string& node) {
    ca::v1::Identity identity;
    identity.set_spiffe_id(Id(absl::StrCat("/large/", ++made)));
    for (int i = 0; i < 32; ++i) {
      identity.add_selectors(absl::StrCat("unix:path:/", i, "/", std::string(2000, 'x')));
    }
    identity.add_node_ids(node);
    return world.Admin<ca::v1::Identity>(ca::CreateIdentity{identity});
  };
  absl::StatusOr<ca::v1::Identity> last;
  std::string one;
  for (last = large(full); last.ok() && made < 1000; last = large(full)) one = last->identity_id();
  EXPECT_THAT(last, StatusIs(StatusCode::kResourceExhausted, "no stream carries"));
  EXPECT_GT(made, 600u);
  size_t bytes = 0;
  world.Hello(1, full);
  for (const auto& message : world.pushed[1]) bytes += message.ByteSizeLong();
  EXPECT_GT(bytes, ca::kMaxSnapshotBytes - (size_t{1} << 20));
  EXPECT_LE(bytes, ca::kMaxSnapshotBytes + (size_t{1} << 20));

  EXPECT_OK(large(other)) << "what others hold is not counted";
  ca::v1::DeleteIdentityRequest deleted;
  deleted.set_identity_id(one);
  EXPECT_OK(world.Admin<ca::v1::Identity>(deleted));
  EXPECT_OK(large(full)) << "there is room again";
  EXPECT_THAT(large(full), StatusIs(StatusCode::kResourceExhausted));
}

TEST(Sync, GivesASnapshotFirstAndThenOnlyChanges) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK(world.Register("/web"));
  world.Hello(1, node);
  Held held;
  held.Take(world, 1);
  EXPECT_TRUE(held.saw_trust);
  EXPECT_THAT(held.last.projection.identities, SizeIs(1));
  const size_t before = world.pushed[1].size();
  ASSERT_OK(world.Register("/db"));
  ASSERT_THAT(world.pushed[1], SizeIs(before + 1));
  EXPECT_FALSE(world.pushed[1].back().reset());
  EXPECT_THAT(world.pushed[1].back().identities(), SizeIs(1));
  held.Take(world, 1);
  EXPECT_FALSE(held.saw_trust);
  EXPECT_EQ(held.last.projection.Digest(), world.core->registry().ProjectionFor(node).Digest());
}

TEST(Sync, SaysNothingBeforeTheCommitIsDurable) {
  CoreWorld world;
  world.Hello(1, world.Join("a"));
  const size_t before = world.pushed[1].size();
  world.hold_commits = true;
  ca::v1::Identity identity;
  identity.set_spiffe_id(Id("/web"));
  identity.add_selectors("unix:uid:1");
  identity.set_any_node(true);
  const ca::CallId call = world.Ask(ca::CreateIdentity{identity});
  EXPECT_EQ(world.ReplyOf(call), nullptr);
  EXPECT_THAT(world.pushed[1], SizeIs(before));
  EXPECT_THAT(world.core->registry().identities(), IsEmpty());
  world.CompleteAll();
  EXPECT_OK(world.Answer<ca::v1::Identity>(call));
  EXPECT_THAT(world.pushed[1], SizeIs(before + 1));
}

TEST(Sync, SendsANodeThatHoldsEverythingNothingAgain) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK(world.Register("/web"));
  world.Hello(1, node);
  Held held;
  held.Take(world, 1);
  world.Step(ca::event::NodeGone{1});
  world.Restart();
  world.Hello(2, node, HelloOf(held));
  ASSERT_THAT(world.pushed[2], SizeIs(1));
  const ca::v1::CaMessage& message = world.pushed[2][0];
  EXPECT_TRUE(message.complete());
  EXPECT_FALSE(message.reset() || message.has_trust() || message.identities_size() > 0);
}

TEST(Sync, ReplacesWhatANodeOfAnotherIncarnationHolds) {
  CoreWorld world;
  const std::string node = world.Join("a");
  world.Hello(1, node);
  Held held;
  held.Take(world, 1);
  ca::v1::Hello hello = HelloOf(held);
  hello.set_incarnation("another");
  world.Hello(2, node, hello);
  EXPECT_TRUE(world.pushed[2][0].reset());
  EXPECT_TRUE(world.pushed[2][0].has_trust());
}

// A copy of the store was put back, and has counted on to the node's epoch with other changes.
TEST(Sync, SendsTheTrustStateToANodeThatHoldsAnotherByThatNumber) {
  CoreWorld world;
  const std::string node = world.Join("a");
  world.Hello(1, node);
  Held held;
  held.Take(world, 1);
  ca::v1::Hello hello = HelloOf(held);
  world.Hello(2, node, hello);
  EXPECT_FALSE(world.pushed[2][0].has_trust());
  held.last.trust.add_revocations()->set_serial("\x01");
  hello = HelloOf(held);
  world.Hello(3, node, hello);
  EXPECT_TRUE(world.pushed[3][0].has_trust());
  hello.clear_trust_digest();
  world.Hello(4, node, hello);
  EXPECT_TRUE(world.pushed[4][0].has_trust()) << "it is not what came of what the CA offered";
}

TEST(Sync, IsBegunAnewForAllNodesWhenTheStoreIsSaidToBeAnothersLife) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK(world.Register("/web"));
  world.Hello(1, node);
  Held held;
  held.Take(world, 1);
  const std::string before = held.last.stamp.incarnation;
  ASSERT_OK_AND_ASSIGN(const auto restored,
                       world.Admin<ca::v1::RestoredStore>(ca::v1::DeclareRestoredRequest()));
  EXPECT_NE(restored.incarnation(), before);
  EXPECT_EQ(restored.trust_epoch(), 1u) << "numbers count on from the copy's";
  EXPECT_EQ(restored.connected_nodes(), 1u);
  held.Take(world, 1);
  EXPECT_TRUE(held.saw_trust);
  EXPECT_EQ(held.last.stamp.incarnation, restored.incarnation());
  EXPECT_THAT(held.last.projection.identities, SizeIs(1));
  ASSERT_OK(world.Register("/db"));
  held.Take(world, 1);
  EXPECT_THAT(held.last.projection.identities, SizeIs(2));
  world.Restart();
  EXPECT_EQ(world.core->registry().meta().incarnation(), restored.incarnation());
  EXPECT_EQ(world.Attest(world.Token("b"), world.node_key)->incarnation(), restored.incarnation());
}

TEST(Sync, ANodeThatKnowsMoreOfTheStoreThanThereIsIsNamedWithWhatToDo) {
  CoreWorld world;
  const std::string node = world.Join("a");
  world.Hello(1, node);
  Held held;
  held.Take(world, 1);
  EXPECT_THAT(world.core->Warnings(world.now), IsEmpty());
  ca::v1::Hello hello = HelloOf(held);
  hello.set_trust_epoch(6);
  world.notes.clear();
  world.Hello(2, node, hello);
  ASSERT_THAT(world.notes, SizeIs(1));
  EXPECT_THAT(world.notes[0].message, ::testing::HasSubstr("linchpin ca restored"));
  ASSERT_THAT(world.core->Warnings(world.now), SizeIs(1));
  EXPECT_THAT(world.core->Warnings(world.now)[0], ::testing::HasSubstr("linchpin ca restored"));
  hello = HelloOf(held);
  hello.set_revision(hello.revision() + 100);
  world.notes.clear();
  world.Hello(3, node, hello);
  EXPECT_THAT(world.notes, SizeIs(1));
}

TEST(Sync, EndsAnEarlierSessionOfTheSameNode) {
  CoreWorld world;
  const std::string node = world.Join("a");
  world.Hello(1, node);
  world.Hello(2, node);
  EXPECT_THAT(world.closed.at(1), StatusIs(StatusCode::kAborted));
  EXPECT_EQ(world.core->connected_nodes(), 1u);
  world.Step(ca::event::NodeGone{1});
  EXPECT_EQ(world.core->connected_nodes(), 1u);
}

TEST(Sync, ShowsANodeOnlyWhatConcernsIt) {
  CoreWorld world;
  const std::string a = world.Join("a"), b = world.Join("b");
  world.Hello(1, a);
  world.Hello(2, b);
  const size_t before = world.pushed[2].size();
  ASSERT_OK(world.Register("/web", {a}));
  ASSERT_OK(world.Admin<ca::v1::PolicyChange>(ca::AllowPeer{Rule("/web", "/db")}));
  EXPECT_THAT(world.pushed[2], SizeIs(before));
  Held held;
  held.Take(world, 1);
  EXPECT_THAT(held.last.projection.rules, SizeIs(1));
}

TEST(Sync, NamesTheChangeThatEachOneFollows) {
  CoreWorld world;
  const std::string a = world.Join("a");
  world.Hello(1, a);
  Held held;
  held.Take(world, 1);
  ASSERT_OK(world.Register("/web"));
  ASSERT_OK(world.Register("/db"));
  const std::vector<ca::v1::CaMessage> sent = world.pushed[1];
  ASSERT_GE(sent.size(), 2u);
  const ca::v1::CaMessage& first = sent[sent.size() - 2];
  const ca::v1::CaMessage& second = sent.back();
  EXPECT_EQ(first.base_revision(), held.last.stamp.revision);
  EXPECT_EQ(second.base_revision(), first.revision());
  // So a lost one is noticed.
  sync::Receiver receiver(held.last.projection, held.last.stamp);
  EXPECT_THAT(receiver.Add(second), StatusIs(StatusCode::kFailedPrecondition));

  // A node that comes back says where it stands.
  held.Take(world, 1);
  world.Step(ca::event::NodeGone{1});
  world.Hello(2, a, HelloOf(held));
  EXPECT_EQ(world.pushed[2].back().base_revision(), held.last.stamp.revision);
}

TEST(Sync, SharesTheMessagesOfNodesThatStandAtTheSameChange) {
  CoreWorld world;
  const std::string a = world.Join("a"), b = world.Join("b"), c = world.Join("c");
  world.Hello(1, a);
  world.Hello(2, b);
  world.Hello(3, c);
  ASSERT_OK(world.Register("/only-c", {c}));
  ASSERT_OK(world.Register("/web"));
  EXPECT_EQ(world.shared[1].back(), world.shared[2].back());
  EXPECT_NE(world.shared[1].back(), world.shared[3].back());
  Held held;
  held.Take(world, 3);
  EXPECT_EQ(held.last.projection.Digest(), world.core->registry().ProjectionFor(c).Digest());
}

// Rules come and go with the identity that makes them visible; compared with a fresh projection.
TEST(Sync, DifferencesAddUpToTheProjection) {
  CoreWorld world;
  const std::string a = world.Join("a"), b = world.Join("b");
  world.Hello(1, a);
  world.Hello(2, b);
  Held at_a, at_b;
  const auto check = [&] {
    at_a.Take(world, 1);
    at_b.Take(world, 2);
    EXPECT_EQ(at_a.last.projection.Digest(), world.core->registry().ProjectionFor(a).Digest());
    EXPECT_EQ(at_b.last.projection.Digest(), world.core->registry().ProjectionFor(b).Digest());
  };
  ASSERT_OK(world.Admin<ca::v1::PolicyChange>(ca::AllowPeer{Rule("/web", "/db")}));
  ASSERT_OK(world.Admin<ca::v1::PolicyChange>(ca::AllowPeer{Rule("/db", "/web")}));
  check();
  ASSERT_OK_AND_ASSIGN(auto web, world.Register("/web", {a}));
  check();
  ASSERT_OK_AND_ASSIGN(const auto db, world.Register("/db", {a, b}));
  check();
  web.clear_node_ids();
  web.add_node_ids(b);
  ASSERT_OK(world.Admin<ca::v1::Identity>(ca::UpdateIdentity{web}));
  check();
  ca::v1::DeleteIdentityRequest gone;
  gone.set_identity_id(db.identity_id());
  ASSERT_OK(world.Admin<ca::v1::Identity>(gone));
  check();
  ASSERT_OK(world.Admin<ca::v1::PolicyChange>(ca::DeletePolicy{Rule("/web", "/db")}));
  check();
  EXPECT_THAT(at_b.last.projection.rules, SizeIs(1));
  EXPECT_THAT(at_a.last.projection.rules, IsEmpty());
}

// Commits.

TEST(Commit, ThatMayHaveBeenAppliedIsLookedUp) {
  for (const bool applied : {true, false}) {
    CoreWorld world;
    world.Hello(1, world.Join("a"));
    world.commit_fault = absl::UnavailableError("the disk went away");
    world.fault_after_applying = applied;
    const auto answer = world.Register("/web");
    EXPECT_EQ(world.reloads, 1);
    if (applied) {
      EXPECT_OK(answer);
    } else {
      EXPECT_THAT(answer, StatusIs(StatusCode::kUnavailable, "nothing was stored"));
    }
    EXPECT_THAT(world.core->registry().identities(), SizeIs(applied ? 1 : 0));
    EXPECT_OK(world.Register("/other"));
    Held held;
    held.Take(world, 1);
    EXPECT_THAT(held.last.projection.identities, SizeIs(applied ? 2 : 1));
  }
}

TEST(Commit, IsAnsweredOnlyWhenTheReloadHasDecided) {
  CoreWorld world;
  world.commit_fault = absl::UnavailableError("the disk went away");
  world.fault_after_applying = true;
  world.reload_fault = absl::UnavailableError("still away");
  ca::v1::Identity identity;
  identity.set_spiffe_id(Id("/web"));
  identity.add_selectors("unix:uid:1");
  identity.set_any_node(true);
  const ca::CallId call = world.Ask(ca::CreateIdentity{identity});
  EXPECT_EQ(world.ReplyOf(call), nullptr);
  EXPECT_NE(world.core->NotReady(world.now), "");
  world.Step(ca::event::Tick{});
  EXPECT_OK(world.Answer<ca::v1::Identity>(call));
}

TEST(Commit, ThatFoundOthersAtWorkIsLookedUpToo) {
  CoreWorld world;
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  ASSERT_OK(world.store.Commit(
      {{.key = ca::IdentityKey(web.identity_id()), .value = std::nullopt, .expected = {}}}));
  ca::v1::DeleteIdentityRequest gone;
  gone.set_spiffe_id(Id("/web"));
  // Another process deleted it: the record of the change is that one's, so it was not done here.
  EXPECT_THAT(world.Admin<ca::v1::Identity>(gone),
              StatusIs(StatusCode::kAborted, "somebody else changed it"));
  EXPECT_THAT(world.Admin<ca::v1::Identity>(gone), StatusIs(StatusCode::kNotFound));
}

TEST(Commit, OfAFullDiskIsRefusedAndServiceGoesOn) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  world.commit_fault = absl::ResourceExhaustedError("the disk is full");
  EXPECT_THAT(world.Register("/db"), StatusIs(StatusCode::kResourceExhausted));
  EXPECT_EQ(world.reloads, 0);
  EXPECT_OK(world.Answer<ca::v1::IssueResponse>(world.AskIssue(node, web.identity_id())));
  EXPECT_OK(world.Register("/db"));
}

TEST(Commit, SeesTheChangesQueuedBeforeIt) {
  CoreWorld world;
  world.hold_commits = true;
  ca::v1::Identity identity;
  identity.set_spiffe_id(Id("/web"));
  identity.add_selectors("unix:uid:1");
  identity.set_any_node(true);
  const ca::CallId first = world.Ask(ca::CreateIdentity{identity});
  const ca::CallId second = world.Ask(ca::CreateIdentity{identity});
  EXPECT_THAT(world.held_commits, SizeIs(1));
  world.CompleteAll();
  EXPECT_OK(world.Answer<ca::v1::Identity>(first));
  EXPECT_THAT(world.Answer<ca::v1::Identity>(second), StatusIs(StatusCode::kAlreadyExists));
}

TEST(Coverage, CanBeReadWhateverANodeGivesAsItsReason) {
  CoreWorld world;
  const std::string node = world.Join("a");
  world.Hello(1, node);
  ca::v1::Ack ack;
  ack.set_refused("x");
  for (int i = 0; i < 2000; ++i) ack.mutable_refused()->append("\u00e9");
  world.Step(ca::event::NodeAck{1, ack});
  ASSERT_OK_AND_ASSIGN(const auto coverage,
                       world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest()));
  ca::v1::Coverage read;
  EXPECT_TRUE(read.ParseFromString(coverage.SerializeAsString())) << "it was cut within a letter";
  ASSERT_THAT(read.nodes(), SizeIs(1));
  EXPECT_THAT(read.nodes(0).refused(), SizeIs(ca::Coverage::kMaxText - 1));
}

TEST(Attest, AnswersOnlyAfterStoreAndLog) {
  CoreWorld world;
  const std::string token = world.Token("a");
  world.hold_commits = world.hold_issues = true;
  const size_t logged = world.log.size();
  EXPECT_THAT(world.Attest(token, world.node_key), StatusIs(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(world.held_commits, SizeIs(1));
  EXPECT_THAT(world.held_issues, IsEmpty());
  world.Complete(world.held_commits.front());
  world.held_commits.clear();
  ASSERT_THAT(world.held_issues, SizeIs(1));
  EXPECT_THAT(world.Answer<ca::v1::AttestResponse>(world.next_call - 1),
              StatusIs(StatusCode::kDeadlineExceeded));
  world.CompleteAll();
  EXPECT_OK(world.Answer<ca::v1::AttestResponse>(world.next_call - 1));
  EXPECT_THAT(world.log, SizeIs(logged + 1));
}

TEST(Draining, TellsEachNodeWhenToComeBackAndFinishesWhatIsUnderWay) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  world.Hello(1, node);
  world.hold_issues = true;
  const ca::CallId call = world.AskIssue(node, web.identity_id());
  world.Step(ca::event::Draining{});
  EXPECT_TRUE(world.pushed[1].back().has_goodbye());
  EXPECT_THAT(world.closed.at(1), StatusIs(StatusCode::kUnavailable));
  EXPECT_FALSE(world.core->idle());
  EXPECT_THAT(world.Register("/late"), StatusIs(StatusCode::kUnavailable));
  world.CompleteAll();
  EXPECT_OK(world.Answer<ca::v1::IssueResponse>(call));
  EXPECT_TRUE(world.core->idle());
}

}  // namespace
}  // namespace linchpin::test
