// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The running calls of one gRPC server, or of one channel, by the peer that each runs with. When
// trust changes and a peer no longer passes, its calls end with PERMISSION_DENIED and the reason.
#pragma once

#include <grpc/grpc.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "sdk/internal/runtime.h"
#include "sdk/sdk_core.h"

namespace linchpin::tls {

using CallId = uint64_t;

// Any thread. A peer stays watched while calls run with it, and the last kMostIdle ones beyond
// that, so that not every unary call is judged from the start.
class CallGuard : public std::enable_shared_from_this<CallGuard> {
 public:
  static constexpr size_t kMostIdle = 64;

  struct Options {
    std::shared_ptr<Runtime> runtime;
    std::string identity;  // empty: the default
    trust::Direction direction = trust::Direction::kInbound;
    trust::Expect expect = trust::Expect::AnyAllowed();
  };

  explicit CallGuard(Options options) : options_(std::move(options)) {}
  ~CallGuard();

  // A client's handshake: judged now, counted, and watched from here on. What is not OK says why.
  absl::Status Meet(const trust::RawChain& chain);

  // `call` is kept alive until End(). Its peer is unknown yet: it ends if the peer of this guard's
  // last handshake no longer passes.
  CallId Begin(grpc_call* call);
  // The call runs with the peer that showed `chain`; it ends at once if that peer does not pass.
  void Bind(CallId id, const trust::RawChain& chain);
  void End(CallId id);

 private:
  struct Peer {
    ConnectionId watch = 0;
    std::set<CallId> calls;
    std::list<std::string>::iterator idle;  // valid while `calls` is empty
  };
  struct Call {
    grpc_call* call = nullptr;
    std::string peer;  // key; empty while unknown
  };
  struct Judged {
    trust::Verdict verdict;
    std::shared_ptr<const InForce> contexts;
    std::shared_ptr<const trust::MtlsContext> context;
    absl::Time at;
  };
  struct Refusal {
    trust::RawChain chain;
    std::string why;
  };

  absl::StatusOr<Judged> JudgeNow(const trust::RawChain& chain) const;
  // Sees to it that the allowed peer is among `peers_`.
  absl::Status Keep(const std::string& key, const trust::RawChain& chain, const Judged& judged);
  void NoLonger(const std::string& key, const trust::RawChain& chain, const std::string& why);
  void Attach(CallId id, const std::string& key);  // under the mutex
  std::vector<ConnectionId> TrimIdle();            // under the mutex
  void Unwatch(const std::vector<ConnectionId>& watches);
  void Cancel(CallId id, const std::string& why);

  const Options options_;
  base::Mutex mutex_;
  std::map<std::string, Peer> peers_;
  std::list<std::string> idle_;  // keys of peers without a call, the latest first
  std::map<CallId, Call> calls_;
  CallId next_id_ = 1;
  std::string latest_;              // key of the last handshake; empty on a server
  std::optional<Refusal> refused_;  // the peer of the last handshake no longer passes
};

}  // namespace linchpin::tls
