// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// unix:uid:N, unix:user:NAME, unix:gid:N, unix:group:NAME, unix:path:/exe, unix:sha256:HEX.
//
// Uid and gid are those of the socket's credentials. The program is opened through /proc/PID/exe
// between two looks at the process, and hashed through that descriptor, so that neither a reused
// pid nor a file that was put in its place is taken for it. The path is a selector only while it
// names that very file here: a program that was deleted, or one of another mount namespace, has
// none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "agent/attest/workload_attestor.h"
#include "base/mutex.h"

namespace linchpin::agent {

class UnixAttestor final : public WorkloadAttestor {
 public:
  static constexpr size_t kMaxHashes = 4096;
  static constexpr int64_t kMaxHashedBytes = int64_t{4} << 30;  // a larger program has no hash

  absl::string_view Kind() const override { return "unix"; }
  absl::StatusOr<Attested> Attest(const PeerProcess& peer, bool want_hash) override;

 private:
  // Device, inode, size, and times of content and inode (ns): another content, another key.
  using FileKey = std::tuple<uint64_t, uint64_t, int64_t, int64_t, int64_t>;

  std::optional<std::string> HashOf(int fd);

  base::Mutex mutex_;
  std::map<FileKey, std::string> hashes_;
};

}  // namespace linchpin::agent
