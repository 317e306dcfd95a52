// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/bench/load/pin_set_signing.h"

#include <string>
#include <utility>

#include "base/clock.h"
#include "base/status_macros.h"
#include "trust/pin_set.h"
#include "trust/pin_set_draft.h"

namespace linchpin::bench {

absl::StatusOr<PinSetSigning> PinSetSigning::Make() {
  std::vector<x509::PrivateKey> keys;
  for (int i = 0; i < 2; ++i) {
    ASSIGN_OR_RETURN(x509::PrivateKey key, x509::PrivateKey::Generate(x509::KeyType::kP256));
    keys.push_back(std::move(key));
  }
  return PinSetSigning(std::move(keys));
}

absl::StatusOr<ca::v1::PinSetPublished> PinSetSigning::PublishNext(AdminStub& admin) {
  ASSIGN_OR_RETURN(const ca::v1::Authorities authorities,
                   Call(admin, &AdminStub::GetAuthorities, ca::v1::GetAuthoritiesRequest()));
  std::vector<trust::KeyToPin> keys;
  for (const ca::v1::Authority& authority : authorities.authorities()) {
    const auto role = trust::PinRoleOf(authority.state());
    if (!role.has_value()) continue;
    trust::KeyToPin key{.is_root = authority.kind() == "root",
                        .spki_sha256 = authority.spki_sha256(),
                        .label = authority.subject(),
                        .role = *role};
    if (!key.is_root && *role == trust::v1::IssuerPin::BACKUP) {
      ca::v1::ProvePossessionRequest request;
      request.set_spki_sha256(authority.spki_sha256());
      ASSIGN_OR_RETURN(key.proof, Call(admin, &AdminStub::ProvePossession, request));
    }
    keys.push_back(std::move(key));
  }
  trust::v1::Signers signers;
  for (const x509::PrivateKey& key : keys_) signers.add_keys(key.public_key().spki());
  signers.set_threshold(2);
  ASSIGN_OR_RETURN(const trust::TrustDomain domain,
                   trust::TrustDomain::FromName(authorities.trust_domain()));
  ASSIGN_OR_RETURN(
      trust::DraftedPinSet draft,
      trust::DraftPinSet(domain, before_, keys, {.signers = signers}, base::SystemClock().Now()));
  trust::v1::SignedPinSet set;
  set.set_payload(draft.payload);
  for (const x509::PrivateKey& key : keys_) {
    *set.add_signatures() = trust::SignPinSet(draft.payload, key);
  }
  before_ = draft.set.message;
  return Call(admin, &AdminStub::PublishPinSet, set);
}

}  // namespace linchpin::bench
