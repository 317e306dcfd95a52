// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/mtls_context_service.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace linchpin::agent {
namespace {

class WatchStream final : public ConsumerSink, public rpc::CallEvents {
 public:
  WatchStream(ConsumerStreams& streams, rpc::CallPtr call)
      : streams_(streams), call_(std::move(call)) {}

  static void Begin(const std::shared_ptr<WatchStream>& self, ca::v1::Evidence evidence) {
    self->call_->Follow(self);
    absl::StatusOr<ConsumerId> opened =
        self->streams_.Open(self->call_->peer(), {evidence, ""}, self);
    if (!opened.ok()) return self->End(opened.status());
    self->id_ = *std::move(opened);
  }
  void Send(std::shared_ptr<const v1::MtlsContexts> contexts) override {
    call_->Write(std::move(contexts));
  }
  void End(const absl::Status& status) override { call_->Finish(status); }

 private:
  void OnDone(bool) override {
    if (!id_.empty()) streams_.Close(id_);
  }

  ConsumerStreams& streams_;
  const rpc::CallPtr call_;
  ConsumerId id_;  // of the server's thread; empty: was not opened
};

}  // namespace

ContextService::ContextService(ConsumerStreams& streams, ReportThen report)
    : streams_(streams), report_(std::move(report)) {}

void ContextService::AddTo(rpc::LocalMethods& methods) {
  methods.Add<v1::WatchRequest>(
      "/linchpin.agent.v1.MtlsContextService/Watch",
      [this](const rpc::CallPtr& call, const auto& request) { Watch(call, request); });
  methods.Add<v1::ReportRequest>(
      "/linchpin.agent.v1.MtlsContextService/Report",
      [this](const rpc::CallPtr& call, const auto& request) { Report(call, request); },
      {.most_bytes = rpc::CallTerms::kLong});
}

void ContextService::Watch(const rpc::CallPtr& call, const v1::WatchRequest& request) {
  WatchStream::Begin(std::make_shared<WatchStream>(streams_, call),
                     request.for_files() ? ca::v1::RELOADED : ca::v1::IN_FORCE);
}

void ContextService::Report(const rpc::CallPtr& call, const v1::ReportRequest& request) {
  const std::string id = request.consumer_id();
  const absl::Status own = streams_.CheckIsOf(id, *call->peer());
  if (!own.ok()) return call->Finish(own);
  if (request.verdicts_size() > kMaxVerdicts) {
    return call->Finish(absl::InvalidArgumentError(
        absl::StrCat("the report has ", request.verdicts_size(), " verdicts, at most ",
                     kMaxVerdicts, " are taken at once")));
  }
  {
    base::MutexLock lock(mutex_);
    if (!reporting_.insert(id).second) {
      return call->Finish(absl::ResourceExhaustedError(
          "the last report of this stream is not taken yet; send one at a time"));
    }
  }
  report_(request, [this, id, call](const absl::Status& status) {
    {
      base::MutexLock lock(mutex_);
      reporting_.erase(id);
    }
    if (status.ok()) call->Write(std::make_shared<v1::ReportResponse>());
    call->Finish(status);
  });
}

}  // namespace linchpin::agent
