// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/keys/memory_key_manager.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace linchpin::ca {

absl::StatusOr<x509::PrivateKey> MemoryKeyManager::Create(const std::string& name,
                                                          x509::KeyType type) {
  RETURN_IF_ERROR(CheckKeyName(name));
  ASSIGN_OR_RETURN(x509::PrivateKey key, x509::PrivateKey::Generate(type));
  base::MutexLock lock(mutex_);
  if (!keys_.emplace(name, key).second) {
    return absl::AlreadyExistsError(absl::StrCat("key ", name, " exists: it is kept"));
  }
  return key;
}

absl::Status MemoryKeyManager::Import(const std::string& name, const x509::PrivateKey& key) {
  RETURN_IF_ERROR(CheckKeyName(name));
  base::MutexLock lock(mutex_);
  const auto [there, is_new] = keys_.emplace(name, key);
  if (is_new || there->second.public_key() == key.public_key()) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat("key ", name, " exists: it is kept"));
}

absl::StatusOr<x509::PrivateKey> MemoryKeyManager::Open(const std::string& name) {
  RETURN_IF_ERROR(CheckKeyName(name));
  base::MutexLock lock(mutex_);
  const auto found = keys_.find(name);
  if (found == keys_.end()) return absl::NotFoundError(absl::StrCat("no key ", name));
  return found->second;
}

absl::Status MemoryKeyManager::Delete(const std::string& name) {
  RETURN_IF_ERROR(CheckKeyName(name));
  base::MutexLock lock(mutex_);
  if (keys_.erase(name) == 0) return absl::NotFoundError(absl::StrCat("no key ", name));
  return absl::OkStatus();
}

}  // namespace linchpin::ca
