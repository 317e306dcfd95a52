// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators revoke, until when, and that nothing is backdated across it.

#include "trust/revocation.h"

#include "absl/strings/str_cat.h"
#include "ca/core/admin.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class Revoking : public ::testing::Test {
 protected:
  Revoking() {
    node = world.Join("a");
    identity = world.Register("/web")->identity_id();
  }
  x509::Certificate Issue() {
    const auto issued = world.Answer<ca::v1::IssueResponse>(world.AskIssue(node, identity));
    EXPECT_OK(issued);
    EXPECT_THAT(issued->results(0).chain(), SizeIs(2)) << issued->results(0).message();
    return *x509::Certificate::FromDer(issued->results(0).chain(0));
  }
  absl::StatusOr<ca::v1::Revoked> RevokeId(int64_t before = 0) {
    ca::v1::RevokeRequest asked;
    asked.set_spiffe_id(Id("/web"));
    asked.set_before(before);
    asked.set_reason("lost");
    return world.Admin<ca::v1::Revoked>(asked);
  }
  absl::StatusOr<ca::v1::Revoked> RevokeKey(const std::string& pin) {
    ca::v1::RevokeRequest asked;
    asked.set_key_sha256(pin);
    return world.Admin<ca::v1::Revoked>(asked);
  }
  absl::StatusOr<ca::v1::Revoked> RevokeSerial(const std::string& serial) {
    ca::v1::RevokeRequest asked;
    asked.set_serial(serial);
    return world.Admin<ca::v1::Revoked>(asked);
  }
  absl::StatusOr<ca::v1::Revoked> RevokeNode(const std::string& name) {
    ca::v1::RevokeRequest asked;
    asked.set_node_id(name);
    return world.Admin<ca::v1::Revoked>(asked);
  }
  std::optional<std::string> Denied(const x509::Certificate& leaf) {
    return world.trusts.back()->revocations().Denies(
        *trust::SpiffeId::Parse(leaf.fields().uri_sans[0]), {leaf});
  }
  uint64_t epoch() const { return world.core->registry().trust().record.epoch(); }
  void Pass(absl::Duration time) {
    world.now += time;
    world.Step(ca::event::Tick{});
  }

  CoreWorld world;
  std::string node;
  std::string identity;
};

TEST_F(Revoking, AnIdDeniesWhatWasIssuedAndNotWhatIsIssuedNext) {
  world.Hello(1, node);
  const x509::Certificate before = Issue();
  EXPECT_EQ(Denied(before), std::nullopt);
  ASSERT_OK_AND_ASSIGN(const auto revoked, RevokeId());
  EXPECT_EQ(revoked.trust_epoch(), 2u);
  EXPECT_EQ(revoked.entries(), 1u);
  ASSERT_TRUE(world.pushed[1].back().has_trust());
  EXPECT_THAT(world.pushed[1].back().trust().revocations(), SizeIs(1));
  EXPECT_THAT(Denied(before).value_or(""), HasSubstr("lost"));
  const x509::Certificate next = Issue();
  EXPECT_EQ(next.fields().not_before, world.now + absl::Seconds(1)) << "not backdated";
  EXPECT_EQ(Denied(next), std::nullopt);
  world.now += absl::Hours(1);
  EXPECT_EQ(Issue().fields().not_before, world.now - world.options.profile.backdate);
}

TEST_F(Revoking, AnIdDeniesWhatWasOnItsWayMeanwhile) {
  world.hold_issues = true;
  const ca::CallId call = world.AskIssue(node, identity);
  ASSERT_OK_AND_ASSIGN(const auto revoked, RevokeId());
  world.CompleteAll();
  ASSERT_OK_AND_ASSIGN(const auto issued, world.Answer<ca::v1::IssueResponse>(call));
  const auto late = *x509::Certificate::FromDer(issued.results(0).chain(0));
  EXPECT_NE(Denied(late), std::nullopt);
  EXPECT_GE(absl::FromUnixSeconds(revoked.lapses_at()), late.fields().not_after);
}

TEST_F(Revoking, AnIdUntilAnInstantLeavesWhatIsNewer) {
  const x509::Certificate old = Issue();
  world.now += absl::Minutes(20);
  const int64_t between = absl::ToUnixSeconds(world.now);
  world.now += absl::Minutes(10);
  const x509::Certificate newer = Issue();
  ASSERT_OK(RevokeId(between));
  EXPECT_NE(Denied(old), std::nullopt);
  EXPECT_EQ(Denied(newer), std::nullopt);
  EXPECT_THAT(RevokeId(absl::ToUnixSeconds(world.now) + 1),
              StatusIs(StatusCode::kInvalidArgument, "is not in the past"));
}

TEST_F(Revoking, WhatHasAllExpiredChangesNothing) {
  Issue();
  const int64_t then = absl::ToUnixSeconds(world.now);
  world.now += absl::Hours(3);
  ASSERT_OK_AND_ASSIGN(const auto revoked, RevokeId(then));
  EXPECT_EQ(revoked.entries(), 0u);
  EXPECT_EQ(epoch(), 1u);
}

TEST_F(Revoking, ASerialOrAKeyDeniesOneCertificate) {
  const x509::Certificate one = Issue();
  const x509::Certificate other = Issue();
  ASSERT_OK(RevokeSerial(one.fields().serial));
  EXPECT_NE(Denied(one), std::nullopt);
  EXPECT_EQ(Denied(other), std::nullopt);
  EXPECT_THAT(RevokeSerial("unknown"), StatusIs(StatusCode::kNotFound, "log tail"));
  EXPECT_THAT(RevokeKey(std::string(32, 'x')), StatusIs(StatusCode::kNotFound, "log tail"));
  ASSERT_OK(RevokeKey(other.public_key().pin().bytes()));
  EXPECT_NE(Denied(other), std::nullopt);
}

TEST_F(Revoking, TheKeysThatEverythingHangsOnAreRefused) {
  const std::vector<ca::Authority> all = world.core->authorities().all();
  for (const ca::Authority& authority : all) {
    const auto revoked = RevokeKey(authority.certificate.public_key().pin().bytes());
    if (authority.state == ca::kBackup) {
      EXPECT_OK(revoked);
    } else {
      EXPECT_THAT(revoked, StatusIs(StatusCode::kFailedPrecondition, "rotate"));
    }
  }
  ca::v1::RevokeRequest own;
  own.set_spiffe_id(Id("/linchpin/ca"));
  EXPECT_THAT(world.Admin<ca::v1::Revoked>(own),
              StatusIs(StatusCode::kFailedPrecondition, "restart it"));
  own.set_spiffe_id("spiffe://other.org/web");
  EXPECT_THAT(world.Admin<ca::v1::Revoked>(own), StatusIs(StatusCode::kInvalidArgument));
}

TEST_F(Revoking, ANodeDeniesAllThatLeftThroughItOnceItIsBanned) {
  EXPECT_THAT(RevokeNode("a"), StatusIs(StatusCode::kFailedPrecondition, "ban it first"));
  std::vector<x509::Certificate> through;
  for (int i = 0; i < 3; ++i) through.push_back(Issue());
  const std::string other = world.Join("b");
  const auto elsewhere =
      world.Answer<ca::v1::IssueResponse>(world.AskIssue(other, identity))->results(0).chain(0);
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::BanNode{"a"}));
  ASSERT_OK_AND_ASSIGN(const auto revoked, RevokeNode("a"));
  EXPECT_EQ(revoked.entries(), 4u) << "with the node's own";
  for (const x509::Certificate& leaf : through) EXPECT_NE(Denied(leaf), std::nullopt);
  EXPECT_EQ(Denied(*x509::Certificate::FromDer(elsewhere)), std::nullopt);
}

TEST_F(Revoking, ThousandsAtOnceAreOneChangeThatEveryNodeCanBeSent) {
  world.Hello(1, world.Join("b"));
  for (int i = 0; i < 30000; ++i) {
    ca::v1::LogEntry entry = world.log.back();
    entry.set_node_id(node);
    entry.set_serial(absl::StrCat("serial ", i));
    world.log.push_back(entry);
  }
  ASSERT_OK(world.Admin<ca::v1::Node>(ca::BanNode{node}));
  world.pushed[1].clear();
  ASSERT_OK_AND_ASSIGN(const auto revoked, RevokeNode(node));
  EXPECT_GE(revoked.entries(), 30000u);
  EXPECT_EQ(epoch(), 2u);
  sync::Receiver receiver({}, {.incarnation = world.core->registry().meta().incarnation(),
                               .revision = world.pushed[1].front().base_revision()});
  bool complete = false;
  for (const ca::v1::CaMessage& message : world.pushed[1]) {
    EXPECT_LE(message.ByteSizeLong(), sync::kMaxMessageBytes);
    ASSERT_OK_AND_ASSIGN(complete, receiver.Add(message));
  }
  ASSERT_TRUE(complete);
  const trust::v1::TrustState taken = receiver.Take().trust;
  EXPECT_EQ(taken.revocations_size(), revoked.entries());
  EXPECT_EQ(trust::OfferDigest(taken), world.digests.at(2)) << "in many parts it is the same";
  world.Restart();
  EXPECT_EQ(world.trusts.back()->revocations().entries().size(), revoked.entries());
  world.now = absl::FromUnixSeconds(revoked.lapses_at()) + absl::Minutes(6);
  world.Step(ca::event::Tick{});
  EXPECT_EQ(world.core->registry().revocations().size(), 0u);
}

TEST_F(Revoking, LapsesOnceAllThatItDeniesHasExpired) {
  const x509::Certificate leaf = Issue();
  ASSERT_OK(RevokeSerial(leaf.fields().serial));
  ASSERT_OK_AND_ASSIGN(const auto list,
                       world.Admin<ca::v1::RevocationList>(ca::v1::ListRevocationsRequest()));
  ASSERT_THAT(list.groups(), SizeIs(1));
  EXPECT_THAT(list.groups(0).what(), HasSubstr("serial"));
  Pass(leaf.fields().not_after - world.now);
  EXPECT_THAT(world.core->registry().revocations(), SizeIs(1)) << "clocks differ a little";
  Pass(absl::Minutes(6));
  EXPECT_THAT(world.core->registry().revocations(), SizeIs(0));
  EXPECT_EQ(epoch(), 3u) << "in force like any trust change";
  EXPECT_EQ(world.trusts.back()->revocations().entries().size(), 0u);
}

TEST_F(Revoking, ANodesOwnCertificateEndsItsStreamAndItsWayBack) {
  world.Hello(1, node);
  const std::string serial = world.core->registry().FindNode(node)->record.serial();
  ASSERT_OK(RevokeSerial(serial));
  EXPECT_THAT(world.closed[1], StatusIs(StatusCode::kUnauthenticated, "is revoked"));
  EXPECT_TRUE(world.pushed[1].back().has_trust()) << "and it is told why";
}

}  // namespace
}  // namespace linchpin::test
