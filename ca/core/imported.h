// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Certificates that a root which is kept offline has made, looked at before any of them is taken:
// whole or not at all. We take issuers that are certified by a self-signed root itself; subject,
// serial number and lifetime are the root's to choose. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/profile.h"
#include "linchpin/state/v1/ca_state.pb.h"
#include "x509/certificate.h"

namespace linchpin::ca {

inline constexpr int kMostImported = 16;

struct ImportRules {
  const Profile& profile;
  std::vector<state::v1::AwaitedRecord> awaited;  // each of which must be there
  std::optional<x509::Certificate> root;          // which was to make them; none: it comes along
  x509::Chain others;  // authorities that are in use: no key or subject of theirs may come again
};

struct Imported {
  x509::Certificate root;
  std::map<std::string, x509::Certificate> issuers;  // by the pin's bytes: one for each awaited
};

// The key that a certificate is awaited for. DATA_LOSS: the record cannot be read.
absl::StatusOr<x509::PublicKey> KeyOfAwaited(const state::v1::AwaitedRecord& awaited);

// INVALID_ARGUMENT says which certificate is wrong, what of it, and what to do;
// FAILED_PRECONDITION: one is missing.
absl::StatusOr<Imported> CheckImport(const ImportRules& rules, const std::vector<std::string>& ders,
                                     absl::Time now);

// What an operator should know of a certificate that was taken; empty if nothing.
std::string ImportWarning(const Profile& profile, const x509::Certificate& issuer, absl::Time now);

}  // namespace linchpin::ca
