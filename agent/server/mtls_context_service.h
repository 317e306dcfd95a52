// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The agent's own API: streams of MtlsContexts as they are, and what services report of them.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "agent/server/consumer_streams.h"
#include "base/mutex.h"
#include "linchpin/agent/v1/mtls_context.grpc.pb.h"

namespace linchpin::agent {

class ContextService final : public v1::MtlsContextService::CallbackService {
 public:
  static constexpr int kMaxVerdicts = 1024;  // in a report

  // Answers from the core's thread.
  using ReportThen = std::function<void(v1::ReportRequest, std::function<void(absl::Status)>)>;

  // `streams` must outlive the service, and the service the server that it is registered with.
  ContextService(ConsumerStreams& streams, ReportThen report);

  grpc::ServerWriteReactor<v1::MtlsContexts>* Watch(grpc::CallbackServerContext* context,
                                                    const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* Report(grpc::CallbackServerContext* context,
                                   const v1::ReportRequest* request,
                                   v1::ReportResponse* response) override;

 private:
  ConsumerStreams& streams_;
  const ReportThen report_;
  base::Mutex mutex_;
  std::set<std::string> reporting_;  // streams, one report each
};

}  // namespace linchpin::agent
