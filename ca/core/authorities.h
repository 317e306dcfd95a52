// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Root and issuers as the store records them, and the trust state that they make. Pure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ca/core/registry.h"
#include "ca/store/store.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/trust_state.h"
#include "x509/certificate.h"

namespace linchpin::ca {

// The states of an authority: prepared -> active -> retiring -> retired; an issuer may be a backup.
inline constexpr char kPrepared[] = "prepared";
inline constexpr char kActive[] = "active";
inline constexpr char kBackup[] = "backup";
inline constexpr char kRetiring[] = "retiring";
inline constexpr char kRetired[] = "retired";

struct Authority {
  std::string record_key;  // of the store
  bool is_root = false;
  std::string state;
  x509::Certificate certificate;
  std::string key_name;                   // of the key manager
  std::optional<x509::Certificate> twin;  // of an issuer
  bool withheld = false;                  // nodes are not told of it: not yet, or not any more
  std::string canary = {};                // of one that is or was a backup: a leaf, DER
  absl::Time replace_from = absl::InfinitePast();   // with `until`: what it certified is to be
  absl::Time replace_until = absl::InfinitePast();  // renewed within; the infinite past: is not
};

// Immutable.
class Authorities {
 public:
  // DATA_LOSS names the record that cannot be read; FAILED_PRECONDITION unless there is just one
  // active issuer, under a root that is there too.
  static absl::StatusOr<Authorities> FromRegistry(const Registry& registry);

  const Authority& active() const { return all_[active_]; }
  const std::vector<Authority>& all() const {
    return all_;
  }  // roots, the active first; the active issuer; the others
  // The root above `issuer`; null if it is not here.
  const Authority* RootOf(const Authority& issuer) const;
  const Authority* FindIssuer(absl::string_view pin_bytes) const;  // null if none
  const Authority* Find(absl::string_view record_key) const;       // null if none
  // No leaf of an issuer lives longer. An issuer under an offline root may live for decades: its
  // leaves live `issuer_ttl` at most.
  absl::Duration LongestLeafOf(const Authority& issuer, absl::Duration issuer_ttl) const;
  absl::Duration LongestLeaf(absl::Duration issuer_ttl) const;  // of any issuer

 private:
  std::vector<Authority> all_;
  size_t active_ = 0;
};

// Is its key revoked, so that nobody takes what it signed?
bool IsDenied(const Registry& registry, const Authority& authority);

// The whole trust state as nodes are sent it; of the pin sets, those newer than `pin_set_version`
// and always the last.
trust::v1::TrustState TrustMessage(const Registry& registry, const Authorities& authorities,
                                   uint64_t pin_set_version);

// What the CA judges nodes with: its own roots, all its issuers, the revocations.
absl::StatusOr<std::shared_ptr<const trust::TrustState>> OwnTrust(const Registry& registry,
                                                                  const Authorities& authorities);

}  // namespace linchpin::ca
