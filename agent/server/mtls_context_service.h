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
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "rpc/local_methods.h"

namespace linchpin::agent {

class ContextService {
 public:
  static constexpr int kMaxVerdicts = 1024;  // in a report

  // Answers from the core's thread.
  using ReportThen = std::function<void(v1::ReportRequest, std::function<void(absl::Status)>)>;

  // `streams` must outlive the service.
  ContextService(ConsumerStreams& streams, ReportThen report);

  // The service must outlive the server that is given these methods.
  void AddTo(rpc::LocalMethods& methods);

 private:
  void Watch(const rpc::CallPtr& call, const v1::WatchRequest& request);
  void Report(const rpc::CallPtr& call, const v1::ReportRequest& request);

  ConsumerStreams& streams_;
  const ReportThen report_;
  base::Mutex mutex_;
  std::set<std::string> reporting_;  // streams, one report each
};

}  // namespace linchpin::agent
