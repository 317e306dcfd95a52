// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// When which certificate is asked for. Tries never end; a failure costs a certificate nothing.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "agent/core/certified.h"
#include "base/random.h"

namespace linchpin::agent {

// From 200 ms doubling to 5 s, to an eighth of what is left of the life if that is less (but never
// under 500 ms), or to 30 s where the answer was a refusal.
absl::Duration RetryDelay(int failures, bool refused, absl::Duration left, double fraction);

class RenewalSchedule {
 public:
  static constexpr size_t kMaxBatch = 256;

  // What is to be kept certified from now on; tries of others are forgotten.
  void SetWanted(std::set<std::string> identity_ids);
  const std::set<std::string>& wanted() const { return wanted_; }

  // Due now, the soonest to expire first (those without a certificate before all); at most
  // kMaxBatch.
  std::vector<std::string> Due(absl::Time now,
                               const std::map<std::string, CertifiedPtr>& certificates,
                               bool renewals, const trust::v1::TrustState& trust = {}) const;
  // When Due() will have something next.
  absl::Time Next(const std::map<std::string, CertifiedPtr>& certificates, bool renewals,
                  const trust::v1::TrustState& trust = {}) const;

  void Failed(const std::string& identity_id, bool refused, absl::Time now, absl::Duration left,
              base::Random& random);
  // What failed is not tried again before; the CA said so.
  void NotBefore(const std::string& identity_id, absl::Time at);
  void Succeeded(const std::string& identity_id) { tries_.erase(identity_id); }
  // Due whatever its renewal instant says: its registration or the trust has changed.
  void Hasten(const std::string& identity_id, absl::Time now);
  // The CA can be reached again: what failed is tried at once.
  void RetryAll(absl::Time now);
  int failures(const std::string& identity_id) const;

 private:
  struct Try {
    int failures = 0;
    absl::Time at;
  };
  absl::Time DueAt(const std::string& identity_id, const CertifiedPtr* certified, bool renewals,
                   const trust::v1::TrustState& trust) const;

  std::set<std::string> wanted_;
  std::map<std::string, Try> tries_;
};

}  // namespace linchpin::agent
