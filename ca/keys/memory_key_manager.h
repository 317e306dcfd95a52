// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Keys that live as long as their process: for tests and the simulation.
#pragma once

#include <map>
#include <string>

#include "base/mutex.h"
#include "ca/keys/key_manager.h"

namespace linchpin::ca {

class MemoryKeyManager final : public KeyManager {
 public:
  absl::StatusOr<x509::PrivateKey> Create(const std::string& name, x509::KeyType type) override;
  absl::Status Import(const std::string& name, const x509::PrivateKey& key) override;
  absl::StatusOr<x509::PrivateKey> Open(const std::string& name) override;
  absl::Status Delete(const std::string& name) override;

 private:
  base::Mutex mutex_;
  std::map<std::string, x509::PrivateKey> keys_;
};

}  // namespace linchpin::ca
