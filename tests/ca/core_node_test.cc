// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which key speaks for a node, and what one node may take from the others.

#include "base/retry_after.h"
#include "ca/core/ca_core.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::IsEmpty;
using ::testing::SizeIs;

x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }

StatusCode IssueWith(CoreWorld& world, const ca::NodeCaller& caller, const std::string& identity) {
  const ca::CallId call = world.next_call++;
  world.Step(
      ca::event::IssueAsked{call, caller, {{identity, CoreWorld::RequestDer(world.node_key)}}});
  return world.Answer<ca::v1::IssueResponse>(call).status().code();
}

TEST(NodeKey, OfAnEarlierAttestationIsRefusedEverything) {
  CoreWorld world;
  const std::string old_token = world.Token("a");
  ASSERT_OK_AND_ASSIGN(const auto old, world.Attest(old_token, world.node_key));
  const std::string node = old.node_id();
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  const ca::NodeCaller before = world.Caller(node);
  world.Hello(1, node);
  const x509::PrivateKey key = NewKey();
  ASSERT_OK(world.Attest(world.Token("a"), key));

  EXPECT_THAT(world.closed.at(1), StatusIs(StatusCode::kPermissionDenied, "another key"));
  world.Hello(2, node);
  EXPECT_THAT(world.closed.at(2), StatusIs(StatusCode::kPermissionDenied, "another key"));
  EXPECT_EQ(IssueWith(world, before, web.identity_id()), StatusCode::kPermissionDenied);
  EXPECT_THAT(world.Renew(before, NewKey()),
              StatusIs(StatusCode::kPermissionDenied, "another key"));
  // Nor does the token that it once redeemed bring it back.
  EXPECT_THAT(world.Attest(old_token, world.node_key),
              StatusIs(StatusCode::kPermissionDenied, "another key"));
  EXPECT_EQ(IssueWith(world, CoreWorld::Caller(node, key), web.identity_id()), StatusCode::kOk);
}

TEST(NodeKey, OfAForgottenNodeIsNothingToANewOneOfItsName) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::ForgetNode{"a"}));
  const std::string token = world.Token("a");
  EXPECT_EQ(IssueWith(world, world.Caller(node), web.identity_id()), StatusCode::kPermissionDenied);
  ASSERT_OK(world.Attest(token, NewKey()));
  EXPECT_EQ(IssueWith(world, world.Caller(node), web.identity_id()), StatusCode::kPermissionDenied);
}

TEST(NodeKey, StaysGoodHoweverManyAnswersToRenewalsAreLost) {
  CoreWorld world;
  const std::string node = world.Join("a");
  const ca::NodeCaller held = world.Caller(node);
  const x509::PrivateKey second = NewKey(), third = NewKey();
  ASSERT_OK(world.Renew(held, second));
  ASSERT_OK(world.Renew(held, third));
  ASSERT_OK(world.Renew(CoreWorld::Caller(node, third), third));
  world.Hello(1, node);
  EXPECT_THAT(world.closed, IsEmpty());
  // Never received, so never held.
  EXPECT_THAT(world.Renew(CoreWorld::Caller(node, second), second),
              StatusIs(StatusCode::kPermissionDenied, "another key"));
}

TEST(NodeKey, OfTwoRenewalsAgoIsRefusedAndItsStreamEnds) {
  CoreWorld world;
  const std::string token = world.Token("a");
  ASSERT_OK_AND_ASSIGN(const auto attested, world.Attest(token, world.node_key));
  const std::string node = attested.node_id();
  const x509::PrivateKey second = NewKey(), third = NewKey();
  world.Hello(1, node);
  ASSERT_OK(world.Renew(world.Caller(node), second));
  EXPECT_THAT(world.closed, IsEmpty());
  ASSERT_OK(world.Renew(CoreWorld::Caller(node, second), third));
  EXPECT_THAT(world.closed.at(1), StatusIs(StatusCode::kPermissionDenied, "another key"));
  EXPECT_THAT(world.Attest(token, world.node_key), StatusIs(StatusCode::kPermissionDenied));
  ASSERT_OK(world.Renew(CoreWorld::Caller(node, second), second));
}

TEST(NodeKey, ThatAttestsAgainLeavesTheRenewedOneGood) {
  CoreWorld world;
  const std::string token = world.Token("a");
  ASSERT_OK_AND_ASSIGN(const auto attested, world.Attest(token, world.node_key));
  const ca::NodeCaller first = world.Caller(attested.node_id());
  const x509::PrivateKey second = NewKey();
  ASSERT_OK(world.Renew(first, second));
  ASSERT_OK(world.Attest(token, world.node_key));
  EXPECT_OK(world.Renew(CoreWorld::Caller(attested.node_id(), second), second));
}

TEST(Ban, IsNotFollowedByACertificateThatWasUnderWay) {
  CoreWorld world;
  const std::string node = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  world.hold_issues = true;
  const ca::CallId issue = world.AskIssue(node, web.identity_id());
  EXPECT_THAT(world.Renew(world.Caller(node), world.node_key),
              StatusIs(StatusCode::kDeadlineExceeded));
  const ca::CallId renew = world.next_call - 1;
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::BanNode{node}));
  world.CompleteAll();
  EXPECT_THAT(world.Answer<ca::v1::IssueResponse>(issue),
              StatusIs(StatusCode::kPermissionDenied, "banned"));
  EXPECT_THAT(world.Answer<ca::v1::AttestResponse>(renew),
              StatusIs(StatusCode::kPermissionDenied, "banned"));
}

// Fairness.

TEST(Fairness, OneNodeHasSoManyCallsUnderWay) {
  CoreWorld world;
  const std::string a = world.Join("a"), b = world.Join("b");
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  world.hold_issues = world.hold_commits = true;
  for (size_t i = 0; i < ca::CaCore::kMaxChangesOfNode; ++i) {
    world.Renew(world.Caller(a), world.node_key).IgnoreError();
  }
  EXPECT_THAT(world.Renew(world.Caller(a), world.node_key),
              StatusIs(StatusCode::kResourceExhausted, a));
  const ca::CallId other = world.AskIssue(b, web.identity_id());
  world.hold_issues = world.hold_commits = false;
  world.CompleteAll();
  EXPECT_OK(world.Answer<ca::v1::IssueResponse>(other));
  EXPECT_OK(world.Answer<ca::v1::IssueResponse>(world.AskIssue(a, web.identity_id())));
}

ca::CallId AskMany(CoreWorld& world, const std::string& node, const std::string& identity,
                   size_t count) {
  const ca::CallId call = world.next_call++;
  ca::event::IssueAsked asked{call, world.Caller(node), {}};
  asked.items.resize(count, {identity, CoreWorld::RequestDer(world.node_key)});
  world.Step(std::move(asked));
  return call;
}

TEST(Fairness, ANodeThatFloodsIsToldWhenToComeAgainAndDelaysNobody) {
  CoreWorld world;
  const std::string a = world.Join("a"), b = world.Join("b");
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  world.hold_issues = true;
  std::vector<ca::CallId> flood;
  for (int i = 0; i < 100; ++i) flood.push_back(AskMany(world, a, web.identity_id(), 64));
  size_t refused = 0;
  for (const ca::CallId call : flood) {
    if (world.ReplyOf(call) == nullptr) continue;
    ++refused;
    EXPECT_THAT(world.ReplyOf(call)->status, StatusIs(StatusCode::kResourceExhausted, a));
    EXPECT_GT(base::RetryAfter(world.ReplyOf(call)->status), absl::Milliseconds(100));
  }
  constexpr size_t kBegun = ca::IssueQueue::kMaxUnderWay / 64;
  EXPECT_EQ(refused, 100 - kBegun - ca::IssueQueue::kMaxCallsOfNode);
  EXPECT_THAT(world.held_issues, SizeIs(kBegun)) << "no more is under way";

  const ca::CallId other = world.AskIssue(b, web.identity_id());
  for (size_t i = 0; world.ReplyOf(other) == nullptr && i <= kBegun; ++i) {
    const ca::action::SignAndLog order = world.held_issues.front();
    world.held_issues.pop_front();
    world.Complete(order);
  }
  EXPECT_OK(world.Answer<ca::v1::IssueResponse>(other)) << "after what was begun before it";
  EXPECT_FALSE(world.core->idle());
  world.CompleteAll();
  for (const ca::CallId call : flood) EXPECT_NE(world.ReplyOf(call), nullptr);
  EXPECT_TRUE(world.core->idle());
}

TEST(Fairness, WhatWaitedIsDecidedAsThingsAreWhenItsTurnComes) {
  CoreWorld world;
  const std::string a = world.Join("a");
  ASSERT_OK_AND_ASSIGN(const auto web, world.Register("/web"));
  world.hold_issues = true;
  AskMany(world, a, web.identity_id(), 256);
  AskMany(world, a, web.identity_id(), 256);
  const ca::CallId waits = world.AskIssue(a, web.identity_id());
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::BanNode{a}));
  world.CompleteAll();
  EXPECT_THAT(world.Answer<ca::v1::IssueResponse>(waits),
              StatusIs(StatusCode::kPermissionDenied, "banned"));
}

TEST(Fairness, StrangersDoNotWaitInTheQueue) {
  CoreWorld world;
  world.hold_commits = true;
  ca::v1::CreateJoinTokenRequest asked;
  world.Ask(asked);
  ASSERT_THAT(world.held_commits, SizeIs(1));
  EXPECT_THAT(world.Attest("lpt_guess", world.node_key),
              StatusIs(StatusCode::kPermissionDenied, "not known"));
}

}  // namespace
}  // namespace linchpin::test
