// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Keys as files: DIR/NAME.pem, PKCS#8, mode 0600, in a directory of mode 0700.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "ca/keys/key_manager.h"

namespace linchpin::ca {

class FileKeyManager final : public KeyManager {
 public:
  // Makes the directory, or sets its mode.
  static absl::StatusOr<std::unique_ptr<FileKeyManager>> Make(const std::string& directory);

  absl::StatusOr<x509::PrivateKey> Create(const std::string& name, x509::KeyType type) override;
  absl::Status Import(const std::string& name, const x509::PrivateKey& key) override;
  // FAILED_PRECONDITION: group or others may read the file; DATA_LOSS: no key in it.
  absl::StatusOr<x509::PrivateKey> Open(const std::string& name) override;
  absl::Status Delete(const std::string& name) override;

 private:
  explicit FileKeyManager(std::string directory) : directory_(std::move(directory)) {}
  std::string PathOf(const std::string& name) const;
  absl::Status Put(const std::string& name, const x509::PrivateKey& key);

  const std::string directory_;
  base::Mutex mutex_;  // one Create at a time
};

}  // namespace linchpin::ca
