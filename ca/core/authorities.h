// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Root and issuers as the store records them, and the trust state that they make. Pure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "ca/core/profile.h"
#include "ca/core/registry.h"
#include "ca/store/store.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/trust_state.h"
#include "x509/certificate.h"
#include "x509/key.h"

namespace linchpin::ca {

// The states of an issuer; a root is active or retiring.
inline constexpr char kActive[] = "active";
inline constexpr char kBackup[] = "backup";
inline constexpr char kRetiring[] = "retiring";

struct Authority {
  bool is_root = false;
  std::string state;
  x509::Certificate certificate;
  std::string key_name;                   // of the key manager
  std::optional<x509::Certificate> twin;  // of an issuer
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
  }  // roots, the active issuer, the others
  // The root above `issuer`; null if it is not here.
  const Authority* RootOf(const Authority& issuer) const;
  const Authority* FindIssuer(absl::string_view pin_bytes) const;  // null if none

 private:
  std::vector<Authority> all_;
  size_t active_ = 0;
};

// The whole trust state as nodes are sent it; of the pin sets, those newer than `pin_set_version`
// and always the last.
trust::v1::TrustState TrustMessage(const Registry& registry, const Authorities& authorities,
                                   uint64_t pin_set_version);

// What the CA judges nodes with: its own roots, all its issuers, the revocations.
absl::StatusOr<std::shared_ptr<const trust::TrustState>> OwnTrust(const Registry& registry,
                                                                  const Authorities& authorities);

// Keys of a first start, made before anything is stored.
struct FirstKeys {
  x509::PrivateKey root;
  x509::PrivateKey active;
  x509::PrivateKey backup;
};
inline constexpr char kRootKeyName[] = "root-1";
inline constexpr char kActiveKeyName[] = "issuer-1";
inline constexpr char kBackupKeyName[] = "issuer-2-backup";

// The first records of a store, one batch: meta, the root, the active and the backup issuer with
// their twins, and trust epoch 1. Each expects that its key is not there yet.
absl::StatusOr<std::vector<Write>> FirstRecords(const Profile& profile, const FirstKeys& keys,
                                                absl::Time now, base::Random& random);

}  // namespace linchpin::ca
