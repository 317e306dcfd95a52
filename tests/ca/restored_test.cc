// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A store that was put back from a copy: whom it takes although it does not know them, and how long
// its gates wait for what it cannot know.

#include "ca/core/restored.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/rotation_world.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;
using Request = ca::v1::RotateRequest;

constexpr absl::Duration kMinute = absl::Minutes(1);

x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }

// What a node is: its key, and the certificate that it has been given for it.
struct Holder {
  x509::PrivateKey key;
  ca::NodeCaller caller;
};

class RestoredStore : public ::testing::Test {
 protected:
  static Holder Holding(const x509::PrivateKey& key, const ca::v1::AttestResponse& answer) {
    return {key, {answer.node_id(), key.public_key().pin().bytes(), answer.chain(0)}};
  }
  Holder Join(const std::string& name) {
    const x509::PrivateKey key = NewKey();
    auto answer = world.Attest(world.Token(name), key);
    EXPECT_OK(answer);
    return Holding(key, *answer);
  }
  Holder Renewed(const Holder& holder) {
    world.now += kMinute;
    const x509::PrivateKey key = NewKey();
    auto answer = world.Renew(holder.caller, key);
    EXPECT_OK(answer);
    return Holding(key, *answer);
  }
  // As a CA does each second: the store knows what was issued.
  void Tick() {
    world.Step(ca::event::Tick{.log_entries = world.log.size(), .log_head = "the end"});
  }
  void Copy() {
    Tick();
    copy = *world.store.List("");
    log = world.log;
  }
  void PutBack() {
    std::vector<ca::Write> batch;
    const ca::Store::Listing present = *world.store.List("");
    for (const ca::Record& record : present.records) {
      batch.push_back({.key = record.key, .value = std::nullopt, .expected = std::nullopt});
    }
    EXPECT_OK(world.store.Commit(batch));
    batch.clear();
    for (const ca::Record& record : copy.records) {
      batch.push_back({.key = record.key, .value = record.value, .expected = std::nullopt});
    }
    EXPECT_OK(world.store.Commit(batch));
    world.log = log;
    world.now += kMinute;
    world.Restart();
  }
  ca::v1::RestoredStore Declare(bool take) {
    ca::v1::DeclareRestoredRequest request;
    request.set_take_renewed_nodes(take);
    auto answer = world.Admin<ca::v1::RestoredStore>(request);
    EXPECT_OK(answer);
    return *answer;
  }
  // How the CA ends a stream that this caller begins; OK: it does not.
  absl::Status Stream(const ca::NodeCaller& caller) {
    const ca::SessionId session = ++sessions;
    world.Step(ca::event::NodeHello{session, caller, {}});
    const auto closed = world.closed.find(session);
    return closed == world.closed.end() ? absl::OkStatus() : closed->second;
  }
  absl::Status TakenAndStreaming(const Holder& holder) {
    const absl::Status first = Stream(holder.caller);
    return absl::IsUnavailable(first) ? Stream(holder.caller) : first;
  }

  absl::StatusOr<ca::v1::AttestResponse> AttestWith(const Holder& holder) {
    const ca::CallId call = world.next_call++;
    world.Step(ca::event::AttestAsked{
        call, CoreWorld::Request(holder.key),
        ca::ExpiredCertificateEvidence{*x509::Certificate::FromDer(holder.caller.leaf)}});
    return world.Answer<ca::v1::AttestResponse>(call);
  }
  void IsPutOut(const Holder& holder) {
    EXPECT_THAT(TakenAndStreaming(holder), StatusIs(StatusCode::kPermissionDenied));
    EXPECT_THAT(world.Renew(holder.caller, NewKey()), StatusIs(StatusCode::kPermissionDenied));
    EXPECT_THAT(AttestWith(holder), StatusIs(StatusCode::kPermissionDenied));
  }

  CoreWorld world;
  ca::Store::Listing copy;
  std::vector<ca::v1::LogEntry> log;
  ca::SessionId sessions = 100;
};

TEST_F(RestoredStore, RefusesANodeThatRenewedSinceAndTakesItWhereAnOperatorWantsIt) {
  const Holder before = Join("a");
  Copy();
  const Holder now = Renewed(before);
  PutBack();
  EXPECT_THAT(Stream(now.caller), StatusIs(StatusCode::kPermissionDenied, "another key"));
  Declare(false);
  EXPECT_THAT(Stream(now.caller),
              StatusIs(StatusCode::kPermissionDenied, "ca restored --take-renewed-nodes"));
  Declare(true);
  world.notes.clear();
  EXPECT_THAT(Stream(now.caller), StatusIs(StatusCode::kUnavailable, "ask again"));
  EXPECT_OK(Stream(now.caller));
  ASSERT_FALSE(world.notes.empty());
  EXPECT_THAT(world.notes[0].message, HasSubstr("was taken by a certificate"));
  EXPECT_THAT(Stream(before.caller), StatusIs(StatusCode::kPermissionDenied, "another key"))
      << "of the key that it had before";
  EXPECT_OK(Stream(Renewed(now).caller));
  // Who was taken is among the changes.
  bool told = false;
  const ca::Store::Listing changes = *world.store.List(ca::kChangePrefix);
  for (const ca::Record& record : changes.records) {
    told = told || absl::StrContains(record.value, "take");
  }
  EXPECT_TRUE(told);
}

TEST_F(RestoredStore, TakesANodeThatJoinedSinceButNoneThatWasBannedOrForgotten) {
  const Holder banned = Join("banned"), forgotten = Join("forgotten"), again = Join("again");
  const Holder banned_later = Renewed(banned), forgotten_later = Renewed(forgotten);
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::BanNode{"banned"}));
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::ForgetNode{"forgotten"}));
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::ForgetNode{"again"}));
  world.now += absl::Minutes(2);
  world.Step(ca::event::Tick{});
  Copy();
  const Holder joined = Join("joined"), of_cluster = Join("k8s.prod.node-1");
  PutBack();
  EXPECT_THAT(Stream(joined.caller), StatusIs(StatusCode::kPermissionDenied, "is not known"));
  Declare(true);
  EXPECT_OK(TakenAndStreaming(joined));
  for (const Holder* holder : {&banned, &banned_later}) {
    EXPECT_THAT(TakenAndStreaming(*holder), StatusIs(StatusCode::kPermissionDenied, "banned"));
  }
  for (const Holder* holder : {&forgotten, &forgotten_later, &of_cluster}) {
    EXPECT_THAT(TakenAndStreaming(*holder), StatusIs(StatusCode::kPermissionDenied));
  }
  // An invitation changes nothing about the certificates of the one before.
  const std::string token = world.Token("again");
  EXPECT_THAT(TakenAndStreaming(again), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_OK(world.Attest(token, NewKey()));
  EXPECT_THAT(TakenAndStreaming(again), StatusIs(StatusCode::kPermissionDenied));
}

TEST_F(RestoredStore, TakesTheLastOfSeveralKeysAndNoneThatWasSupersededHere) {
  const Holder first = Join("a");
  Copy();
  const Holder second = Renewed(first), third = Renewed(second);
  PutBack();
  Declare(true);
  EXPECT_OK(TakenAndStreaming(second)) << "a thief who was faster";
  EXPECT_OK(TakenAndStreaming(third)) << "is put out by whoever has the later one";
  EXPECT_THAT(TakenAndStreaming(second), StatusIs(StatusCode::kPermissionDenied));
  const Holder fourth = Renewed(third);
  EXPECT_OK(TakenAndStreaming(fourth));
  EXPECT_THAT(TakenAndStreaming(second), StatusIs(StatusCode::kPermissionDenied));
}

// Who took first renews at once: that certificate is later than any, and worth what it came of.
TEST_F(RestoredStore, TakesTheLaterOfTwoKeysWhateverTheEarlierWasGivenHere) {
  const Holder first = Join("a");
  Copy();
  const Holder stolen = Renewed(first), present = Renewed(stolen);
  PutBack();
  Declare(true);
  ASSERT_OK(TakenAndStreaming(stolen));
  const Holder renewed = Renewed(stolen);
  ASSERT_OK_AND_ASSIGN(const auto answer, AttestWith(renewed));
  const Holder again = Renewed(Holding(renewed.key, answer));
  EXPECT_OK(TakenAndStreaming(present));
  for (const Holder* holder : {&first, &stolen, &renewed, &again}) IsPutOut(*holder);
  EXPECT_OK(Stream(present.caller));
  const Holder own = Renewed(present);
  for (const Holder* holder : {&stolen, &again}) IsPutOut(*holder);
  Declare(true);
  for (const Holder* holder : {&stolen, &again}) IsPutOut(*holder);
  Tick();
  for (int i = 0; i < 20; ++i) {
    world.now += kMinute;
    world.Restart();
    Declare(true);
  }
  for (const Holder* holder : {&stolen, &again}) IsPutOut(*holder);
  EXPECT_OK(Stream(own.caller));
}

TEST_F(RestoredStore, TakesWhatWasIssuedSinceACopyOfAStoreThatHadBeenPutBackItself) {
  const Holder first = Join("a"), other = Join("b");
  Copy();
  const Holder stolen = Renewed(other), second = Renewed(first), present = Renewed(stolen);
  PutBack();
  Declare(true);
  ASSERT_OK(TakenAndStreaming(stolen));
  const Holder of_thief = Renewed(stolen);
  ASSERT_OK(TakenAndStreaming(second));
  const Holder third = Renewed(second);
  world.now += kMinute;
  Copy();
  const Holder fourth = Renewed(third);
  PutBack();
  world.now += kMinute;
  world.Restart();  // before the word
  Declare(true);
  EXPECT_OK(TakenAndStreaming(fourth));
  EXPECT_OK(Stream(Renewed(fourth).caller));
  EXPECT_OK(TakenAndStreaming(present));
  for (const Holder* holder : {&first, &second, &third, &stolen, &of_thief}) IsPutOut(*holder);
}

TEST_F(RestoredStore, TakesTheLaterOfTwoKeysWhereTheEarlierAttestedOrRenewedBeforeTheWord) {
  const Holder known = Join("a"), other = Join("b");
  Copy();
  const Holder present = Renewed(known), stolen = Renewed(other), other_present = Renewed(stolen);
  PutBack();
  const Holder renewed = Renewed(known);
  Declare(false);
  const Holder again = Renewed(renewed);
  Declare(true);
  EXPECT_OK(TakenAndStreaming(present));
  for (const Holder* holder : {&known, &renewed, &again}) IsPutOut(*holder);
  ASSERT_OK_AND_ASSIGN(const auto answer, AttestWith(stolen));
  ASSERT_OK_AND_ASSIGN(const auto own, AttestWith(other_present));
  for (const Holder& holder : {stolen, Holding(stolen.key, answer)}) IsPutOut(holder);
  EXPECT_OK(Stream(Holding(other_present.key, own).caller));
}

TEST_F(RestoredStore, TakesNoEarlierKeyWhenTheNodeHasAttestedWithAToken) {
  const Holder first = Join("a");
  Copy();
  const Holder stolen = Renewed(first), later = Renewed(stolen);
  PutBack();
  Declare(true);
  ASSERT_OK(TakenAndStreaming(stolen));
  Renewed(stolen);
  const Holder attested = Join("a");
  const Holder renewed = Renewed(attested);
  for (const Holder* holder : {&stolen, &later}) IsPutOut(*holder);
  EXPECT_OK(Stream(renewed.caller));
}

// A copy of this very life, put back after it is over.
TEST_F(RestoredStore, TakesWhatWasIssuedInAnEarlierLifeThatIsOver) {
  const Holder first = Join("a");
  Copy();
  PutBack();
  Declare(true);
  const Holder second = Renewed(first);
  world.now += 3 * world.options.profile.node_ttl;
  const Holder third = Join("a"), given_up = Renewed(third);
  const Holder copied = Renewed(given_up);
  Copy();
  const Holder present = Renewed(copied);
  PutBack();
  Declare(true);
  for (const Holder* holder : {&second, &third}) IsPutOut(*holder);
  EXPECT_OK(TakenAndStreaming(present));
  for (const Holder* holder : {&given_up, &copied}) IsPutOut(*holder);
}

TEST_F(RestoredStore, BansANodeThatItDoesNotKnow) {
  Copy();
  const Holder later = Join("later"), banned_before = Join("before");
  PutBack();
  EXPECT_THAT(world.Admin<ca::v1::Node>(ca::BanNode{"later"}), StatusIs(StatusCode::kNotFound));
  Declare(false);
  ASSERT_OK_AND_ASSIGN(const auto node, world.Admin<ca::v1::Node>(ca::BanNode{"before"}));
  EXPECT_EQ(node.state(), "banned");
  Declare(true);
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::BanNode{later.caller.node_id}));
  for (const Holder* holder : {&later, &banned_before}) {
    EXPECT_THAT(TakenAndStreaming(*holder), StatusIs(StatusCode::kPermissionDenied, "is banned"));
    IsPutOut(*holder);
  }
  for (const std::string& name :
       {Id("/web"), Id("/linchpin/node/a/b"), std::string("spiffe://other.org/linchpin/node/a"),
        std::string("a b"), std::string("spiffe://")}) {
    EXPECT_FALSE(world.Admin<ca::v1::Node>(ca::BanNode{name}).ok()) << name;
  }
  world.now += world.options.profile.node_ttl + absl::Seconds(2);
  EXPECT_THAT(world.Admin<ca::v1::Node>(ca::BanNode{"nobody"}), StatusIs(StatusCode::kNotFound));
}

// By the copy's record the certificate has expired; the node had another by then.
TEST_F(RestoredStore, TakesNoNodeThatItForgotSinceItWasPutBack) {
  Holder after = Join("after"), before = Join("before"), alive = Join("alive");
  Copy();
  world.now += world.options.profile.node_ttl - 2 * kMinute;
  after = Renewed(after), before = Renewed(before), alive = Renewed(alive);
  PutBack();
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::ForgetNode{"before"}));
  Declare(true);
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::ForgetNode{"after"}));
  world.now += absl::Minutes(2);
  world.Step(ca::event::Tick{});
  for (const Holder* holder : {&after, &before}) IsPutOut(*holder);
  EXPECT_OK(TakenAndStreaming(alive));
}

TEST_F(RestoredStore, TakesAFewAtATimeAndAsksTheOthersToComeAgain) {
  Copy();
  std::vector<Holder> holders;
  for (int i = 0; i < 70; ++i) holders.push_back(Join(absl::StrCat("node-", i)));
  PutBack();
  Declare(true);
  world.hold_commits = true;
  for (const Holder& holder : holders) {
    for (int i = 0; i < 3; ++i) {
      EXPECT_THAT(Stream(holder.caller), StatusIs(StatusCode::kUnavailable, "ask again"));
    }
  }
  int changes = 0;
  while (!world.held_commits.empty()) {
    ++changes;
    const ca::action::Commit commit = world.held_commits.front();
    world.held_commits.pop_front();
    if (changes == 1) world.commit_fault = absl::ResourceExhaustedError("the disk is full");
    world.Complete(commit);
  }
  EXPECT_EQ(changes, 64);
  world.hold_commits = false;
  for (const Holder& holder : holders) EXPECT_OK(TakenAndStreaming(holder));
}

TEST_F(RestoredStore, SaysThatTheFlagHelpsOnlyWhereItDoes) {
  const Holder renews = Join("renews"), banned = Join("banned"), forgotten = Join("forgotten");
  Copy();
  const Holder renewed = Renewed(renews), joined = Join("joined"), cluster = Join("k8s.prod.n1");
  PutBack();
  Declare(false);
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::BanNode{"banned"}));
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::ForgetNode{"forgotten"}));
  for (const Holder* holder : {&renewed, &joined}) {
    EXPECT_THAT(Stream(holder->caller),
                StatusIs(StatusCode::kPermissionDenied, "--take-renewed-nodes"));
  }
  for (const Holder* holder : {&banned, &forgotten, &cluster}) {
    EXPECT_THAT(Stream(holder->caller),
                StatusIs(StatusCode::kPermissionDenied, Not(HasSubstr("--take-renewed-nodes"))));
  }
}

TEST_F(RestoredStore, TakesANodeThatAttestsWithWhatItHas) {
  const Holder before = Join("a");
  Copy();
  const Holder now = Renewed(before), joined = Join("b");
  PutBack();
  EXPECT_THAT(AttestWith(now), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(AttestWith(joined), StatusIs(StatusCode::kPermissionDenied));
  Declare(true);
  for (const Holder* holder : {&now, &joined}) {
    ASSERT_OK_AND_ASSIGN(const auto answer, AttestWith(*holder));
    EXPECT_OK(Stream(Holding(holder->key, answer).caller));
  }
}

TEST_F(RestoredStore, TakesNobodyWhenTheTimeIsOverOrTheCertificateIsNoGood) {
  const Holder before = Join("a"), other = Join("b");
  Copy();
  const Holder now = Renewed(before), other_now = Renewed(other);
  PutBack();
  Declare(true);
  ca::v1::RevokeRequest revoke;
  revoke.set_spiffe_id(other_now.caller.node_id);
  ASSERT_OK(world.Admin<ca::v1::Revoked>(revoke));
  EXPECT_THAT(TakenAndStreaming(other_now), StatusIs(StatusCode::kPermissionDenied));
  ca::NodeCaller bad = now.caller;
  bad.leaf[bad.leaf.size() - 10] ^= 1;
  EXPECT_THAT(Stream(bad), StatusIs(StatusCode::kPermissionDenied));
  Declare(false);
  EXPECT_THAT(TakenAndStreaming(now), StatusIs(StatusCode::kPermissionDenied)) << "taken back";
  Declare(true);
  world.now += world.options.profile.node_ttl + absl::Seconds(2);
  EXPECT_THAT(TakenAndStreaming(now), StatusIs(StatusCode::kPermissionDenied));
}

TEST_F(RestoredStore, SaysWhatToRevokeInsteadOfWhatItDoesNotKnow) {
  ca::v1::RevokeRequest revoke;
  revoke.set_serial("\x01\x02\x03");
  EXPECT_THAT(world.Admin<ca::v1::Revoked>(revoke),
              StatusIs(StatusCode::kNotFound, Not(HasSubstr("since the copy"))));
  Declare(false);
  EXPECT_THAT(world.Admin<ca::v1::Revoked>(revoke),
              StatusIs(StatusCode::kNotFound, "linchpin revoke --id"));
}

class GatesOfARestoredStore : public ::testing::Test {
 protected:
  void Declare() {
    ASSERT_OK_AND_ASSIGN(const auto answer,
                         world.Admin<ca::v1::RestoredStore>(ca::v1::DeclareRestoredRequest()));
    until = absl::FromUnixSeconds(answer.unknown_until());
    world.Acknowledge();
  }
  ca::v1::Coverage Coverage() { return *world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest()); }

  RotationWorld world;
  absl::Time until;
};

TEST_F(GatesOfARestoredStore, WaitForWhoMayHaveRenewedUntilThatHasExpired) {
  world.Sleep(world.nodes[0]);
  ca::v1::RevokeRequest revoke;
  revoke.set_spiffe_id(Id("/somebody"));
  ASSERT_OK(world.Admin<ca::v1::Revoked>(revoke));
  world.now += absl::Hours(30);
  world.Acknowledge();
  EXPECT_TRUE(Coverage().complete()) << "by its record nothing of it is valid";
  Declare();
  EXPECT_FALSE(Coverage().complete()) << "but the copy may be an old one";
  EXPECT_EQ(Coverage().unknown_until(), absl::ToUnixSeconds(until));
  world.CrashAndRestart();
  EXPECT_FALSE(Coverage().complete());
  world.now = until - absl::Seconds(1);
  EXPECT_FALSE(Coverage().complete());
  world.now = until + absl::Seconds(1);
  EXPECT_TRUE(Coverage().complete());
  EXPECT_EQ(Coverage().unknown_until(), 0);
}

TEST_F(GatesOfARestoredStore, WaitForTheLongestThatIsIssuedHere) {
  ASSERT_OK_AND_ASSIGN(ca::v1::Identity identity, world.Register("/web"));
  identity.set_ttl_seconds(48 * 3600);
  ASSERT_OK(world.Admin<ca::v1::Identity>(ca::UpdateIdentity{identity}));
  Declare();
  EXPECT_GE(until, world.now + absl::Hours(48));
}

TEST_F(GatesOfARestoredStore, WaitForNodesThatTheCopyDoesNotKnowUnlessTheyAreExcepted) {
  Declare();
  ASSERT_OK(world.Rotate(Request::PREPARE));
  ASSERT_OK(world.Rotate(Request::DISTRIBUTE));
  EXPECT_THAT(world.Status().waits_for(), HasSubstr("put back from a copy"));
  EXPECT_THAT(world.Rotate(Request::ACTIVATE),
              StatusIs(StatusCode::kFailedPrecondition, "--except @unknown"));
  ASSERT_OK(world.Rotate(Request::ACTIVATE, {"@unknown"}));
  EXPECT_THAT(world.Status().except(), ::testing::Contains("@unknown"));
  Declare();
  EXPECT_TRUE(world.Status().except().empty()) << "others may be unknown now";
}

TEST_F(GatesOfARestoredStore, OpenByThemselvesWhenAllOfThatHasExpired) {
  Declare();
  ASSERT_OK(world.Rotate(Request::PREPARE));
  ASSERT_OK(world.Rotate(Request::DISTRIBUTE));
  world.now = until + absl::Seconds(1);
  ASSERT_OK(world.Rotate(Request::ACTIVATE));
}

// The copy's log shows nothing of what the old issuer certified last.
TEST_F(GatesOfARestoredStore, DrainOnlyWhenWhatTheCopyDoesNotKnowHasExpired) {
  ASSERT_OK(world.Rotate(Request::PREPARE));
  ASSERT_OK(world.Rotate(Request::DISTRIBUTE));
  ASSERT_OK(world.Rotate(Request::ACTIVATE));
  world.log.clear();
  world.ExpireEverything();
  world.CrashAndRestart();
  Declare();
  EXPECT_THAT(world.Status().waits_for(), HasSubstr("put back from a copy"));
  EXPECT_THAT(world.Rotate(Request::DRAIN),
              StatusIs(StatusCode::kFailedPrecondition, "put back from a copy"));
  world.now = until + absl::Seconds(1);
  EXPECT_OK(world.Rotate(Request::DRAIN));
}

}  // namespace
}  // namespace linchpin::test
