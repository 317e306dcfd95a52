// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The agent's side of one Sync stream.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <deque>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "agent/core/actions.h"
#include "base/mutex.h"
#include "linchpin/ca/v1/node.grpc.pb.h"

namespace linchpin::agent {

// Hands an event to the core, and runs `then` (which may be empty) when the core has taken it. An
// error: it takes no more, and `then` is never run.
using PostThen = std::function<absl::Status(Event, std::function<void()> then)>;

// Any thread. The next message is read when the core has taken the last; one that it does not take
// ends the stream. Owns itself from Start() until `done`.
class SyncStream final : public grpc::ClientBidiReactor<ca::v1::NodeMessage, ca::v1::CaMessage> {
 public:
  static constexpr size_t kMaxQueued = 4096;  // messages to the CA; beyond, the stream is ended

  // Called in a gRPC thread, with what must be released in another: it holds the channel.
  using Done = std::function<void(std::shared_ptr<void> stream)>;
  // SyncOpened, SyncReceived and just one SyncClosed, last, are handed to `post`; then `done`.
  static std::shared_ptr<SyncStream> Start(std::shared_ptr<ca::v1::NodeService::Stub> stub,
                                           const action::OpenSync& open, PostThen post, Done done);
  void Send(ca::v1::NodeMessage message);
  void Cancel() { context_.TryCancel(); }

 private:
  SyncStream(std::shared_ptr<ca::v1::NodeService::Stub> stub, Ticket stream)
      : stub_(std::move(stub)), stream_(stream) {}
  void OnReadInitialMetadataDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void Opened();
  void ReadNext();

  const std::shared_ptr<ca::v1::NodeService::Stub> stub_;
  const Ticket stream_;
  PostThen post_;
  Done done_;
  std::shared_ptr<SyncStream> self_;
  grpc::ClientContext context_;
  ca::v1::CaMessage reading_;
  base::Mutex mutex_;
  bool opened_ = false;
  bool broken_ = false;
  std::deque<ca::v1::NodeMessage> queue_;  // the first is being written
};

}  // namespace linchpin::agent
