// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A CA's authorities and signers to draft pin sets from.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "cli/pins_draft.h"
#include "gtest/gtest.h"
#include "trust/pin_set.h"
#include "x509/key.h"

namespace linchpin::cli {

inline x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }

struct PinsWorld {
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  x509::PrivateKey root = NewKey();
  x509::PrivateKey active = NewKey();
  x509::PrivateKey backup = NewKey();
  x509::PrivateKey alice = NewKey();
  x509::PrivateKey bob = NewKey();
  ca::v1::Authorities authorities;
  DraftRequest request;

  PinsWorld() {
    authorities.set_trust_domain("example.org");
    Add("root", "active", root);
    Add("issuer", "active", active);
    Add("issuer", "backup", backup);
    request.changes.signers.emplace();
    request.changes.signers->add_keys(alice.public_key().spki());
    request.changes.signers->add_keys(bob.public_key().spki());
    request.changes.signers->set_threshold(2);
    request.proofs[backup.public_key().pin().bytes()] =
        *trust::ProvePossession(*trust::TrustDomain::FromName("example.org"), backup, now);
  }

  void Add(const std::string& kind, const std::string& state, const x509::PrivateKey& key) {
    ca::v1::Authority* authority = authorities.add_authorities();
    authority->set_kind(kind);
    authority->set_state(state);
    authority->set_subject("CN=" + kind + " " + state);
    authority->set_spki_sha256(key.public_key().pin().bytes());
    authority->set_not_after(1'900'000'000);
    authority->set_key_present(true);
  }

  PinSetDocument Draft() {
    absl::StatusOr<PinSetDocument> document = DraftPinSet(request, authorities, now);
    if (!document.ok()) ADD_FAILURE() << document.status();
    return *std::move(document);
  }
};

}  // namespace linchpin::cli
