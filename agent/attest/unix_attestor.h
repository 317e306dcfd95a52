// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// unix:uid:N, unix:user:NAME, unix:gid:N, unix:group:NAME, unix:path:/exe, unix:sha256:HEX.
//
// Uid and gid are those of the socket's credentials (gid: the effective group alone). The program
// is opened through /proc/PID/exe between two looks at the process, and hashed through that
// descriptor, so that neither a reused pid nor a file that was put in its place is taken for it.
// The path is a selector only while it names that very file here: a program that was deleted, or
// one of another mount namespace, has none. Of a script it is the interpreter that runs. Path and
// hash tell programs of one user apart; they do not hold against that user, who can load what he
// likes into a program that he starts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "absl/time/time.h"
#include "agent/attest/workload_attestor.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace linchpin::agent {

struct NameAnswer {
  std::optional<std::string> name;  // none: there is no such entry
  bool failed = false;              // it cannot be told now
};

// Names of users or groups, remembered for a while: name services can be slow, and can fail. While
// one fails, the last answer stands: nobody loses an identity for it. Any thread.
class NameCache {
 public:
  static constexpr size_t kMaxNames = 4096;
  // A user or group that is renamed has its old name for so long.
  static constexpr absl::Duration kNamesLast = absl::Seconds(10);

  NameCache(const base::Clock& clock, NameAnswer (*look_up)(uint32_t id));
  std::optional<std::string> NameOf(uint32_t id);
  // As above, without asking anybody; null: somebody has to be asked.
  std::optional<NameAnswer> Remembered(uint32_t id);

 private:
  struct Known {
    std::optional<std::string> name;
    absl::Duration until;
  };
  const base::Clock& clock_;
  NameAnswer (*const look_up_)(uint32_t id);
  base::Mutex mutex_;
  std::map<uint32_t, Known> names_;
};

// Whether a file that changed at `changed` has another time when it changes again: times are as
// coarse as a clock's tick, on some file systems two seconds.
bool HasSettled(absl::Time changed, absl::Time now);

class UnixAttestor final : public WorkloadAttestor {
 public:
  static constexpr size_t kMaxHashes = 4096;
  static constexpr int64_t kMaxHashedBytes = int64_t{512} << 20;

  // A program of more than `max_hashed_bytes` has no hash.
  explicit UnixAttestor(const base::Clock& clock = base::SystemClock(),
                        int64_t max_hashed_bytes = kMaxHashedBytes);

  absl::string_view Kind() const override { return "unix"; }
  absl::StatusOr<Attested> Attest(const PeerProcess& peer, bool want_hash) override;
  // Of a program whose path the kernel has at hand, without its hash, of a user and a group whose
  // names were asked for lately.
  std::optional<absl::StatusOr<Attested>> AttestAtOnce(const PeerProcess& peer,
                                                       bool want_hash) override;

 private:
  // Device, inode, size, and times of content and inode (ns): another content, another key.
  using FileKey = std::tuple<uint64_t, uint64_t, int64_t, int64_t, int64_t>;

  std::optional<std::string> HashOf(int fd, const PeerProcess& peer);

  const base::Clock& clock_;
  const int64_t max_hashed_bytes_;
  NameCache users_;
  NameCache groups_;
  base::Mutex mutex_;
  std::map<FileKey, std::string> hashes_;
};

}  // namespace linchpin::agent
