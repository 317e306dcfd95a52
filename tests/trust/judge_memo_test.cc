// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A verdict with a memo is the verdict without one: over every golden case, at other times, under
// the trust of other cases, and with chains that were damaged on the way.

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/seeded_random.h"
#include "tests/trust/golden_case.h"

namespace linchpin::test {
namespace {

// Every word of it.
std::string Written(const trust::Verdict& verdict) {
  std::string text = absl::StrCat(verdict.allowed ? "allowed" : "refused", " ",
                                  verdict.peer ? verdict.peer->ToString() : "nobody", "\n");
  for (const trust::Finding& finding : verdict.findings) {
    absl::StrAppend(&text, trust::ReasonName(finding.reason), " blocks:", finding.blocks,
                    " authenticated:", finding.authenticated, " ", finding.detail, "\n");
  }
  for (const x509::Certificate& certificate : verdict.path) {
    absl::StrAppend(&text, absl::BytesToHexString(certificate.sha256()), "\n");
  }
  return text;
}

class Cases : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    cases_ = new std::vector<GoldenCase>();
    for (const std::string& name : GoldenCaseNames()) {
      cases_->push_back(*ReadGoldenCase(name));
    }
  }
  static void TearDownTestSuite() {
    delete cases_;
    cases_ = nullptr;
  }

  const GoldenCase& Any() { return (*cases_)[random_.Below(cases_->size())]; }

  void Damage(trust::RawChain* chain) {
    if (chain->empty()) return;
    const size_t at = random_.Below(chain->size());
    std::string& der = (*chain)[at];
    switch (random_.Below(5)) {
      case 0:
        if (!der.empty())
          der[random_.Below(der.size())] ^= static_cast<char>(1 << random_.Below(8));
        break;
      case 1:
        der.resize(random_.Below(der.size() + 1));
        break;
      case 2:
        chain->erase(chain->begin() + static_cast<ptrdiff_t>(at));
        break;
      case 3:
        std::swap((*chain)[at], (*chain)[random_.Below(chain->size())]);
        break;
      default:
        for (const std::string& other : Any().chain) chain->push_back(other);
        break;
    }
  }

  // With the memo twice: what it learns, and what it then knows.
  void ExpectTheSame(const GoldenCase& of, const trust::RawChain& chain,
                     const trust::MtlsContext& context, absl::Time handshake) {
    const auto judge = [&](x509::PathMemo* memo) {
      return Written(
          trust::JudgeAgain(chain, context, of.direction, of.expect, handshake, of.now, memo));
    };
    const std::string fresh = judge(nullptr);
    EXPECT_EQ(judge(&memo_), fresh);
    EXPECT_EQ(judge(&memo_), fresh);
  }

  static std::vector<GoldenCase>* cases_;
  SeededRandom random_{1};
  x509::PathMemo memo_{32};
};
std::vector<GoldenCase>* Cases::cases_ = nullptr;

TEST_F(Cases, AreJudgedTheSameAtAnyTime) {
  const absl::Duration skew = absl::Seconds(60);
  for (const GoldenCase& golden : *cases_) {
    std::vector<absl::Time> times = {golden.now, golden.now + absl::Hours(24 * 40)};
    if (!golden.chain.empty()) {
      if (const auto leaf = x509::Certificate::FromDer(golden.chain[0]); leaf.ok()) {
        const x509::CertificateFields& fields = leaf->fields();
        for (const absl::Time time :
             {fields.not_before - skew, fields.not_before, fields.not_after}) {
          times.insert(times.end(), {time - absl::Seconds(1), time, time + absl::Seconds(1)});
        }
      }
    }
    for (const absl::Time time : times) ExpectTheSame(golden, golden.chain, *golden.context, time);
  }
  EXPECT_GT(memo_.hits(), cases_->size());
}

TEST_F(Cases, AreJudgedTheSameUnderTheTrustOfOthers) {
  for (const GoldenCase& golden : *cases_) {
    for (int round = 0; round < 8; ++round) {
      ExpectTheSame(golden, golden.chain, *Any().context, golden.now);
    }
  }
  EXPECT_GT(memo_.hits(), cases_->size());
}

TEST_F(Cases, AreJudgedTheSameWhenDamaged) {
  for (const GoldenCase& golden : *cases_) {
    ExpectTheSame(golden, golden.chain, *golden.context, golden.now);
    for (int round = 0; round < 12; ++round) {
      trust::RawChain chain = golden.chain;
      Damage(&chain);
      if (random_.OneIn(4)) Damage(&chain);
      ExpectTheSame(golden, chain, *golden.context, golden.now);
    }
  }
  EXPECT_GT(memo_.hits(), cases_->size());
}

}  // namespace
}  // namespace linchpin::test
