// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One folder of tests/golden/chains, read: its README.md has the format.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trust/judge.h"
#include "trust/mtls_context.h"

namespace linchpin::test {

struct GoldenCase {
  trust::RawChain chain;
  std::shared_ptr<const trust::MtlsContext> context;
  trust::Direction direction = trust::Direction::kOutbound;
  trust::Expect expect = trust::Expect::AnyAllowed();
  absl::Time now;
  bool allowed = false;
  std::string reasons;  // "EXPIRED PEER_NOT_ALLOWED(reported)"
};

// Every case, sorted; common/ is none.
std::vector<std::string> GoldenCaseNames();
// An error names the line that cannot be read: a case without an expectation is one.
absl::StatusOr<GoldenCase> ReadGoldenCase(const std::string& name);
// The DER of a certificate in common/.
absl::StatusOr<std::string> CommonCertificate(const std::string& file);
// The findings of a verdict, in the notation of `reasons`.
std::string ReasonsText(const trust::Verdict& verdict);

}  // namespace linchpin::test
