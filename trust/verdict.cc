// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/verdict.h"

#include "absl/strings/str_cat.h"

namespace linchpin::trust {

Reason Verdict::reason() const {
  for (const Finding& finding : findings) {
    if (finding.blocks) return finding.reason;
  }
  return v1::VERDICT_REASON_UNSPECIFIED;
}

std::string Verdict::ToString() const {
  std::string text;
  if (allowed) {
    text = absl::StrCat("allowed ", peer ? peer->ToString() : "");
    for (const Finding& finding : findings) {
      absl::StrAppend(&text, "; only reported: ", ReasonName(finding.reason), ": ", finding.detail);
    }
    return text;
  }
  for (const Finding& finding : findings) {
    if (!finding.blocks) continue;
    absl::StrAppend(&text, text.empty() ? "" : "; ", ReasonName(finding.reason), ": ",
                    finding.detail);
  }
  return text;
}

const std::string& ReasonName(Reason reason) { return v1::VerdictReason_Name(reason); }

// RFC 8446 §6.2 says of each alert when it is sent; the sentence is quoted at its case.
int TlsAlert(Reason reason) {
  switch (reason) {
    // certificate_required: "sent by servers when a client certificate is desired but none was
    // provided by the client".
    case v1::NO_CERTIFICATE:
      return 116;
    // decode_error: "a message could not be decoded because some field was out of the specified
    // range".
    case v1::TOO_MANY_CERTIFICATES:
    case v1::CHAIN_TOO_LARGE:
      return 50;
    // bad_certificate: "a certificate was corrupt, contained signatures that did not verify
    // correctly, etc."
    case v1::MALFORMED_CERTIFICATE:
    case v1::WEAK_KEY:
    case v1::WEAK_SIGNATURE:
    case v1::BAD_SIGNATURE:
    case v1::NAME_CONSTRAINT:
      return 42;
    // unsupported_certificate: "a certificate was of an unsupported type".
    case v1::NO_SPIFFE_ID:
    case v1::SEVERAL_URI_SANS:
    case v1::INVALID_SPIFFE_ID:
    case v1::LEAF_IS_CA:
    case v1::LEAF_SIGNS_CERTIFICATES:
    case v1::LEAF_KEY_USAGE:
    case v1::LEAF_EXTENDED_KEY_USAGE:
      return 43;
    // certificate_expired: "a certificate has expired or is not currently valid".
    case v1::EXPIRED:
    case v1::NOT_YET_VALID:
      return 45;
    // unknown_ca: "a valid certificate chain or partial chain was received, but the certificate was
    // not accepted because the CA certificate could not be located or could not be matched with a
    // known trust anchor".
    case v1::UNKNOWN_TRUST_DOMAIN:
    case v1::NO_PATH:
    case v1::PATH_LENGTH:
    case v1::ISSUER_NOT_CA:
    case v1::ISSUER_NOT_PINNED:
      return 48;
    // certificate_unknown: "some other (unspecified) issue arose in processing the certificate,
    // rendering it unacceptable".
    case v1::PATH_INVALID:
    case v1::PINS_EXPIRED:
      return 46;
    // access_denied: "a valid certificate or PSK was received, but when access control was applied,
    // the sender decided not to proceed with negotiation".
    case v1::RESERVED_SPIFFE_ID:
    case v1::PEER_NOT_ALLOWED:
    case v1::UNEXPECTED_PEER:
      return 49;
    // certificate_revoked: "a certificate was revoked by its signer".
    case v1::REVOKED:
      return 44;
    // internal_error: "an internal error unrelated to the peer or the correctness of the protocol".
    default:
      return 80;
  }
}

}  // namespace linchpin::trust
