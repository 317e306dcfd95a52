// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What users who are not trusted may send, and have held for them, on all their connections
// together. One thread.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstddef>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "rpc/http2_gate.h"

namespace linchpin::rpc {

class UserBudgets {
 public:
  static constexpr double kCallsAtOnce = 4096;
  static constexpr double kCallsASecond = 2048;
  static constexpr double kFramesAtOnce = 65536;
  static constexpr double kFramesASecond = 32768;
  static constexpr double kBytesAtOnce = size_t{64} << 20;
  static constexpr double kBytesASecond = size_t{16} << 20;
  // Messages that are not whole yet, or that their reader has not taken.
  static constexpr size_t kMostHeldOfUser = size_t{64} << 20;
  // Of all of them; one who holds little is let in all the same.
  static constexpr size_t kMostHeld = size_t{256} << 20;
  static constexpr size_t kLittle = size_t{1} << 20;

  // Of one who goes over it nothing is to be heard before FreeAt(): to hang up would hit whichever
  // of its processes called last.
  void Charge(uid_t uid, const Http2Gate::Verdict& verdict, size_t bytes, absl::Duration now) {
    Spent& spent = SpentBy(uid);
    spent.bytes.Charge(bytes, now);
    spent.calls.Charge(verdict.opened, now);
    spent.frames.Charge(verdict.frames, now);
  }
  void ChargeCall(uid_t uid, absl::Duration now) { SpentBy(uid).calls.Charge(1, now); }
  absl::Duration FreeAt(uid_t uid) {
    const Spent& spent = SpentBy(uid);
    return std::max({spent.calls.FreeAt(), spent.frames.FreeAt(), spent.bytes.FreeAt()});
  }

  // False: so many bytes more would be too many.
  bool Hold(uid_t uid, size_t bytes) {
    const auto found = held_.find(uid);
    const size_t of_user = (found == held_.end() ? 0 : found->second) + bytes;
    if (of_user > kMostHeldOfUser || (all_ + bytes > kMostHeld && of_user > kLittle)) return false;
    held_[uid] = of_user;
    all_ += bytes;
    return true;
  }
  void Free(uid_t uid, size_t bytes) {
    const auto of_user = held_.find(uid);
    if (of_user == held_.end()) return;
    all_ -= bytes;
    of_user->second -= bytes;
    if (of_user->second == 0) held_.erase(of_user);
  }

 private:
  static constexpr size_t kMaxUsersRemembered = 65536;

  struct Spent {
    Allowance calls{kCallsAtOnce, kCallsASecond};
    Allowance frames{kFramesAtOnce, kFramesASecond};
    Allowance bytes{kBytesAtOnce, kBytesASecond};
  };
  Spent& SpentBy(uid_t uid) {
    if (spent_.size() >= kMaxUsersRemembered && !spent_.contains(uid)) spent_.clear();
    return spent_[uid];
  }

  absl::flat_hash_map<uid_t, Spent> spent_;
  absl::flat_hash_map<uid_t, size_t> held_;
  size_t all_ = 0;
};

}  // namespace linchpin::rpc
