// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/consumer_streams.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status_macros.h"

namespace linchpin::agent {
namespace {

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

// What is known of one, and what waits until somebody has looked at its process.
class ConsumerStreams::Stream {
 public:
  Stream(ConsumerId name, Trust carried, std::shared_ptr<const rpc::UnixPeer> caller,
         std::shared_ptr<ConsumerSink> to)
      : id(std::move(name)),
        trust(std::move(carried)),
        peer(std::move(caller)),
        process(ToProcess(peer)),
        sink(std::move(to)) {}

  const ConsumerId id;
  const Trust trust;
  const std::shared_ptr<const rpc::UnixPeer> peer;
  const PeerProcess process;
  const std::shared_ptr<ConsumerSink> sink;

  // What attestation saw last, and when (uptime); null before.
  struct Sight {
    std::shared_ptr<const Attested> attested;
    absl::Duration at;
  };
  void Saw(Sight sight) {
    base::MutexLock lock(mutex_);
    seen_ = std::move(sight);
  }
  Sight seen() const {
    base::MutexLock lock(mutex_);
    return seen_;
  }

  // Messages that are to be sent if the caller is still who it was. Whoever is told true looks, and
  // takes with TakeOffered() until that is null; an older one that was not taken is forgotten.
  bool Offer(std::shared_ptr<const v1::MtlsContexts> message) {
    base::MutexLock lock(mutex_);
    offered_ = std::move(message);
    return !std::exchange(looking_, true);
  }
  std::shared_ptr<const v1::MtlsContexts> TakeOffered() {
    base::MutexLock lock(mutex_);
    if (offered_ == nullptr) looking_ = false;
    return std::exchange(offered_, nullptr);
  }

 private:
  mutable base::Mutex mutex_;
  Sight seen_;
  std::shared_ptr<const v1::MtlsContexts> offered_;
  bool looking_ = false;
};

ConsumerStreams::ConsumerStreams(Parts parts)
    : parts_(std::move(parts)),
      run_(absl::BytesToHexString(base::RandomBytes(base::SystemRandom(), 6))),
      exits_([end = parts_.end](const std::string& process) {
        end(event::ProcessExited{process}, nullptr);
      }) {}

ConsumerStreams::~ConsumerStreams() = default;

ConsumerStreams::StreamPtr ConsumerStreams::Find(const ConsumerId& id) const {
  base::MutexLock lock(mutex_);
  const auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second;
}

std::vector<ConsumerStreams::StreamPtr> ConsumerStreams::Streams() const {
  base::MutexLock lock(mutex_);
  std::vector<StreamPtr> streams;
  streams.reserve(streams_.size());
  for (const auto& [id, stream] : streams_) streams.push_back(stream);
  return streams;
}

absl::StatusOr<ConsumerId> ConsumerStreams::Open(std::shared_ptr<const rpc::UnixPeer> peer,
                                                 Trust trust, std::shared_ptr<ConsumerSink> sink) {
  if (!TakePlace(peer->uid())) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are too many streams: at most ", kMaxStreams, " in all and ",
                     kMaxStreamsOfUser, " of one user (this is user ", peer->uid(), ")"));
  }
  StreamPtr stream;
  {
    base::MutexLock lock(mutex_);
    const ConsumerId id = absl::StrCat(run_, "-", ++last_);
    stream = std::make_shared<Stream>(id, std::move(trust), peer, std::move(sink));
    streams_[id] = stream;
  }
  const bool with_hash = want_hash_;
  base::Work work = [this, stream] { Begin(stream); };
  if (auto attested = parts_.attestor.AttestAtOnce(stream->process, with_hash)) {
    if (Saw(stream, *std::move(attested))) TellOfBeginning(stream);
    if (with_hash == want_hash_) return stream->id;
    work = [this, stream] { Attest(stream); };  // hashes were asked for meanwhile
  }
  const absl::Status queued = parts_.attesting.Post(peer->uid(), std::move(work));
  if (!queued.ok()) stream->sink->End(queued);
  return stream->id;
}

void ConsumerStreams::Begin(const StreamPtr& stream) {
  if (Find(stream->id) != nullptr && Attest(stream)) TellOfBeginning(stream);
}

void ConsumerStreams::TellOfBeginning(const StreamPtr& stream) {
  const std::shared_ptr<const Attested> attested = stream->seen().attested;
  const absl::Status taken =
      parts_.take(event::ConsumerOpened{stream->id, attested->process, attested->selectors,
                                        stream->trust.evidence, stream->trust.carries},
                  nullptr);
  if (!taken.ok()) return stream->sink->End(taken);
  exits_.Watch(attested->process, stream->peer);  // an exit is told after the beginning
  // Whoever looked meanwhile told of it before the beginning.
  const std::shared_ptr<const Attested> now = stream->seen().attested;
  if (now->selectors != attested->selectors) {
    (void)parts_.take(event::ConsumerChanged{stream->id, now->selectors}, nullptr);
  }
  // The end that came meanwhile was told before the beginning.
  if (Find(stream->id) == nullptr) {
    parts_.end(event::ConsumerClosed{stream->id}, nullptr);
  }
}

bool ConsumerStreams::TakePlace(uid_t uid) {
  base::MutexLock lock(mutex_);
  const auto of_user = places_of_user_.find(uid);
  if (places_ >= kMaxStreams) return false;
  if (of_user != places_of_user_.end() && of_user->second >= kMaxStreamsOfUser) return false;
  ++places_;
  ++places_of_user_[uid];
  return true;
}

void ConsumerStreams::LeavePlace(uid_t uid) {
  base::MutexLock lock(mutex_);
  --places_;
  const auto of_user = places_of_user_.find(uid);
  if (--of_user->second == 0) places_of_user_.erase(of_user);
}

void ConsumerStreams::Close(const ConsumerId& id) {
  StreamPtr stream;  // destroyed last, outside the lock
  {
    base::MutexLock lock(mutex_);
    const auto it = streams_.find(id);
    if (it == streams_.end()) return;
    stream = std::move(it->second);
    streams_.erase(it);
  }
  const uid_t uid = stream->process.uid;
  const auto leave = [this, uid] { LeavePlace(uid); };
  const absl::Status taken = parts_.take(event::ConsumerClosed{id}, leave);
  if (!taken.ok()) parts_.end(event::ConsumerClosed{id}, leave);
}

bool ConsumerStreams::Attest(const StreamPtr& stream) {
  return Saw(stream, parts_.attestor.Attest(stream->process, want_hash_));
}

bool ConsumerStreams::Saw(const StreamPtr& stream, absl::StatusOr<Attested> attested) {
  if (!attested.ok()) {
    stream->sink->End(attested.status());
    return false;
  }
  const std::shared_ptr<const Attested> before = stream->seen().attested;
  const auto now = std::make_shared<const Attested>(*std::move(attested));
  stream->Saw({now, parts_.clock.Uptime()});
  if (before != nullptr && before->selectors != now->selectors) {
    const absl::Status told =
        parts_.post(event::ConsumerChanged{stream->id, now->selectors}, nullptr);
    if (!told.ok()) {  // what is decided for the old ones will never be sent
      stream->sink->End(told);
      return false;
    }
  }
  return true;
}

bool ConsumerStreams::IsFresh(const Stream& stream) const {
  const Stream::Sight seen = stream.seen();
  return seen.attested != nullptr && parts_.clock.Uptime() - seen.at < kFresh &&
         stream.process.is_alive();
}

void ConsumerStreams::SendOffered(const StreamPtr& stream, bool in_queue) {
  while (const std::shared_ptr<const v1::MtlsContexts> contexts = stream->TakeOffered()) {
    if (in_queue && !IsFresh(*stream) && !Attest(stream)) return;
    // Otherwise the core has been told, and decides anew.
    if (WasDecidedFor(*stream->seen().attested, *contexts)) stream->sink->Send(contexts);
  }
}

void ConsumerStreams::Deliver(const ConsumerId& id,
                              std::shared_ptr<const v1::MtlsContexts> contexts) {
  const StreamPtr stream = Find(id);
  if (stream == nullptr || !stream->Offer(std::move(contexts))) return;
  if (stream->sink->SendsAtOnce() && IsFresh(*stream)) return SendOffered(stream, false);
  const absl::Status queued =
      parts_.attesting.Post(stream->process.uid, [this, stream] { SendOffered(stream, true); });
  if (!queued.ok()) stream->sink->End(queued);
}

absl::Status ConsumerStreams::Tell(const ConsumerId& id, const News& news,
                                   std::function<void()> then) {
  const StreamPtr stream = Find(id);
  if (stream == nullptr) return absl::OkStatus();  // it is over
  std::vector<Event> events;
  if (news.holds.has_value())
    events.push_back(event::ConsumerHolds{id, news.holds->evidence, news.holds->carries});
  if (news.accepted.has_value()) {
    v1::ReportRequest report;
    report.set_consumer_id(id);
    report.set_trust_epoch(news.accepted->trust_epoch);
    report.set_trust_digest(news.accepted->trust_digest);
    events.push_back(event::ConsumerReported{std::move(report)});
  }
  std::function<void()> taken;
  if (then != nullptr) {
    taken = [this, stream, then = std::move(then)] {
      const absl::Status queued = parts_.attesting.Post(stream->process.uid, then);
      if (!queued.ok()) stream->sink->End(queued);
    };
  }
  for (Event& event : events) {
    const bool last = &event == &events.back();
    RETURN_IF_ERROR(parts_.post(std::move(event), last ? taken : nullptr));
  }
  return absl::OkStatus();
}

absl::Status ConsumerStreams::CheckIsOf(const ConsumerId& id, const rpc::UnixPeer& caller) const {
  const StreamPtr stream = Find(id);
  if (stream == nullptr || stream->process.pid != caller.pid() ||
      stream->process.start_time != caller.start_time()) {
    return absl::NotFoundError(
        "the report names no stream of this process; use the consumer_id that Watch gave");
  }
  return absl::OkStatus();
}

void ConsumerStreams::WantHash(bool want) {
  if (want_hash_.exchange(want) || !want) return;
  for (const StreamPtr& stream : Streams()) LookAgain(stream);
}

void ConsumerStreams::AttestAgain(const std::string& group) {
  for (const StreamPtr& stream : Streams()) {
    const std::shared_ptr<const Attested> seen = stream->seen().attested;
    // One that is being looked at for the first time may have been seen just before the change.
    if (seen == nullptr || seen->group == group) LookAgain(stream);
  }
}

void ConsumerStreams::LookAgain(const StreamPtr& stream) {
  const absl::Status queued =
      parts_.attesting.Post(stream->process.uid, [this, stream] { Attest(stream); });
  if (!queued.ok()) stream->sink->End(queued);
}

void ConsumerStreams::End(const ConsumerId& id, const absl::Status& status) {
  const StreamPtr stream = Find(id);
  if (stream != nullptr) stream->sink->End(status);
}

void ConsumerStreams::EndAll(const absl::Status& status) {
  for (const StreamPtr& stream : Streams()) stream->sink->End(status);
}

}  // namespace linchpin::agent
