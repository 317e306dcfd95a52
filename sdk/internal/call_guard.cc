// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/internal/call_guard.h"

#include <list>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "rpc/status.h"
#include "x509/digest.h"

namespace linchpin::tls {
namespace {

std::string KeyOf(const trust::RawChain& chain) {
  x509::FieldHasher hasher("linchpin guarded peer v1");
  for (const std::string& certificate : chain) hasher.Add(certificate);
  return hasher.Finish();
}

// Unlike TryCancel() of a context, this needs no context that is still there, and says why.
void EndCall(grpc_call* call, const std::string& why) {
  const grpc::Status status = rpc::ToGrpc(absl::PermissionDeniedError(why));
  grpc_call_cancel_with_status(call, GRPC_STATUS_PERMISSION_DENIED, status.error_message().c_str(),
                               nullptr);
}

}  // namespace

// Without the runtime, so that its own thread, which calls NoLonger(), never holds it.
struct CallGuard::State {
  struct Peer {
    ConnectionId watch = 0;
    std::set<CallId> calls;
    std::list<std::string>::iterator idle;  // valid while `calls` is empty
  };
  struct Call {
    grpc_call* call = nullptr;
    std::string peer;  // key; empty while unknown
  };
  struct Refusal {
    trust::RawChain chain;
    std::string why;
  };

  void NoLonger(const std::string& key, const trust::RawChain& chain, const std::string& why);
  // Under the mutex.
  bool Attach(CallId id, const std::string& key);
  std::vector<ConnectionId> TakeSurplus();

  base::Mutex mutex;
  std::map<std::string, Peer> peers;
  std::list<std::string> idle;  // keys of peers without a call, the latest first
  std::map<CallId, Call> calls;
  CallId next_id = 1;
  std::vector<ConnectionId> spent;  // watches that have been answered
  std::string latest;               // key of the last handshake; empty on a server
  std::optional<Refusal> refused;   // the peer of the last handshake no longer passes
};

struct CallGuard::Gate {
  base::Mutex mutex;
  CallGuard* guard = nullptr;  // null once it is gone
};

CallGuard::CallGuard(Options options)
    : options_(std::move(options)),
      state_(std::make_shared<State>()),
      gate_(std::make_shared<Gate>()) {
  gate_->guard = this;
}

CallGuard::~CallGuard() {
  {
    base::MutexLock lock(gate_->mutex);
    gate_->guard = nullptr;
  }
  std::vector<ConnectionId> watches;
  {
    base::MutexLock lock(state_->mutex);
    watches = std::move(state_->spent);
    for (const auto& [key, peer] : state_->peers) watches.push_back(peer.watch);
  }
  Forget(watches);
}

std::function<absl::Status(const trust::RawChain&)> CallGuard::Meeter() {
  return [gate = gate_](const trust::RawChain& chain) -> absl::Status {
    base::MutexLock lock(gate->mutex);
    if (gate->guard == nullptr) return absl::CancelledError("the channel is being closed");
    return gate->guard->Meet(chain);
  };
}

absl::StatusOr<CallGuard::Judged> CallGuard::JudgeNow(const trust::RawChain& chain) const {
  Judged judged;
  judged.contexts = options_.runtime->Snapshot();
  if (judged.contexts != nullptr) judged.context = judged.contexts->Find(options_.identity);
  if (judged.context == nullptr || !judged.context->id()) {
    return absl::UnavailableError(
        absl::StrCat("NO_CONTEXT: the agent has delivered no identity ", options_.identity));
  }
  judged.at = options_.runtime->Now();
  judged.verdict = trust::Judge(chain, *judged.context, options_.direction, options_.expect,
                                judged.at, options_.runtime->memo());
  return judged;
}

absl::Status CallGuard::Meet(const trust::RawChain& chain) {
  ASSIGN_OR_RETURN(const Judged judged, JudgeNow(chain));
  const PeerVerdict verdict = ToPeerVerdict(judged.verdict);
  options_.runtime->Judged({.reason = judged.verdict.reason(),
                            .self_id = judged.context->id()->ToString(),
                            .peer_id = verdict.peer_id,
                            .direction = options_.direction});
  if (!verdict.allowed) {
    options_.runtime->NotifyRefused(options_.direction, verdict);
    return absl::UnauthenticatedError(verdict.ToString());
  }
  const std::string key = KeyOf(chain);
  RETURN_IF_ERROR(Keep(key, chain, judged));
  base::MutexLock lock(state_->mutex);
  state_->latest = key;
  state_->refused.reset();
  return absl::OkStatus();
}

absl::Status CallGuard::Keep(const std::string& key, const trust::RawChain& chain,
                             const Judged& judged) {
  event::ConnectionOpened opened;
  opened.self_id = judged.context->id()->ToString();
  opened.context = judged.context;
  opened.chain = ChainToKeep(judged.verdict);
  opened.direction = options_.direction;
  opened.expect = options_.expect;
  opened.handshake_time = judged.at;
  opened.trust_digest = judged.contexts->decoded.trust_digest;
  std::vector<ConnectionId> surplus;
  {
    base::MutexLock lock(state_->mutex);
    if (state_->peers.contains(key)) return absl::OkStatus();
    // Under the mutex: the callback, which takes it, must find the entry.
    ASSIGN_OR_RETURN(const ConnectionId watch,
                     options_.runtime->Watch(std::move(opened),
                                             [state = state_, key, chain](const PeerVerdict& v) {
                                               state->NoLonger(key, chain, v.ToString());
                                             }));
    state_->idle.push_front(key);
    state_->peers[key] = {watch, {}, state_->idle.begin()};
    surplus = state_->TakeSurplus();
  }
  Forget(surplus);
  return absl::OkStatus();
}

CallId CallGuard::Begin(grpc_call* call) {
  grpc_call_ref(call);
  CallId id = 0;
  std::optional<State::Refusal> refused;
  {
    base::MutexLock lock(state_->mutex);
    id = state_->next_id++;
    state_->calls[id] = {call, {}};
    refused = state_->refused;
  }
  // The connection is still up; trust may have changed again in the peer's favour.
  if (refused && !Meet(refused->chain).ok()) Cancel(id, refused->why);
  return id;
}

void CallGuard::Bind(CallId id, const trust::RawChain& chain) {
  const std::string key = KeyOf(chain);
  {
    base::MutexLock lock(state_->mutex);
    if (state_->Attach(id, key)) return;
  }
  const absl::StatusOr<Judged> judged = JudgeNow(chain);
  if (!judged.ok()) return Cancel(id, std::string(judged.status().message()));
  if (!judged->verdict.allowed) return Cancel(id, judged->verdict.ToString());
  const absl::Status kept = Keep(key, chain, *judged);
  if (!kept.ok()) return Cancel(id, std::string(kept.message()));
  {
    base::MutexLock lock(state_->mutex);
    if (state_->Attach(id, key)) return;
  }
  Cancel(id, "the peer's trust changed while the call began: call again");
}

void CallGuard::End(CallId id) {
  std::vector<ConnectionId> surplus;
  grpc_call* call = nullptr;
  {
    base::MutexLock lock(state_->mutex);
    const auto found = state_->calls.find(id);
    if (found == state_->calls.end()) return;
    call = found->second.call;
    const auto peer = state_->peers.find(found->second.peer);
    if (peer != state_->peers.end() && peer->second.calls.erase(id) > 0 &&
        peer->second.calls.empty()) {
      state_->idle.push_front(peer->first);
      peer->second.idle = state_->idle.begin();
    }
    state_->calls.erase(found);
    surplus = state_->TakeSurplus();
  }
  grpc_call_unref(call);
  Forget(surplus);
}

void CallGuard::Forget(const std::vector<ConnectionId>& watches) {
  for (const ConnectionId watch : watches) options_.runtime->Forget(watch);
}

void CallGuard::Cancel(CallId id, const std::string& why) {
  grpc_call* call = nullptr;
  {
    base::MutexLock lock(state_->mutex);
    const auto found = state_->calls.find(id);
    if (found == state_->calls.end()) return;
    call = found->second.call;
    grpc_call_ref(call);
  }
  EndCall(call, why);
  grpc_call_unref(call);
}

bool CallGuard::State::Attach(CallId id, const std::string& key) {
  const auto call = calls.find(id);
  const auto peer = peers.find(key);
  if (peer == peers.end() || call == calls.end()) return false;
  if (peer->second.calls.empty()) idle.erase(peer->second.idle);
  peer->second.calls.insert(id);
  call->second.peer = key;
  return true;
}

std::vector<ConnectionId> CallGuard::State::TakeSurplus() {
  std::vector<ConnectionId> surplus = std::exchange(spent, {});
  while (idle.size() > kMostIdle) {
    const auto peer = peers.find(idle.back());
    surplus.push_back(peer->second.watch);
    peers.erase(peer);
    idle.pop_back();
  }
  return surplus;
}

void CallGuard::State::NoLonger(const std::string& key, const trust::RawChain& chain,
                                const std::string& why) {
  std::vector<grpc_call*> ending;
  {
    base::MutexLock lock(mutex);
    const auto peer = peers.find(key);
    if (peer == peers.end()) return;
    spent.push_back(peer->second.watch);
    if (peer->second.calls.empty()) idle.erase(peer->second.idle);
    peers.erase(peer);
    const bool is_latest = key == latest;
    if (is_latest) refused = Refusal{chain, why};
    for (const auto& [id, call] : calls) {
      if (call.peer != key && !(is_latest && call.peer.empty())) continue;
      grpc_call_ref(call.call);
      ending.push_back(call.call);
    }
  }
  // Outside the mutex: ending a call may run its owner's callbacks, which end it here.
  for (grpc_call* call : ending) {
    EndCall(call, why);
    grpc_call_unref(call);
  }
}

}  // namespace linchpin::tls
