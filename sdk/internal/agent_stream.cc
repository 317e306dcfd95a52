// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/internal/agent_stream.h"

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <set>
#include <utility>

#include "base/mutex.h"
#include "linchpin/agent/v1/mtls_context.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace linchpin::tls {
namespace {
constexpr int kReportSeconds = 5;
}

// What calls under way hold. Not the stub: whoever drops the last reference to a channel joins
// gRPC's callback threads, so that must never be one of them. For the same reason a call's
// ClientContext, which refers to its channel, goes before the call is counted as ended.
struct AgentStream::Shared {
  Sink sink;
  base::Mutex mutex;
  base::CondVar idle;
  bool stopping = false;
  std::set<grpc::ClientContext*> calls;  // that may be cancelled
  int under_way = 0;

  bool Begin(grpc::ClientContext* call) {
    base::MutexLock lock(mutex);
    if (stopping) return false;
    calls.insert(call);
    ++under_way;
    return true;
  }
  void Emit(Event event) {
    {
      base::MutexLock lock(mutex);
      if (stopping) return;
    }
    sink(std::move(event));
  }
  void Forget(grpc::ClientContext* call) {
    base::MutexLock lock(mutex);
    calls.erase(call);
  }
  void End() {
    base::MutexLock lock(mutex);
    --under_way;
    idle.notify_all();
  }
};

class AgentStream::Watcher : public grpc::ClientReadReactor<agent::v1::MtlsContexts> {
 public:
  explicit Watcher(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  bool Start(agent::v1::MtlsContextService::Stub* stub) {
    if (!shared_->Begin(&context_)) return false;
    stub->async()->Watch(&context_, &request_, this);
    StartRead(&message_);
    StartCall();
    return true;
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    shared_->Emit(event::ContextsReceived{std::move(message_)});
    message_.Clear();
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    absl::Status why = rpc::FromGrpc(status);
    if (why.ok()) why = absl::UnavailableError("the agent has ended the stream");
    const std::shared_ptr<Shared> shared = shared_;
    shared->Emit(event::StreamLost{std::move(why)});
    shared->Forget(&context_);
    delete this;
    shared->End();
  }

 private:
  std::shared_ptr<Shared> shared_;
  grpc::ClientContext context_;
  agent::v1::WatchRequest request_;
  agent::v1::MtlsContexts message_;
};

struct AgentStream::ReportCall {
  grpc::ClientContext context;
  agent::v1::ReportRequest request;
  agent::v1::ReportResponse response;
};

AgentStream::AgentStream(const std::string& socket, Sink sink)
    : shared_(std::make_shared<Shared>()),
      stub_(agent::v1::MtlsContextService::NewStub(rpc::UnixChannel(socket))) {
  shared_->sink = std::move(sink);
}

AgentStream::~AgentStream() { Shutdown(); }

void AgentStream::Open() {
  auto watcher = std::make_unique<Watcher>(shared_);
  shared_->Emit(event::StreamOpened{});
  if (watcher->Start(stub_.get())) watcher.release();  // deletes itself when done
}

void AgentStream::Report(const agent::v1::ReportRequest& request) {
  auto call = std::make_shared<ReportCall>();
  call->request = request;
  call->context.set_deadline(gpr_time_from_seconds(kReportSeconds, GPR_TIMESPAN));
  if (!shared_->Begin(&call->context)) return;
  grpc::ClientContext* const context = &call->context;
  const agent::v1::ReportRequest* const sent = &call->request;
  agent::v1::ReportResponse* const response = &call->response;
  stub_->async()->Report(
      context, sent, response,
      [shared = shared_, call = std::move(call)](const grpc::Status& status) mutable {
        shared->Emit(event::ReportDone{rpc::FromGrpc(status)});
        shared->Forget(&call->context);
        call.reset();
        shared->End();
      });
}

void AgentStream::Shutdown() {
  base::MutexLock lock(shared_->mutex);
  shared_->stopping = true;
  for (grpc::ClientContext* call : shared_->calls) call->TryCancel();
  shared_->idle.wait(lock, [this] { return shared_->under_way == 0; });
}

}  // namespace linchpin::tls
