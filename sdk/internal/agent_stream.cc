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

struct AgentStream::Shared {
  Sink sink;
  std::unique_ptr<agent::v1::MtlsContextService::Stub> stub;
  base::Mutex mutex;
  base::CondVar idle;
  bool stopping = false;
  std::set<grpc::ClientContext*> calls;  // under way

  bool Begin(grpc::ClientContext* call) {
    base::MutexLock lock(mutex);
    if (stopping) return false;
    calls.insert(call);
    return true;
  }
  void Emit(Event event) {
    {
      base::MutexLock lock(mutex);
      if (stopping) return;
    }
    sink(std::move(event));
  }
  // The last thing that a call does with this.
  void End(grpc::ClientContext* call, Event event) {
    Emit(std::move(event));
    base::MutexLock lock(mutex);
    calls.erase(call);
    idle.notify_all();
  }
};

class AgentStream::Watcher : public grpc::ClientReadReactor<agent::v1::MtlsContexts> {
 public:
  explicit Watcher(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

  bool Start() {
    if (!shared_->Begin(&context_)) return false;
    shared_->stub->async()->Watch(&context_, &request_, this);
    StartRead(&message_);
    StartCall();
    return true;
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    shared_->Emit(event::ContextsReceived{message_});
    message_.Clear();
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    absl::Status why = rpc::FromGrpc(status);
    if (why.ok()) why = absl::UnavailableError("the agent has ended the stream");
    shared_->End(&context_, event::StreamLost{std::move(why)});
    delete this;
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
    : shared_(std::make_shared<Shared>()) {
  shared_->sink = std::move(sink);
  shared_->stub = agent::v1::MtlsContextService::NewStub(rpc::UnixChannel(socket));
}

AgentStream::~AgentStream() { Shutdown(); }

void AgentStream::Open() {
  auto watcher = std::make_unique<Watcher>(shared_);
  shared_->Emit(event::StreamOpened{});
  if (watcher->Start()) watcher.release();  // deletes itself when done
}

void AgentStream::Report(const agent::v1::ReportRequest& request) {
  auto call = std::make_shared<ReportCall>();
  call->request = request;
  call->context.set_deadline(gpr_time_from_seconds(kReportSeconds, GPR_TIMESPAN));
  if (!shared_->Begin(&call->context)) return;
  shared_->stub->async()->Report(&call->context, &call->request, &call->response,
                                 [shared = shared_, call](const grpc::Status& status) {
                                   shared->End(&call->context,
                                               event::ReportDone{rpc::FromGrpc(status)});
                                 });
}

void AgentStream::Shutdown() {
  base::MutexLock lock(shared_->mutex);
  shared_->stopping = true;
  for (grpc::ClientContext* call : shared_->calls) call->TryCancel();
  shared_->idle.wait(lock, [this] { return shared_->calls.empty(); });
}

}  // namespace linchpin::tls
