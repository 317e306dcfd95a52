// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A store that was put back from a copy: whom it takes although it does not know them, and how long
// its gates wait for what it cannot know.

#include "ca/core/restored.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
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
  void Copy() {
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

TEST_F(RestoredStore, TakesANodeThatAttestsWithWhatItHas) {
  const Holder before = Join("a");
  Copy();
  const Holder now = Renewed(before), joined = Join("b");
  PutBack();
  const auto attest = [&](const Holder& holder) {
    const ca::CallId call = world.next_call++;
    world.Step(ca::event::AttestAsked{
        call, CoreWorld::Request(holder.key),
        ca::ExpiredCertificateEvidence{*x509::Certificate::FromDer(holder.caller.leaf)}});
    return world.Answer<ca::v1::AttestResponse>(call);
  };
  EXPECT_THAT(attest(now), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(attest(joined), StatusIs(StatusCode::kPermissionDenied));
  Declare(true);
  for (const Holder* holder : {&now, &joined}) {
    ASSERT_OK_AND_ASSIGN(const auto answer, attest(*holder));
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
