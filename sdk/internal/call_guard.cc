// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/internal/call_guard.h"

#include <utility>

#include "absl/strings/str_cat.h"
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

CallGuard::~CallGuard() {
  for (const auto& [key, peer] : peers_) options_.runtime->Unwatch(peer.watch);
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
  event::Judged count;
  count.reason = judged.verdict.reason();
  count.self_id = judged.context->id()->ToString();
  count.peer_id = verdict.peer_id;
  count.direction = options_.direction;
  options_.runtime->Judged(count);
  if (!verdict.allowed) {
    options_.runtime->NotifyRefused(options_.direction, verdict);
    return absl::UnauthenticatedError(verdict.ToString());
  }
  const std::string key = KeyOf(chain);
  RETURN_IF_ERROR(Keep(key, chain, judged));
  base::MutexLock lock(mutex_);
  latest_ = key;
  refused_.reset();
  return absl::OkStatus();
}

absl::Status CallGuard::Keep(const std::string& key, const trust::RawChain& chain,
                             const Judged& judged) {
  event::ConnectionOpened opened;
  opened.self_id = judged.context->id()->ToString();
  opened.chain = ChainToKeep(judged.verdict);
  opened.direction = options_.direction;
  opened.expect = options_.expect;
  opened.handshake_time = judged.at;
  opened.trust_digest = judged.contexts->decoded.trust_digest;
  std::vector<ConnectionId> surplus;
  {
    base::MutexLock lock(mutex_);
    if (peers_.contains(key)) return absl::OkStatus();
    // Under the mutex: the callback, which takes it, must find the entry.
    ASSIGN_OR_RETURN(
        const ConnectionId watch,
        options_.runtime->Watch(std::move(opened),
                                [weak = weak_from_this(), key, chain](const PeerVerdict& verdict) {
                                  const auto self = weak.lock();
                                  if (self) self->NoLonger(key, chain, verdict.ToString());
                                }));
    idle_.push_front(key);
    peers_[key] = {watch, {}, idle_.begin()};
    surplus = TrimIdle();
  }
  Unwatch(surplus);
  return absl::OkStatus();
}

CallId CallGuard::Begin(grpc_call* call) {
  grpc_call_ref(call);
  CallId id = 0;
  std::optional<Refusal> refused;
  {
    base::MutexLock lock(mutex_);
    id = next_id_++;
    calls_[id] = {call, {}};
    refused = refused_;
  }
  // The connection is still up; trust may have changed again in the peer's favour.
  if (refused && !Meet(refused->chain).ok()) Cancel(id, refused->why);
  return id;
}

void CallGuard::Bind(CallId id, const trust::RawChain& chain) {
  const std::string key = KeyOf(chain);
  {
    base::MutexLock lock(mutex_);
    if (peers_.contains(key)) return Attach(id, key);
  }
  const absl::StatusOr<Judged> judged = JudgeNow(chain);
  if (!judged.ok()) return Cancel(id, std::string(judged.status().message()));
  if (!judged->verdict.allowed) return Cancel(id, judged->verdict.ToString());
  const absl::Status kept = Keep(key, chain, *judged);
  if (!kept.ok()) return Cancel(id, std::string(kept.message()));
  {
    base::MutexLock lock(mutex_);
    if (peers_.contains(key)) return Attach(id, key);
  }
  Cancel(id, "the peer's trust changed while the call began: call again");
}

void CallGuard::Attach(CallId id, const std::string& key) {
  const auto call = calls_.find(id);
  if (call == calls_.end()) return;
  Peer& peer = peers_.at(key);
  if (peer.calls.empty()) idle_.erase(peer.idle);
  peer.calls.insert(id);
  call->second.peer = key;
}

void CallGuard::End(CallId id) {
  std::vector<ConnectionId> surplus;
  grpc_call* call = nullptr;
  {
    base::MutexLock lock(mutex_);
    const auto found = calls_.find(id);
    if (found == calls_.end()) return;
    call = found->second.call;
    const auto peer = peers_.find(found->second.peer);
    if (peer != peers_.end() && peer->second.calls.erase(id) > 0 && peer->second.calls.empty()) {
      idle_.push_front(peer->first);
      peer->second.idle = idle_.begin();
      surplus = TrimIdle();
    }
    calls_.erase(found);
  }
  grpc_call_unref(call);
  Unwatch(surplus);
}

std::vector<ConnectionId> CallGuard::TrimIdle() {
  std::vector<ConnectionId> surplus;
  while (idle_.size() > kMostIdle) {
    const auto peer = peers_.find(idle_.back());
    surplus.push_back(peer->second.watch);
    peers_.erase(peer);
    idle_.pop_back();
  }
  return surplus;
}

void CallGuard::Unwatch(const std::vector<ConnectionId>& watches) {
  for (const ConnectionId watch : watches) options_.runtime->Unwatch(watch);
}

void CallGuard::NoLonger(const std::string& key, const trust::RawChain& chain,
                         const std::string& why) {
  std::vector<grpc_call*> ending;
  ConnectionId watch = 0;
  {
    base::MutexLock lock(mutex_);
    const auto peer = peers_.find(key);
    if (peer == peers_.end()) return;
    watch = peer->second.watch;
    if (peer->second.calls.empty()) idle_.erase(peer->second.idle);
    peers_.erase(peer);
    const bool latest = key == latest_;
    if (latest) refused_ = Refusal{chain, why};
    for (const auto& [id, call] : calls_) {
      if (call.peer != key && !(latest && call.peer.empty())) continue;
      grpc_call_ref(call.call);
      ending.push_back(call.call);
    }
  }
  // Outside the mutex: ending a call may run its owner's callbacks, which end it here.
  for (grpc_call* call : ending) {
    EndCall(call, why);
    grpc_call_unref(call);
  }
  options_.runtime->Unwatch(watch);
}

void CallGuard::Cancel(CallId id, const std::string& why) {
  grpc_call* call = nullptr;
  {
    base::MutexLock lock(mutex_);
    const auto found = calls_.find(id);
    if (found == calls_.end()) return;
    call = found->second.call;
    grpc_call_ref(call);
  }
  EndCall(call, why);
  grpc_call_unref(call);
}

}  // namespace linchpin::tls
