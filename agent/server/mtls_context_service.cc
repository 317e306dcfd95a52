// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/mtls_context_service.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "rpc/status.h"

namespace linchpin::agent {
namespace {

// A call that ends at once.
class Refusal final : public grpc::ServerWriteReactor<v1::MtlsContexts> {
 public:
  explicit Refusal(const absl::Status& status) { Finish(rpc::ToGrpc(status)); }
  void OnDone() override { delete this; }
};

absl::Status Unknown() {
  return absl::UnauthenticatedError(
      "the process that calls cannot be told; call over the agent's own socket");
}

bool WasDecidedFor(const Attested& attested, const v1::MtlsContexts& contexts) {
  return std::equal(contexts.selectors().begin(), contexts.selectors().end(),
                    attested.selectors.begin(), attested.selectors.end());
}

PeerProcess ToProcess(const std::shared_ptr<const rpc::UnixPeer>& peer) {
  return {.pid = peer->pid(),
          .uid = peer->uid(),
          .gid = peer->gid(),
          .start_time = peer->start_time(),
          .is_alive = [peer] { return peer->IsAlive(); }};
}

}  // namespace

ContextService::ContextService(Parts parts)
    : parts_(std::move(parts)),
      run_(absl::BytesToHexString(base::RandomBytes(base::SystemRandom(), 6))),
      exits_([post = parts_.post](const std::string& process) {
        (void)post(event::ProcessExited{process}, nullptr);
      }) {}

ContextService::~ContextService() = default;

ContextService::StreamPtr ContextService::Find(const std::string& id) const {
  base::MutexLock lock(mutex_);
  const auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second;
}

std::map<std::string, ContextService::StreamPtr> ContextService::Streams() const {
  base::MutexLock lock(mutex_);
  return streams_;
}

grpc::ServerWriteReactor<v1::MtlsContexts>* ContextService::Watch(
    grpc::CallbackServerContext* context, const v1::WatchRequest*) {
  const std::shared_ptr<const rpc::UnixPeer> peer =
      listener_ == nullptr ? nullptr : listener_->PeerOf(*context);
  if (peer == nullptr) return new Refusal(Unknown());
  if (!TakePlace(peer->uid())) {
    return new Refusal(absl::ResourceExhaustedError(
        absl::StrCat("there are too many streams: at most ", kMaxStreams, " in all and ",
                     kMaxStreamsOfUser, " of one user (this is user ", peer->uid(), ")")));
  }
  base::MutexLock lock(mutex_);
  const std::string id = absl::StrCat(run_, "-", ++last_);
  auto stream = std::make_shared<WatchStream>(
      WatchStream::Parts{.id = id, .peer = ToProcess(peer), .done = [this, id] { Gone(id); }});
  streams_[id] = stream;
  peers_[id] = peer;
  lock.unlock();
  const absl::Status queued = parts_.attesting.Post(peer->uid(), [this, stream, peer] {
    if (Find(stream->id()) == nullptr || !Attest(stream)) return;
    const std::shared_ptr<const Attested> attested = stream->seen().attested;
    Post(event::ConsumerOpened{stream->id(), attested->process, attested->selectors});
    exits_.Watch(attested->process, peer);  // an exit is told after the beginning
    // The end that came meanwhile was told before the beginning.
    if (Find(stream->id()) == nullptr) Post(event::ConsumerClosed{stream->id()});
  });
  if (!queued.ok()) stream->End(queued);
  return stream.get();
}

bool ContextService::TakePlace(uid_t uid) {
  base::MutexLock lock(mutex_);
  const auto of_user = places_of_user_.find(uid);
  if (places_ >= kMaxStreams) return false;
  if (of_user != places_of_user_.end() && of_user->second >= kMaxStreamsOfUser) return false;
  ++places_;
  ++places_of_user_[uid];
  return true;
}

void ContextService::LeavePlace(uid_t uid) {
  base::MutexLock lock(mutex_);
  --places_;
  const auto of_user = places_of_user_.find(uid);
  if (--of_user->second == 0) places_of_user_.erase(of_user);
}

void ContextService::Gone(const std::string& id) {
  StreamPtr stream;  // destroyed last, outside the lock
  uid_t uid = 0;
  {
    base::MutexLock lock(mutex_);
    const auto it = streams_.find(id);
    if (it == streams_.end()) return;
    stream = std::move(it->second);
    uid = stream->peer().uid;
    streams_.erase(it);
    peers_.erase(id);
  }
  const absl::Status taken =
      parts_.post(event::ConsumerClosed{id}, [this, uid] { LeavePlace(uid); });
  if (!taken.ok()) LeavePlace(uid);
}

bool ContextService::Attest(const StreamPtr& stream) {
  absl::StatusOr<Attested> attested = parts_.attestor.Attest(stream->peer(), want_hash_);
  if (!attested.ok()) {
    stream->End(attested.status());
    return false;
  }
  const std::shared_ptr<const Attested> before = stream->seen().attested;
  const auto now = std::make_shared<const Attested>(*std::move(attested));
  stream->Saw({now, parts_.clock.Uptime()});
  if (before != nullptr && before->selectors != now->selectors) {
    const absl::Status told =
        parts_.post(event::ConsumerChanged{stream->id(), now->selectors}, nullptr);
    if (!told.ok()) {  // what is decided for the old ones will never be sent
      stream->End(told);
      return false;
    }
  }
  return true;
}

void ContextService::SendOffered(const StreamPtr& stream, bool attest_first) {
  while (const std::shared_ptr<const v1::MtlsContexts> contexts = stream->TakeOffered()) {
    if (attest_first && !Attest(stream)) return;
    const WatchStream::Sight seen = stream->seen();
    // Otherwise the core has been told, and decides anew.
    if (WasDecidedFor(*seen.attested, *contexts)) stream->Send(contexts);
  }
}

void ContextService::Deliver(const std::string& consumer,
                             std::shared_ptr<const v1::MtlsContexts> contexts) {
  const StreamPtr stream = Find(consumer);
  if (stream == nullptr || !stream->Offer(std::move(contexts))) return;
  const WatchStream::Sight seen = stream->seen();
  if (seen.attested != nullptr && parts_.clock.Uptime() - seen.at < kFresh &&
      stream->peer().is_alive()) {
    return SendOffered(stream, false);
  }
  const absl::Status queued =
      parts_.attesting.Post(stream->peer().uid, [this, stream] { SendOffered(stream, true); });
  if (!queued.ok()) stream->End(queued);
}

void ContextService::WantHash(bool want) {
  if (want_hash_.exchange(want) || !want) return;
  for (const auto& [id, stream] : Streams()) {
    const absl::Status queued =
        parts_.attesting.Post(stream->peer().uid, [this, stream = stream] { Attest(stream); });
    if (!queued.ok()) stream->End(queued);
  }
}

void ContextService::EndAll(const absl::Status& status) {
  for (const auto& [id, stream] : Streams()) stream->End(status);
}

grpc::ServerUnaryReactor* ContextService::Report(grpc::CallbackServerContext* context,
                                                 const v1::ReportRequest* request,
                                                 v1::ReportResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto refuse = [reactor](const absl::Status& status) {
    reactor->Finish(rpc::ToGrpc(status));
    return reactor;
  };
  const std::shared_ptr<const rpc::UnixPeer> peer =
      listener_ == nullptr ? nullptr : listener_->PeerOf(*context);
  if (peer == nullptr) return refuse(Unknown());
  if (request->verdicts_size() > kMaxVerdicts) {
    return refuse(absl::InvalidArgumentError(
        absl::StrCat("the report has ", request->verdicts_size(), " verdicts, at most ",
                     kMaxVerdicts, " are taken at once")));
  }
  const std::string id = request->consumer_id();
  {
    base::MutexLock lock(mutex_);
    const auto it = peers_.find(id);
    // Nobody speaks for another process.
    if (it == peers_.end() || it->second->pid() != peer->pid() ||
        it->second->start_time() != peer->start_time()) {
      return refuse(absl::NotFoundError(
          "the report names no stream of this process; use the consumer_id that Watch gave"));
    }
    if (!reporting_.insert(id).second) {
      return refuse(absl::ResourceExhaustedError(
          "the last report of this stream is not taken yet; send one at a time"));
    }
  }
  parts_.report(*request, [this, id, reactor](const absl::Status& status) {
    {
      base::MutexLock lock(mutex_);
      reporting_.erase(id);
    }
    reactor->Finish(rpc::ToGrpc(status));
  });
  return reactor;
}

}  // namespace linchpin::agent
