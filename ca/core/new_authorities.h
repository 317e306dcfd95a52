// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Authorities that are to be made: certificates, twins and records, of keys that are at hand. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "ca/core/profile.h"
#include "ca/store/store.h"
#include "x509/certificate.h"
#include "x509/key.h"

namespace linchpin::ca {

struct NewAuthority {
  bool is_root = false;
  std::string state;
  std::string key_name;  // to be made, or taken up if a crash has left it
  // Of a key that stays where it was made: nothing but the certificate is made here.
  std::optional<x509::PublicKey> elsewhere = std::nullopt;
  // A root that is kept offline is to certify it: what is made is the record of the request...
  bool awaits = false;
  std::string request = {};  // ...which is this one, of a key that is elsewhere: DER
  // ...and then, with what the root made, everything else. It is a root itself: no key is here.
  std::optional<x509::Certificate> certified = std::nullopt;
};

// What is to be made, decided before its keys are.
struct AuthorityPlan {
  Profile profile;
  std::vector<NewAuthority> authorities;  // the others are under the root, which is the first
  // Where none of them is a root: the one that they are under.
  std::optional<x509::Certificate> root;
  std::string root_key_name;
  bool withheld = false;  // from the nodes, for now
  // Keys that were given to this CA, which are to be kept before anything else.
  std::map<std::string, x509::PrivateKey> given = {};
  uint64_t rotation = 0;  // that requests are for
};

// What agents will think of what an issuer under `root` signs, before any is given it.
// INVALID_ARGUMENT: they would refuse it, and why.
absl::Status JudgeUnderRoot(const Profile& profile, const x509::Certificate& root,
                            const x509::Certificate& issuer, const x509::Certificate& canary,
                            absl::Time now);

using KeysByName = std::map<std::string, x509::PrivateKey>;

// Their records, which expect that there are none of these keys yet. Each issuer comes with its
// twin: made now, while its key is at hand. FAILED_PRECONDITION: a key is missing;
// INVALID_ARGUMENT: what a root made could not be used, and why.
absl::StatusOr<std::vector<Write>> MakeAuthorities(const AuthorityPlan& plan,
                                                   const KeysByName& keys, absl::Time now,
                                                   base::Random& random);

// Of a first start: a root, the active and the backup issuer.
inline constexpr char kRootKeyName[] = "root-1";
inline constexpr char kActiveKeyName[] = "issuer-1";
inline constexpr char kBackupKeyName[] = "issuer-2-backup";
AuthorityPlan FirstAuthorities(const Profile& profile);
// The same where the root is kept offline: its issuers, which ask for their certificates.
AuthorityPlan FirstRequests(const Profile& profile);

// Keys of a first start, made before anything is stored.
struct FirstKeys {
  x509::PrivateKey root;
  x509::PrivateKey active;
  x509::PrivateKey backup;
};

// The first records of a store, one batch: meta, FirstAuthorities(), and trust epoch 1. Each
// expects that its key is not there yet.
absl::StatusOr<std::vector<Write>> FirstRecords(const Profile& profile, const FirstKeys& keys,
                                                absl::Time now, base::Random& random);
// The same of authorities that have been made.
std::vector<Write> FirstRecordsOf(const Profile& profile, std::vector<Write> made,
                                  base::Random& random);

}  // namespace linchpin::ca
