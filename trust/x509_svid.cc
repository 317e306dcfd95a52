// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/x509_svid.h"

#include "absl/strings/str_cat.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

void CheckId(const x509::CertificateFields& fields, LeafCheck* check) {
  // X509-SVID §2: "An X.509 SVID MUST contain exactly one URI SAN".
  if (fields.uri_sans.empty()) {
    check->findings.push_back(
        {v1::NO_SPIFFE_ID, "the leaf has no URI SAN; exactly one, its SPIFFE ID, is expected"});
    return;
  }
  if (fields.uri_sans.size() > 1) {
    check->findings.push_back(
        {v1::SEVERAL_URI_SANS,
         absl::StrCat("the leaf has ", fields.uri_sans.size(), " URI SANs, the first is ",
                      Quoted(fields.uri_sans[0]), "; exactly one is expected")});
    return;
  }
  absl::StatusOr<SpiffeId> id = SpiffeId::Parse(fields.uri_sans[0]);
  if (!id.ok()) {
    check->findings.push_back({v1::INVALID_SPIFFE_ID, std::string(id.status().message())});
    return;
  }
  check->id = *std::move(id);
}

void CheckUsage(const x509::CertificateFields& fields, std::vector<Finding>* findings) {
  // §4.1: "leaf certificates MUST set the cA field to false".
  if (fields.is_ca) {
    findings->push_back({v1::LEAF_IS_CA, "the leaf's basic constraints say CA:TRUE"});
  }
  // §4.3: "Leaf SVIDs MUST NOT set keyCertSign or cRLSign".
  if (fields.key_cert_sign || fields.crl_sign) {
    findings->push_back({v1::LEAF_SIGNS_CERTIFICATES,
                         absl::StrCat("the leaf's key usage has ",
                                      fields.key_cert_sign ? "keyCertSign" : "cRLSign")});
  }
  // §4.3: "The key usage extension MUST be set on all SVIDs, and MUST be marked critical … leaf
  // SVIDs MUST set digitalSignature".
  if (!fields.has_key_usage) {
    findings->push_back({v1::LEAF_KEY_USAGE, "the leaf has no key usage extension"});
  } else if (!fields.digital_signature) {
    findings->push_back({v1::LEAF_KEY_USAGE, "the leaf's key usage lacks digitalSignature"});
  } else if (!fields.key_usage_critical) {
    findings->push_back({v1::LEAF_KEY_USAGE, "the leaf's key usage is not marked critical"});
  }
  // §4.4: "When included, fields id-kp-serverAuth and id-kp-clientAuth MUST be set".
  if (fields.has_extended_key_usage && !(fields.server_auth && fields.client_auth)) {
    findings->push_back({v1::LEAF_EXTENDED_KEY_USAGE,
                         absl::StrCat("the leaf's extended key usage lacks ",
                                      fields.server_auth ? "clientAuth" : "serverAuth")});
  }
}

}  // namespace

LeafCheck CheckLeaf(const x509::Certificate& leaf) {
  LeafCheck check;
  const x509::CertificateFields& fields = leaf.fields();
  CheckId(fields, &check);
  CheckUsage(fields, &check.findings);
  if (absl::Status strength = leaf.public_key().CheckStrength(); !strength.ok()) {
    check.findings.push_back(
        {v1::WEAK_KEY, absl::StrCat("the leaf's key is refused: ", strength.message())});
  }
  if (fields.weak_signature) {
    check.findings.push_back(
        {v1::WEAK_SIGNATURE, "the leaf is signed with an algorithm below 112 bits of security"});
  }
  return check;
}

}  // namespace linchpin::trust
