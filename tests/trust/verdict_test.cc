// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/verdict.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin::trust {
namespace {

TEST(Verdict, ReasonIsTheFirstThatBlocks) {
  Verdict verdict;
  verdict.findings = {{v1::ISSUER_NOT_PINNED, "soft", false}, {v1::PEER_NOT_ALLOWED, "hard"}};
  EXPECT_EQ(verdict.reason(), v1::PEER_NOT_ALLOWED);
  EXPECT_EQ(verdict.ToString(), "PEER_NOT_ALLOWED: hard");
  verdict.findings.pop_back();
  verdict.allowed = true;
  verdict.peer = *SpiffeId::Parse("spiffe://example.org/web");
  EXPECT_EQ(verdict.reason(), v1::VERDICT_REASON_UNSPECIFIED);
  EXPECT_EQ(verdict.ToString(),
            "allowed spiffe://example.org/web; only reported: ISSUER_NOT_PINNED: soft");
}

TEST(Verdict, EachReasonHasItsWord) {
  EXPECT_EQ(ReasonName(v1::ISSUER_NOT_PINNED), "ISSUER_NOT_PINNED");
  EXPECT_EQ(ReasonName(v1::NO_CONTEXT), "NO_CONTEXT");
}

// RFC 8446 §6.2.
TEST(Verdict, EachReasonIsSentAsAnAlertOfTheStandard) {
  const std::set<int> alerts = {42, 43, 44, 45, 46, 48, 49, 50, 116};
  const auto& values = *v1::VerdictReason_descriptor();
  for (int i = 0; i < values.value_count(); ++i) {
    const auto reason = static_cast<Reason>(values.value(i)->number());
    if (reason == v1::VERDICT_REASON_UNSPECIFIED || reason == v1::NO_CONTEXT) {
      EXPECT_EQ(TlsAlert(reason), 80);
    } else {
      EXPECT_TRUE(alerts.contains(TlsAlert(reason))) << values.value(i)->name();
    }
  }
  EXPECT_EQ(TlsAlert(v1::NO_CERTIFICATE), 116);
  EXPECT_EQ(TlsAlert(v1::EXPIRED), 45);
  EXPECT_EQ(TlsAlert(v1::NO_PATH), 48);
  EXPECT_EQ(TlsAlert(v1::PEER_NOT_ALLOWED), 49);
  EXPECT_EQ(TlsAlert(v1::REVOKED), 44);
}

}  // namespace
}  // namespace linchpin::trust
