// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The agent's own API on its Unix socket: who calls is attested by the kernel's word, what it gets
// is decided by the core.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/attest/workload_attestor.h"
#include "agent/core/events.h"
#include "agent/server/exit_watcher.h"
#include "agent/server/sync_stream.h"
#include "agent/server/user_queues.h"
#include "agent/server/watch_stream.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "linchpin/agent/v1/mtls_context.grpc.pb.h"
#include "rpc/unix_listener.h"

namespace linchpin::agent {

class ContextService final : public v1::MtlsContextService::CallbackService {
 public:
  // Each holds its place until the core has taken its end, so that streams opened and dropped in
  // haste cannot fill the core's queue.
  static constexpr size_t kMaxStreams = 16384;
  static constexpr size_t kMaxStreamsOfUser = 1024;
  static constexpr int kMaxVerdicts = 1024;  // in a report
  // What attestation saw is good for a delivery that follows this soon. (Looking again just before
  // would make nothing safer: what was sent lies in the socket for whatever program reads there.)
  static constexpr absl::Duration kFresh = absl::Milliseconds(100);

  struct Parts {
    WorkloadAttestor& attestor;
    UserQueues& attesting;  // where attestation may block
    const base::Clock& clock;
    PostThen post;
    // Answers from the core's thread.
    std::function<void(v1::ReportRequest, std::function<void(absl::Status)>)> report;
  };
  // `parts` must outlive the service, and the service the server that it is registered with.
  explicit ContextService(Parts parts);
  ~ContextService() override;

  // Once, before the first call.
  void UseListener(const rpc::UnixListener* listener) { listener_ = listener; }

  grpc::ServerWriteReactor<v1::MtlsContexts>* Watch(grpc::CallbackServerContext* context,
                                                    const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* Report(grpc::CallbackServerContext* context,
                                   const v1::ReportRequest* request,
                                   v1::ReportResponse* response) override;

  // Any thread. Unless that was done a moment ago, attests again first: what was decided for
  // another program than the one that is there now is not sent.
  void Deliver(const std::string& consumer, std::shared_ptr<const v1::MtlsContexts> contexts);
  // Some registration asks for the program's hash; all are attested again when that begins.
  void WantHash(bool want);
  void EndAll(const absl::Status& status);

 private:
  using StreamPtr = std::shared_ptr<WatchStream>;

  void Post(Event event) { (void)parts_.post(std::move(event), nullptr); }
  bool TakePlace(uid_t uid);
  void LeavePlace(uid_t uid);
  StreamPtr Find(const std::string& id) const;
  std::map<std::string, StreamPtr> Streams() const;
  void Gone(const std::string& id);
  // In the user's queue. False if the stream was ended.
  bool Attest(const StreamPtr& stream);
  void SendOffered(const StreamPtr& stream, bool attest_first);

  const Parts parts_;
  const rpc::UnixListener* listener_ = nullptr;
  const std::string run_;  // begins the names of this run's streams
  std::atomic<bool> want_hash_ = false;
  mutable base::Mutex mutex_;
  uint64_t last_ = 0;
  std::map<std::string, StreamPtr> streams_;
  std::map<std::string, std::shared_ptr<const rpc::UnixPeer>> peers_;  // by stream
  std::set<std::string> reporting_;                                    // streams, one report each
  std::map<uid_t, size_t> places_of_user_;
  size_t places_ = 0;
  ExitWatcher exits_;
};

}  // namespace linchpin::agent
