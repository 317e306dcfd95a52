// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/pins_draft.h"

namespace linchpin::cli {
namespace {

using trust::v1::IssuerPin;

IssuerPin::Role RoleOf(const std::string& state) {
  if (state == "backup") return IssuerPin::BACKUP;
  if (state == "prepared") return IssuerPin::NEXT;
  return IssuerPin::ACTIVE;  // also while it retires: its leaves still live
}

}  // namespace

std::vector<std::string> BackupPins(const ca::v1::Authorities& authorities) {
  std::vector<std::string> pins;
  for (const ca::v1::Authority& authority : authorities.authorities()) {
    if (authority.kind() == "issuer" && authority.state() == "backup") {
      pins.push_back(authority.spki_sha256());
    }
  }
  return pins;
}

absl::StatusOr<PinSetDocument> DraftPinSet(const DraftRequest& request,
                                           const ca::v1::Authorities& authorities, absl::Time now) {
  trust::v1::PinSet set;
  set.set_trust_domain(authorities.trust_domain());
  set.set_version(request.version);
  set.set_mode(request.mode);
  set.set_any_under_anchor(request.any_under_anchor);
  set.set_issued_at(absl::ToUnixSeconds(now));
  set.set_expires_at(absl::ToUnixSeconds(now + request.life));
  set.set_on_expiry(request.on_expiry);
  set.set_urgent(request.urgent);
  *set.mutable_signers() = request.signers;
  for (const ca::v1::Authority& authority : authorities.authorities()) {
    if (authority.state() == "retired") continue;
    if (authority.kind() == "root") {
      trust::v1::AnchorPin* anchor = set.add_anchors();
      anchor->set_spki_sha256(authority.spki_sha256());
      anchor->set_label(authority.subject().substr(0, 128));
      continue;
    }
    if (request.any_under_anchor) continue;
    IssuerPin* issuer = set.add_issuers();
    issuer->set_spki_sha256(authority.spki_sha256());
    issuer->set_role(RoleOf(authority.state()));
    const auto proof = request.proofs.find(authority.spki_sha256());
    if (proof != request.proofs.end()) *issuer->mutable_proof() = proof->second;
  }
  trust::v1::SignedPinSet signed_set;
  signed_set.set_payload(set.SerializeAsString());
  return MakePinSetDocument(std::move(signed_set));
}

}  // namespace linchpin::cli
