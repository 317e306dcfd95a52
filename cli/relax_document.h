// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Relax documents and freshness statements as JSON files that people read; see pins_document.h.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/signed_json.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/pin_set.h"
#include "trust/relax.h"
#include "x509/key.h"

namespace linchpin::cli {

struct RelaxDocument {
  trust::v1::SignedRelax document;
  trust::v1::Relax relax;  // of its payload
  trust::v1::SignedPinSet set;
  trust::PinSet pin_set;  // of the set that it relaxes: who signs
};

struct RelaxRequest {
  absl::Time latest;
  absl::Duration longest;
};

// Unsigned. INVALID_ARGUMENT as trust::ParseRelax.
absl::StatusOr<RelaxDocument> DraftRelax(const trust::v1::SignedPinSet& set,
                                         const RelaxRequest& request, absl::Time now);
std::string EncodeRelaxDocument(const RelaxDocument& document);
// INVALID_ARGUMENT names `name` and the field, as DecodePinSetDocument.
absl::StatusOr<RelaxDocument> DecodeRelaxDocument(absl::string_view text, const std::string& name);
// PERMISSION_DENIED: the key is of none of the set's signers.
absl::Status SignRelaxDocument(const x509::PrivateKey& key, RelaxDocument* document);
// OK if enough have signed; else PERMISSION_DENIED says how many have.
absl::Status CheckRelaxSigned(const RelaxDocument& document);
std::string DescribeRelax(const RelaxDocument& document, absl::Time now);

struct FreshnessDocument {
  trust::v1::SignedFreshness document;
  trust::v1::Freshness statement;  // of its payload
};
std::string EncodeFreshnessDocument(const FreshnessDocument& document);
absl::StatusOr<FreshnessDocument> DecodeFreshnessDocument(absl::string_view text,
                                                          const std::string& name);
std::string DescribeFreshness(const FreshnessDocument& document, absl::Time now);

}  // namespace linchpin::cli
