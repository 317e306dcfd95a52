// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/signers.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "ca/core/profile.h"
#include "ca/keys/memory_key_manager.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/trust/test_authority.h"

namespace linchpin::ca {
namespace {

using test::StatusIs;

class SignersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(const x509::PrivateKey key, keys_.Create("issuer", x509::KeyType::kP256));
    const Profile profile{.trust_domain = authority_.trust_domain()};
    const absl::Time now = base::SystemClock().Now();
    ASSERT_OK_AND_ASSIGN(const x509::Certificate root,
                         x509::SelfSign(RootSpec(profile, key.public_key(), now, random()), key));
    ASSERT_OK_AND_ASSIGN(
        const x509::Certificate issuer,
        x509::SelfSign(IssuerSpec(profile, key.public_key(), root, now, random()), key));
    issuer_ = issuer;
    ASSERT_OK_AND_ASSIGN(spec_, LeafSpec(profile, {.spiffe_id = kId, .dns_names = {}},
                                         absl::Hours(1), issuer, now, random()));
    ASSERT_OK_AND_ASSIGN(log_, IssuanceLog::Open(dir_.path() + "/log"));
    signers_ = std::make_unique<Signers>(
        SignerParts{keys_, *log_, base::SystemClock()},
        [this](std::vector<event::Issued> made) { Told(std::move(made)); });
    signers_->Start();
  }
  void TearDown() override { Open(); }

  static base::Random& random() { return base::SystemRandom(); }

  action::SignAndLog Asked(Ticket ticket, size_t certificates = 1) const {
    const CertificateOrder order{.spec = spec_,
                                 .spiffe_id = kId,
                                 .node_id = "",
                                 .key = test::KeyNamed("service").public_key(),
                                 .request = ""};
    return {.ticket = ticket,
            .orders = std::vector<CertificateOrder>(certificates, order),
            .issuer = *issuer_,
            .key_name = "issuer"};
  }

  // The first group is held where it is told of, until Open().
  void Told(std::vector<event::Issued> made) {
    base::MutexLock lock(mutex_);
    logged_when_told_.push_back(log_->size());
    told_.push_back(std::move(made));
    changed_.notify_all();
    if (told_.size() == 1) changed_.wait(lock, [this] { return open_; });
  }
  void Open() {
    base::MutexLock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void WaitForGroups(size_t groups) {
    base::MutexLock lock(mutex_);
    ASSERT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(60), [&] { return told_.size() >= groups; }));
  }

  static constexpr char kId[] = "spiffe://example.org/service";
  test::TempDir dir_;
  test::TestAuthority authority_;
  MemoryKeyManager keys_;
  std::optional<x509::Certificate> issuer_;
  x509::CertificateSpec spec_;
  std::unique_ptr<IssuanceLog> log_;

  base::Mutex mutex_;
  base::CondVar changed_;
  bool open_ = false;
  std::vector<std::vector<event::Issued>> told_;
  std::vector<uint64_t> logged_when_told_;

  std::unique_ptr<Signers> signers_;
};

TEST_F(SignersTest, WhatIsAskedForWhileAGroupIsUnderWayIsTheNextAndIsDurableWhenItIsToldOf) {
  signers_->Add(Asked(1));
  WaitForGroups(1);
  for (Ticket ticket = 2; ticket <= 6; ++ticket) signers_->Add(Asked(ticket));
  Open();
  WaitForGroups(2);
  signers_->Stop();
  ASSERT_EQ(told_.size(), 2u);
  ASSERT_EQ(told_[0].size(), 1u);
  ASSERT_EQ(told_[1].size(), 5u);
  for (Ticket ticket = 2; ticket <= 6; ++ticket) {
    const event::Issued& issued = told_[1][ticket - 2];
    EXPECT_EQ(issued.ticket, ticket);
    ASSERT_OK(issued.certificates.status());
    ASSERT_EQ(issued.certificates->size(), 1u);
    EXPECT_OK(issued.certificates->front().status());
  }
  EXPECT_EQ(logged_when_told_, (std::vector<uint64_t>{1, 6}));
}

TEST_F(SignersTest, PlentyDoesNotWaitForTheGroupBeforeIt) {
  signers_->Add(Asked(1));
  WaitForGroups(1);
  signers_->Add(Asked(2, Signers::kPlenty));
  WaitForGroups(2);  // though the first is held still
  EXPECT_EQ(told_[1].front().ticket, 2u);
}

TEST_F(SignersTest, OneThatCannotBeMadeFailsAlone) {
  signers_->Add(Asked(1));
  WaitForGroups(1);
  action::SignAndLog lost = Asked(2);
  lost.key_name = "carried-away";
  signers_->Add(std::move(lost));
  signers_->Add(Asked(3));
  Open();
  WaitForGroups(2);
  ASSERT_EQ(told_[1].size(), 2u);
  EXPECT_THAT(told_[1][0].certificates.status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, "carried-away"));
  EXPECT_OK(told_[1][1].certificates.status());
}

TEST_F(SignersTest, AGroupThatTheLogDoesNotTakeIsNotMade) {
  Open();
  action::SignAndLog large = Asked(1);
  large.orders[0].node_id = std::string(IssuanceLog::kMaxRecordBytes, 'n');
  signers_->Add(std::move(large));
  WaitForGroups(1);
  EXPECT_THAT(told_[0][0].certificates.status(),
              StatusIs(absl::StatusCode::kInvalidArgument, "log entry"));
}

TEST_F(SignersTest, StoppingTellsOfAllThatWasAskedForAndTakesNoMore) {
  signers_->Add(Asked(1));
  WaitForGroups(1);
  for (Ticket ticket = 2; ticket <= 4; ++ticket) signers_->Add(Asked(ticket));
  Open();
  signers_->Stop();
  size_t tickets = 0;
  for (const auto& group : told_) tickets += group.size();
  EXPECT_EQ(tickets, 4u);
  EXPECT_EQ(log_->size(), 4u);
  signers_->Add(Asked(5));
  EXPECT_THAT(told_.back().front().certificates.status(), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace linchpin::ca
