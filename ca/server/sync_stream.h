// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One node's Sync stream: reads one message at a time, writes from a bounded queue. A node that
// does not read keeps nothing of ours for long: its call is cut off, which alone ends a write that
// its window holds up.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "ca/server/core_driver.h"
#include "linchpin/ca/v1/node.pb.h"

namespace linchpin::ca {

// Lives until gRPC and the driver have both let go of it.
class SyncStream final : public grpc::ServerBidiReactor<v1::NodeMessage, v1::CaMessage>,
                         public SessionSink {
 public:
  // Messages to a node that does not read. They are of 64 KiB at most, and most are small.
  static constexpr size_t kMaxQueued = 4096;
  static constexpr size_t kMaxQueuedBytes = size_t{64} << 20;
  // What is left to say to a node at the end, and how long it has to read it.
  static constexpr size_t kMaxLastWords = 8;
  static constexpr absl::Duration kLastWords = absl::Seconds(5);

  // For gRPC to own until OnDone().
  static SyncStream* Make(CoreDriver& driver, grpc::CallbackServerContext* context,
                          NodeCaller node);
  // A stream that ends at once.
  static SyncStream* Refuse(CoreDriver& driver, grpc::CallbackServerContext* context,
                            const absl::Status& status);

  void Send(std::shared_ptr<const v1::CaMessage> message) override;
  void Close(const absl::Status& status, bool at_once) override;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  SyncStream(CoreDriver& driver, grpc::CallbackServerContext* context, NodeCaller node)
      : driver_(driver), context_(context), node_(std::move(node)) {}
  void Close(const absl::Status& status) { Close(status, false); }
  void ReadNext();
  // With mutex_ held.
  void WriteNext();
  void End(const absl::Status& status, size_t most_words);
  void CutOff();

  CoreDriver& driver_;
  grpc::CallbackServerContext* const context_;  // gone after OnDone()
  const NodeCaller node_;
  std::shared_ptr<SyncStream> self_;  // gRPC's hold
  v1::NodeMessage incoming_;
  std::optional<SessionId> session_;  // set by the first message

  base::Mutex mutex_;
  std::deque<std::shared_ptr<const v1::CaMessage>> queue_;  // the first is being written
  size_t queued_bytes_ = 0;
  std::optional<absl::Status> ending_;
  bool finished_ = false;  // Finish() was called: nothing else may be
  bool done_ = false;
};

}  // namespace linchpin::ca
