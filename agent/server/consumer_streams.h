// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Streams of processes of this node, in whatever API: who may open one, who it is by the kernel's
// word, and that nothing is sent to another than the one for whom it was decided. What is sent is
// decided by the core; how an API says it is its sink's affair.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/attest/workload_attestor.h"
#include "agent/core/events.h"
#include "agent/server/exit_watcher.h"
#include "agent/server/sync_stream.h"
#include "agent/server/user_queues.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "rpc/unix_peer.h"

namespace linchpin::agent {

// One stream, as an API speaks it. Called from any thread, also before the call's handler returns.
class ConsumerSink {
 public:
  virtual ~ConsumerSink() = default;
  // The caller's complete contexts; whatever waits to be sent is replaced. Nothing is sent after
  // the end.
  virtual void Send(std::shared_ptr<const v1::MtlsContexts> contexts) = 0;
  // Whether Send() is short and waits for nobody. Otherwise it is called in the user's queue, never
  // in the core's thread.
  virtual bool SendsAtOnce() const { return true; }
  virtual void End(const absl::Status& status) = 0;  // may come more than once: the first counts
};

// Safe for concurrent use.
class ConsumerStreams {
 public:
  // Each holds its place until the core has taken its end, so that streams opened and dropped in
  // haste cannot fill the core's queue.
  static constexpr size_t kMaxStreams = 16384;
  static constexpr size_t kMaxStreamsOfUser = 1024;
  // What attestation saw is good for a delivery that follows this soon. (Looking again just before
  // would make nothing safer: what was sent lies in the socket for whatever program reads there.)
  static constexpr absl::Duration kFresh = absl::Milliseconds(100);

  struct Parts {
    WorkloadAttestor& attestor;
    UserQueues& attesting;  // where attestation may block
    const base::Clock& clock;
    PostThen post;
    // As `post`, but may be done with it at once, in the calling thread, which holds no lock.
    PostThen take;
    // As `post`, of what has begun and ends: taken however much waits.
    std::function<void(Event, std::function<void()> then)> end;
  };
  // `parts` must outlive this object, and this object the sinks and the server that calls it.
  explicit ConsumerStreams(Parts parts);
  ~ConsumerStreams();

  // What a stream carries of it, as event::ConsumerHolds says.
  struct Trust {
    ca::v1::Evidence evidence = ca::v1::NONE;
    std::string carries;
  };
  // Begins a stream of the process that calls: attests it and tells the core, which answers with
  // Deliver(). What can be done without waiting for anybody is done within. Returns its name. The
  // sink is kept until Close(), and ended if something fails later. RESOURCE_EXHAUSTED: too many.
  absl::StatusOr<ConsumerId> Open(std::shared_ptr<const rpc::UnixPeer> caller, Trust trust,
                                  std::shared_ptr<ConsumerSink> sink);
  // The call is over. Once for each Open() that succeeded. Hold no lock that a sink takes.
  void Close(const ConsumerId& id);

  // Any thread. Unless that was done a moment ago, attests again first: what was decided for
  // another program than the one that is there now is not sent.
  void Deliver(const ConsumerId& id, std::shared_ptr<const v1::MtlsContexts> contexts);
  // The core knows of this process, which has no stream here: it is told when it ends.
  void WatchExit(const ProcessId& process, std::shared_ptr<const rpc::UnixPeer> peer) {
    exits_.Watch(process, std::move(peer));
  }
  // The core has nothing for it.
  void End(const ConsumerId& id, const absl::Status& status);
  // What a process lets be known of the trust that it was given.
  struct News {
    // What it carries changed: this is the evidence that there can be of it from now on.
    std::optional<Trust> holds;
    // This delivery is in its hands, as far as its evidence goes.
    struct Delivery {
      uint64_t trust_epoch = 0;
      std::string trust_digest;
    };
    std::optional<Delivery> accepted;
  };
  // Tells the core, which calls `then` (may be null; in the user's queue) when it has taken all of
  // it: until then there is to be no more. An error: it may not have been told, so the stream has
  // to end, or what its process enforces would never be known.
  absl::Status Tell(const ConsumerId& id, const News& news, std::function<void()> then);
  // Nobody speaks for another process: whether the one that calls opened that stream. NOT_FOUND: no
  // such stream of this process.
  absl::Status CheckIsOf(const ConsumerId& id, const rpc::UnixPeer& caller) const;

  // Some registration asks for the program's hash; all are attested again when that begins.
  void WantHash(bool want);
  // Processes that were last seen in this group are looked at again.
  void AttestAgain(const std::string& group);
  void EndAll(const absl::Status& status);

 private:
  class Stream;
  using StreamPtr = std::shared_ptr<Stream>;

  bool TakePlace(uid_t uid);
  void LeavePlace(uid_t uid);
  StreamPtr Find(const ConsumerId& id) const;
  std::vector<StreamPtr> Streams() const;
  // What was seen may be null: look first, in the user's queue.
  void Begin(const StreamPtr& stream);
  void TellOfBeginning(const StreamPtr& stream);
  // In the user's queue. False if the stream was ended.
  bool Attest(const StreamPtr& stream);
  void LookAgain(const StreamPtr& stream);
  bool Saw(const StreamPtr& stream, absl::StatusOr<Attested> attested);
  bool IsFresh(const Stream& stream) const;
  // In the user's queue it is looked again where that was not done a moment ago.
  void SendOffered(const StreamPtr& stream, bool in_queue);

  const Parts parts_;
  const std::string run_;  // begins the names of this run's streams
  std::atomic<bool> want_hash_ = false;
  mutable base::Mutex mutex_;
  uint64_t last_ = 0;
  std::map<ConsumerId, StreamPtr> streams_;
  std::map<uid_t, size_t> places_of_user_;
  size_t places_ = 0;
  ExitWatcher exits_;
};

}  // namespace linchpin::agent
