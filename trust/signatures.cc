// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/signatures.h"

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace linchpin::trust {
namespace {

constexpr int kMaxSignatures = 64;

}  // namespace

v1::Signature SignBytes(absl::string_view input, const x509::PrivateKey& signer) {
  v1::Signature signature;
  signature.set_key_id(signer.public_key().pin().bytes());
  absl::StatusOr<std::string> bytes = signer.Sign(input);
  if (bytes.ok()) signature.set_signature(*bytes);
  return signature;
}

uint32_t CountSigners(const SignerSet& signers, const SignedBytes& document) {
  uint32_t count = 0;
  for (const x509::PublicKey& key : signers.keys) {
    for (const v1::Signature& signature : document.signatures) {
      if (signature.key_id() != key.pin().bytes()) continue;
      if (!key.Verify(document.input, signature.signature()).ok()) continue;
      ++count;
      break;
    }
  }
  return count;
}

absl::Status CheckThreshold(const SignerSet& signers, const SignedBytes& document,
                            absl::string_view what, absl::string_view whose) {
  if (document.signatures.size() > kMaxSignatures) {
    return absl::InvalidArgumentError(absl::StrCat(what, " has ", document.signatures.size(),
                                                   " signatures, at most ", kMaxSignatures,
                                                   " are allowed"));
  }
  const uint32_t count = CountSigners(signers, document);
  if (count >= signers.threshold) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(what, " is signed by ", count, " of the ", whose,
                                                  " signers, ", signers.threshold, " of ",
                                                  signers.keys.size(), " are needed"));
}

}  // namespace linchpin::trust
