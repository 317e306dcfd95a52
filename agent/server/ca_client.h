// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The agent's calls to the CA: each of the core's actions that goes there becomes a call, each
// answer an event. Decides nothing.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "agent/core/actions.h"
#include "agent/server/sync_stream.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/run_loop.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/call_queue.h"

namespace linchpin::agent {

// Do() on the core's thread; events are posted from any.
class CaClient {
 public:
  struct Parts {
    std::string address;
    // Adds what the node proves itself by; asked at each attempt.
    std::function<absl::Status(ca::v1::AttestRequest*)> evidence;
    const base::Clock& clock;
    base::RunLoop& worker;  // where keys are made
    PostThen post;
  };
  explicit CaClient(Parts parts) : parts_(std::move(parts)) {}
  // Cancels what is under way and waits for its end; `worker` must not run any more.
  ~CaClient();
  CaClient(const CaClient&) = delete;

  void Do(const action::FirstContact& action);
  void Do(const action::Attest& action);
  void Do(const action::RenewNode& action);
  void Do(const action::UseNodeIdentity& action);
  void Do(const action::Issue& action);
  void Do(const action::OpenSync& action);
  void Do(const action::CloseSync& action);
  void Do(const action::SendAck& action);
  void Do(const action::SendVerdicts& action);

 private:
  using StubPtr = std::shared_ptr<ca::v1::NodeService::Stub>;
  template <typename Request, typename Response>
  struct Call;
  template <typename Request, typename Response, typename Method>
  void Start(const StubPtr& stub, Method method, const Request& request,
             std::function<void(absl::StatusOr<Response>)> done);
  void Post(Event event) { (void)parts_.post(std::move(event), nullptr); }
  void Begun(grpc::ClientContext* context);  // null: a stream
  void Ended(grpc::ClientContext* context);
  void Work(base::Work work, std::function<void(const absl::Status&)> otherwise);

  const Parts parts_;
  StubPtr stub_;  // over the channel with the identity in use
  std::shared_ptr<SyncStream> stream_;
  Ticket stream_ticket_ = 0;

  base::Mutex mutex_;
  base::CondVar ended_;
  bool closing_ = false;
  size_t under_way_ = 0;  // calls and streams that gRPC still knows
  std::set<grpc::ClientContext*> calls_;

  rpc::CallQueue queue_;  // ends first
};

}  // namespace linchpin::agent
