// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Signatures by k of n, of documents that each have a domain separator of their own.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/pin_set.h"
#include "x509/key.h"

namespace linchpin::trust {

// Borrows the signatures.
struct SignedBytes {
  std::string input;  // domain separator and payload
  const google::protobuf::RepeatedPtrField<v1::Signature>& signatures;
};

// Of a key that cannot sign the signature is empty: it verifies nowhere.
v1::Signature SignBytes(absl::string_view input, const x509::PrivateKey& signer);

// How many of `signers` signed, each counted once. Signatures of other keys, and those that do not
// verify, count for nothing.
uint32_t CountSigners(const SignerSet& signers, const SignedBytes& document);

// PERMISSION_DENIED: "`what` is signed by 1 of the `whose` signers, 2 of 3 are needed".
// INVALID_ARGUMENT: more than 64 signatures.
absl::Status CheckThreshold(const SignerSet& signers, const SignedBytes& document,
                            absl::string_view what, absl::string_view whose);

}  // namespace linchpin::trust
