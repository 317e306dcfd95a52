// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The agent's side of one Sync stream.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/async_stream.h>

#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "agent/core/actions.h"
#include "base/mutex.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/call_queue.h"

namespace linchpin::agent {

// Hands an event to the core, and runs `then` (which may be empty) when the core has taken it. An
// error: it takes no more, and `then` is never run.
using PostThen = std::function<absl::Status(Event, std::function<void()> then)>;

// Any thread. The next message is read when the core has taken the last; one that it does not take
// ends the stream. Owns itself from Start() until `done`.
class SyncStream final {
 public:
  static constexpr size_t kMaxQueued = 4096;  // messages to the CA; beyond, the stream is ended

  struct Parts {
    std::shared_ptr<ca::v1::NodeService::Stub> stub;
    rpc::CallQueue& queue;
    PostThen post;               // SyncOpened, SyncReceived and just one SyncClosed, last; then
    std::function<void()> done;  // in the queue's thread
  };
  static std::shared_ptr<SyncStream> Start(Parts parts, const action::OpenSync& open);
  void Send(ca::v1::NodeMessage message);
  void Cancel() { context_.TryCancel(); }

 private:
  SyncStream(Parts parts, Ticket stream) : parts_(std::move(parts)), stream_(stream) {}
  rpc::CallQueue::Told Then(void (SyncStream::*told)(bool ok));
  void OnStarted(bool ok);
  void OnOpened(bool ok);
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnEnd(bool ok);
  void TellOpened();
  void ReadNext();
  void WriteNext();
  void Break();

  const Parts parts_;
  const Ticket stream_;
  std::shared_ptr<SyncStream> self_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<ca::v1::NodeMessage, ca::v1::CaMessage>> call_;
  rpc::CallQueue::Told on_started_ = Then(&SyncStream::OnStarted);
  rpc::CallQueue::Told on_opened_ = Then(&SyncStream::OnOpened);
  rpc::CallQueue::Told on_read_ = Then(&SyncStream::OnRead);
  rpc::CallQueue::Told on_written_ = Then(&SyncStream::OnWritten);
  rpc::CallQueue::Told on_end_ = Then(&SyncStream::OnEnd);
  ca::v1::CaMessage reading_;
  grpc::Status status_;

  base::Mutex mutex_;
  bool started_ = false;
  bool writing_ = false;  // the first of the queue
  bool broken_ = false;
  std::deque<ca::v1::NodeMessage> queue_;
};

}  // namespace linchpin::agent
