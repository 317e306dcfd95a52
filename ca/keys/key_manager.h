// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Where the CA's private keys live.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "x509/key.h"

namespace linchpin::ca {

// INVALID_ARGUMENT unless `name` may name a key.
absl::Status CheckKeyName(const std::string& name);

// Names are [a-z0-9-]{1,64}. Safe for concurrent use.
class KeyManager {
 public:
  virtual ~KeyManager() = default;
  // Durable on return. ALREADY_EXISTS never replaces a key.
  virtual absl::StatusOr<x509::PrivateKey> Create(const std::string& name, x509::KeyType type) = 0;
  // Takes over a key that was made elsewhere: a backup issuer's at a failover. Durable on return.
  // OK if just this key is there already; ALREADY_EXISTS never replaces another.
  virtual absl::Status Import(const std::string& name, const x509::PrivateKey& key) = 0;
  // NOT_FOUND: no such key here (it may be kept elsewhere on purpose).
  virtual absl::StatusOr<x509::PrivateKey> Open(const std::string& name) = 0;
  virtual absl::Status Delete(const std::string& name) = 0;
};

}  // namespace linchpin::ca
