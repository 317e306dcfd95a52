// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/pins_draft.h"

#include <utility>

#include "base/status_macros.h"

namespace linchpin::cli {

std::vector<std::string> BackupPins(const ca::v1::Authorities& authorities) {
  std::vector<std::string> pins;
  for (const ca::v1::Authority& authority : authorities.authorities()) {
    if (authority.kind() == "issuer" && authority.state() == "backup" && !authority.leaving()) {
      pins.push_back(authority.spki_sha256());
    }
  }
  return pins;
}

absl::StatusOr<PinSetDocument> DraftPinSet(const DraftRequest& request,
                                           const ca::v1::Authorities& authorities, absl::Time now) {
  ASSIGN_OR_RETURN(const trust::TrustDomain trust_domain,
                   trust::TrustDomain::FromName(authorities.trust_domain()));
  std::vector<trust::KeyToPin> keys;
  for (const ca::v1::Authority& authority : authorities.authorities()) {
    const std::optional<trust::v1::IssuerPin::Role> role = trust::PinRoleOf(authority.state());
    if (!role.has_value() || authority.leaving()) continue;
    trust::KeyToPin key{.is_root = authority.kind() == "root",
                        .spki_sha256 = authority.spki_sha256(),
                        .label = authority.subject(),
                        .role = *role};
    const auto proof = request.proofs.find(authority.spki_sha256());
    if (proof != request.proofs.end()) key.proof = proof->second;
    keys.push_back(std::move(key));
  }
  ASSIGN_OR_RETURN(trust::DraftedPinSet draft,
                   trust::DraftPinSet(trust_domain, request.before, keys, request.changes, now));
  trust::v1::SignedPinSet signed_set;
  signed_set.set_payload(std::move(draft.payload));
  return MakePinSetDocument(std::move(signed_set), request.signed_before);
}

}  // namespace linchpin::cli
