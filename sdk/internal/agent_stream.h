// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The gRPC client of the agent's MtlsContextService: one Watch and one Report at a time, answers as
// the core's events.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "linchpin/agent/v1/mtls_context.grpc.pb.h"
#include "sdk/sdk_core.h"

namespace linchpin::tls {

class AgentStream {
 public:
  using Sink = std::function<void(Event)>;  // from gRPC's threads and from Open()

  AgentStream(const std::string& socket, Sink sink);
  ~AgentStream();

  // One thread.
  void Open();
  void Report(const agent::v1::ReportRequest& request);
  // Cancels what is under way and waits for it; no event after that.
  void Shutdown();

 private:
  struct Shared;
  class Watcher;
  struct ReportCall;
  const std::shared_ptr<Shared> shared_;
  const std::unique_ptr<agent::v1::MtlsContextService::Stub> stub_;
};

}  // namespace linchpin::tls
