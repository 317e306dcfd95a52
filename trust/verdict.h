// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The result of judging a peer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "linchpin/trust/v1/verdict.pb.h"
#include "trust/spiffe_id.h"
#include "x509/certificate.h"

namespace linchpin::trust {

using Reason = v1::VerdictReason;

struct Finding {
  Reason reason;
  std::string detail;  // a sentence with the names, times and pins involved
  bool blocks = true;  // false: report_only or audit, or a candidate's
  // False after a failure of step 1 or 2: then the peer's ID is an attacker's text.
  bool authenticated = true;
};

struct Verdict {
  bool allowed = false;
  std::vector<Finding> findings;  // in the order of the steps; blocking and softened
  std::optional<SpiffeId> peer;   // set only if authenticated (steps 1 and 2 passed)
  x509::Chain path;               // validated, leaf first; set if step 2 passed
  // The first blocking reason; VERDICT_REASON_UNSPECIFIED if allowed.
  Reason reason() const;
  std::string ToString() const;  // "allowed spiffe://…" or "ISSUER_NOT_PINNED: …"
};

// "ISSUER_NOT_PINNED": the word for logs, labels, reports and the command line.
const std::string& ReasonName(Reason reason);

// The TLS alert (RFC 8446 §6.2) that a refusal is sent as; documented in docs/formats.md.
int TlsAlert(Reason reason);

}  // namespace linchpin::trust
