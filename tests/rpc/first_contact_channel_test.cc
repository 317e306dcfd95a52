// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "gtest/gtest.h"
#include "rpc/channel.h"
#include "tests/rpc/node_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::CallGetTrust;
using ::linchpin::test::CallIssue;
using ::linchpin::test::StatusIs;

class FirstContactChannelTest : public ::testing::Test {
 protected:
  FirstContactChannelTest() {
    identity_->Set(ContextOf({authority_.State()}, {}, "/linchpin/ca", authority_));
    server_.emplace(identity_, trust::Expect::Node(), clock_);
  }

  test::FakeClock clock_{test::kNow};
  test::TestAuthority authority_;
  std::shared_ptr<OwnIdentity> identity_ = std::make_shared<OwnIdentity>();
  std::optional<test::NodeServer> server_;
};

TEST_F(FirstContactChannelTest, HandsOverTheWholeChainAsSentBeforeTheFirstCall) {
  std::vector<std::string> chain;
  int calls_before = -1;
  const auto channel =
      FirstContactChannel(server_->address(), [&](const std::vector<std::string>& sent) {
        chain = sent;
        calls_before = server_->calls();
        return absl::OkStatus();
      });
  EXPECT_OK(CallGetTrust(channel));
  EXPECT_EQ(chain, test::Ders(identity_->Get()->chain()));
  EXPECT_EQ(calls_before, 0);
  EXPECT_EQ(server_->last_leaf(), "");
}

TEST_F(FirstContactChannelTest, AnErrorEndsTheHandshakeAndNothingIsSent) {
  const auto channel = FirstContactChannel(server_->address(), [](const std::vector<std::string>&) {
    return absl::PermissionDeniedError("the CA shows none of the pinned keys");
  });
  EXPECT_THAT(CallGetTrust(channel), StatusIs(absl::StatusCode::kUnavailable, "pinned keys"));
  EXPECT_EQ(server_->calls(), 0);
}

TEST_F(FirstContactChannelTest, ShowsNoCertificate) {
  const auto channel = FirstContactChannel(
      server_->address(), [](const std::vector<std::string>&) { return absl::OkStatus(); });
  EXPECT_THAT(CallIssue(channel), StatusIs(absl::StatusCode::kUnauthenticated, "NO_CERTIFICATE"));
}

}  // namespace
}  // namespace linchpin::rpc
