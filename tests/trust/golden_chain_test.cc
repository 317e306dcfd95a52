// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Every folder of tests/golden/chains is one test.

#include <string>
#include <utility>

#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "tests/support/seeded_random.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/golden_case.h"

namespace linchpin::test {
namespace {

class GoldenChain : public testing::TestWithParam<std::string> {};

std::string TestName(const testing::TestParamInfo<std::string>& info) {
  return absl::StrReplaceAll(info.param, {{"-", "_"}});
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenChain, testing::ValuesIn(GoldenCaseNames()), TestName);

trust::Verdict JudgeCase(const GoldenCase& golden, x509::PathMemo* memo) {
  return trust::Judge(golden.chain, *golden.context, golden.direction, golden.expect, golden.now,
                      memo);
}

TEST_P(GoldenChain, IsJudgedAsWritten) {
  ASSERT_OK_AND_ASSIGN(const GoldenCase golden, ReadGoldenCase(GetParam()));
  const trust::Verdict verdict = JudgeCase(golden, nullptr);
  EXPECT_EQ(ReasonsText(verdict), golden.reasons) << verdict.ToString();
  EXPECT_EQ(verdict.allowed, golden.allowed) << verdict.ToString();
}

TEST_P(GoldenChain, IsJudgedTheSameWithAMemo) {
  ASSERT_OK_AND_ASSIGN(const GoldenCase golden, ReadGoldenCase(GetParam()));
  x509::PathMemo memo;
  const std::string fresh = ReasonsText(JudgeCase(golden, &memo));
  const trust::Verdict again = JudgeCase(golden, &memo);
  EXPECT_EQ(fresh, golden.reasons);
  EXPECT_EQ(ReasonsText(again), golden.reasons);
  EXPECT_EQ(again.allowed, golden.allowed);
  EXPECT_LE(memo.hits(), 1u);
}

// After a failure of step 1 or 2 the ID is an attacker's text.
TEST_P(GoldenChain, NamesThePeerOnlyWhereItIsAuthenticated) {
  ASSERT_OK_AND_ASSIGN(const GoldenCase golden, ReadGoldenCase(GetParam()));
  const trust::Verdict verdict = JudgeCase(golden, nullptr);
  bool failed_early = false;
  for (const trust::Finding& finding : verdict.findings) {
    failed_early = failed_early || finding.reason < trust::v1::ISSUER_NOT_PINNED;
    EXPECT_FALSE(finding.detail.empty()) << trust::ReasonName(finding.reason);
  }
  EXPECT_EQ(verdict.peer.has_value(), !failed_early);
  for (const trust::Finding& finding : verdict.findings) {
    EXPECT_EQ(finding.authenticated, !failed_early) << trust::ReasonName(finding.reason);
  }
  EXPECT_EQ(verdict.reason() == trust::v1::VERDICT_REASON_UNSPECIFIED, verdict.allowed);
}

// A peer may send what it likes behind its leaf: it neither helps nor harms.
TEST_P(GoldenChain, IsJudgedTheSameAmongOtherCertificatesInAnyOrder) {
  ASSERT_OK_AND_ASSIGN(GoldenCase golden, ReadGoldenCase(GetParam()));
  if (golden.chain.empty()) return;  // nothing to send others behind
  for (const char* file : {"root.pem", "backup.pem", "rogue-issuer.pem"}) {
    if (golden.chain.size() == trust::kMaxChainCertificates) break;
    ASSERT_OK_AND_ASSIGN(golden.chain.emplace_back(), CommonCertificate(file));
  }
  SeededRandom random(1);
  for (int round = 0; round < 5; ++round) {
    for (size_t i = golden.chain.size() - 1; i > 1; --i) {
      std::swap(golden.chain[i], golden.chain[1 + random.Below(i)]);
    }
    const trust::Verdict verdict = JudgeCase(golden, nullptr);
    EXPECT_EQ(verdict.allowed, golden.allowed) << verdict.ToString();
  }
}

}  // namespace
}  // namespace linchpin::test
