// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The agent's state on its disk: private/state.sealed, under the key in private/seal.key. A key
// beside its ciphertext protects copies of the state file alone.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "linchpin/state/v1/agent_state.pb.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {

// One thread.
class SealedState {
 public:
  static constexpr size_t kMaxBytes = 256 * 1024 * 1024;

  // `directory` is the data directory's private/, which exists. Makes a sealing key if there is
  // neither key nor state. PERMISSION_DENIED: others can read the key; DATA_LOSS: no key, or none
  // of a key's size, for a state that exists.
  static absl::StatusOr<SealedState> Open(const std::string& directory);

  // Nothing if none was ever saved. DATA_LOSS names the file: not sealed with this key, or damaged.
  absl::StatusOr<std::optional<state::v1::AgentState>> Load() const;
  // Durable on return; on failure the last state stays. RESOURCE_EXHAUSTED: disk full.
  absl::Status Save(const state::v1::AgentState& state) const;
  const std::string& path() const { return path_; }

 private:
  SealedState(std::string path, x509::SecretBytes key)
      : path_(std::move(path)), key_(std::move(key)) {}
  std::string path_;
  x509::SecretBytes key_;
};

// The key of a state that was opened in `directory`; errors as Open().
absl::StatusOr<x509::SecretBytes> ReadSealingKey(const std::string& directory);

// Renames the state (and its key) of `directory` to names that were not there before, so that a new
// state can begin and the old one be looked at. Returns the state's new name.
absl::StatusOr<std::string> MoveStateAside(const std::string& directory);

}  // namespace linchpin::agent
