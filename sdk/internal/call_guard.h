// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The running calls of one gRPC server, or of one channel, by the peer that each runs with. When
// trust changes and a peer no longer passes, its calls end with PERMISSION_DENIED and the reason.
#pragma once

#include <grpc/grpc.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sdk/internal/runtime.h"
#include "sdk/sdk_core.h"

namespace linchpin::tls {

using CallId = uint64_t;

// Any thread. A peer stays watched while calls run with it, and the last kMostIdle ones beyond
// that, so that not every unary call is judged from the start. Owned by what owns the server's or
// the channel's interceptors, never by what gRPC releases when it sees fit: it keeps the runtime.
class CallGuard {
 public:
  static constexpr size_t kMostIdle = 64;

  struct Options {
    LentRuntime runtime;
    std::string identity;  // empty: the default
    trust::Direction direction = trust::Direction::kInbound;
    trust::Expect expect = trust::Expect::AnyAllowed();
  };

  explicit CallGuard(Options options);
  ~CallGuard();
  CallGuard(const CallGuard&) = delete;

  // A client's handshake: judged now, counted, and watched from here on. What is not OK says why.
  absl::Status Meet(const trust::RawChain& chain);
  // Meet() for a caller that may outlive the guard, and is then refused.
  std::function<absl::Status(const trust::RawChain&)> Meeter();

  // `call` is kept alive until End(). Its peer is unknown yet: it ends if the peer of this guard's
  // last handshake no longer passes.
  CallId Begin(grpc_call* call);
  // The call runs with the peer that showed `chain`; it ends at once if that peer does not pass.
  void Bind(CallId id, const trust::RawChain& chain);
  void End(CallId id);

 private:
  struct State;
  struct Gate;
  struct Judged {
    trust::Verdict verdict;
    std::shared_ptr<const InForce> contexts;
    std::shared_ptr<const trust::MtlsContext> context;
    absl::Time at;
  };

  absl::StatusOr<Judged> JudgeNow(const trust::RawChain& chain) const;
  // Sees to it that the allowed peer is among those that are watched.
  absl::Status Keep(const std::string& key, const trust::RawChain& chain, const Judged& judged);
  void Forget(const std::vector<ConnectionId>& watches);
  void Cancel(CallId id, const std::string& why);

  const Options options_;
  const std::shared_ptr<State> state_;  // the callbacks' too
  const std::shared_ptr<Gate> gate_;
};

}  // namespace linchpin::tls
