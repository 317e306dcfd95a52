// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A pin set on its way from draft to publication: a JSON file that people read and signers sign. It
// shows the set beside the signed payload and is refused where the two disagree, so that nobody
// signs what they did not see.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/signed_json.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/pin_set.h"
#include "x509/key.h"

namespace linchpin::cli {

struct PinSetDocument {
  trust::v1::SignedPinSet signed_set;
  trust::PinSet set;  // of its payload
  // What it was drafted from, signed; so that a signer without the CA sees what changes, and whose
  // signatures are missing.
  std::optional<trust::v1::SignedPinSet> before = std::nullopt;
  std::optional<trust::PinSet> set_before = std::nullopt;  // of its payload
};

// Checks the set as an agent would. INVALID_ARGUMENT.
absl::StatusOr<PinSetDocument> MakePinSetDocument(
    trust::v1::SignedPinSet signed_set,
    const std::optional<trust::v1::SignedPinSet>& before = std::nullopt);
std::string EncodePinSetDocument(const PinSetDocument& document);
// INVALID_ARGUMENT names `name` and the field: no such document, a newer form, a set that is
// malformed or shown otherwise than it is signed, a bad signature.
absl::StatusOr<PinSetDocument> DecodePinSetDocument(absl::string_view text,
                                                    const std::string& name);

// Adds the signature, or replaces the key's earlier one.
void SignPinSetDocument(const x509::PrivateKey& key, PinSetDocument* document);

// How many of the set's own signers have signed; each signature of theirs was verified.
size_t CountSignatures(const PinSetDocument& document);
// Enough signatures of its own signers and, where it is known, of those of the set before.
bool IsComplete(const PinSetDocument& document);
bool IsSigner(const PinSetDocument& document, const x509::PublicKey& key);

// FAILED_PRECONDITION if a backup of the set had another role in the set before, where that is
// known: certificates of it may live, and a backup is to be in no chain that lives.
absl::Status CheckBackupsAreUnused(const PinSetDocument& document);

// For people, a line a fact.
std::string DescribePinSet(const PinSetDocument& document);

// Words of the enums: "enforce", "report_only"; "keep", "report_only", "fail_closed".
std::string ModeText(trust::v1::PinSet::Mode mode);
std::string OnExpiryText(trust::v1::PinSet::OnExpiry on_expiry);

}  // namespace linchpin::cli
