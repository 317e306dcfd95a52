// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/mtls_context_service.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/server/newest_writer.h"
#include "rpc/status.h"

namespace linchpin::agent {
namespace {

class WatchStream final : public NewestWriter<v1::MtlsContexts>, public ConsumerSink {
 public:
  explicit WatchStream(ConsumerStreams& streams) : streams_(streams) {}

  void Begin(const grpc::CallbackServerContext& context, ca::v1::Evidence evidence,
             const std::shared_ptr<WatchStream>& self) {
    Keep(self);
    absl::StatusOr<ConsumerId> opened = streams_.Open(context, {evidence, ""}, self);
    if (!opened.ok()) return Close(opened.status());
    id_ = *std::move(opened);
  }
  void Send(std::shared_ptr<const v1::MtlsContexts> contexts) override {
    Write(std::move(contexts));
  }
  void End(const absl::Status& status) override { Close(status); }

 private:
  void Done() override {
    if (!id_.empty()) streams_.Close(id_);
  }

  ConsumerStreams& streams_;
  ConsumerId id_;  // empty: was not opened
};

}  // namespace

ContextService::ContextService(ConsumerStreams& streams, ReportThen report)
    : streams_(streams), report_(std::move(report)) {}

grpc::ServerWriteReactor<v1::MtlsContexts>* ContextService::Watch(
    grpc::CallbackServerContext* context, const v1::WatchRequest* request) {
  const auto stream = std::make_shared<WatchStream>(streams_);
  stream->Begin(*context, request->for_files() ? ca::v1::RELOADED : ca::v1::IN_FORCE, stream);
  return stream.get();
}

grpc::ServerUnaryReactor* ContextService::Report(grpc::CallbackServerContext* context,
                                                 const v1::ReportRequest* request,
                                                 v1::ReportResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto refuse = [reactor](const absl::Status& status) {
    reactor->Finish(rpc::ToGrpc(status));
    return reactor;
  };
  const std::string id = request->consumer_id();
  const absl::Status own = streams_.CheckIsOf(id, *context);
  if (!own.ok()) return refuse(own);
  if (request->verdicts_size() > kMaxVerdicts) {
    return refuse(absl::InvalidArgumentError(
        absl::StrCat("the report has ", request->verdicts_size(), " verdicts, at most ",
                     kMaxVerdicts, " are taken at once")));
  }
  {
    base::MutexLock lock(mutex_);
    if (!reporting_.insert(id).second) {
      return refuse(absl::ResourceExhaustedError(
          "the last report of this stream is not taken yet; send one at a time"));
    }
  }
  report_(*request, [this, id, reactor](const absl::Status& status) {
    {
      base::MutexLock lock(mutex_);
      reporting_.erase(id);
    }
    reactor->Finish(rpc::ToGrpc(status));
  });
  return reactor;
}

}  // namespace linchpin::agent
