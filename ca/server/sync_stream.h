// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One node's Sync stream: reads one message at a time, writes from a bounded queue.
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
  static constexpr size_t kMaxQueued = 4096;  // messages to a node that does not read

  // For gRPC to own until OnDone().
  static SyncStream* Make(CoreDriver& driver, NodeCaller node);
  // A stream that ends at once.
  static SyncStream* Refuse(CoreDriver& driver, const absl::Status& status);

  void Send(std::shared_ptr<const v1::CaMessage> message) override;
  void Close(const absl::Status& status) override;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  SyncStream(CoreDriver& driver, NodeCaller node) : driver_(driver), node_(std::move(node)) {}
  void ReadNext();
  void WriteNext();  // with mutex_ held

  CoreDriver& driver_;
  const NodeCaller node_;
  std::shared_ptr<SyncStream> self_;  // gRPC's hold
  v1::NodeMessage incoming_;
  std::optional<SessionId> session_;  // set by the first message

  base::Mutex mutex_;
  std::deque<std::shared_ptr<const v1::CaMessage>> queue_;  // the first is being written
  std::optional<absl::Status> ending_;
  bool finished_ = false;  // Finish() was called: nothing else may be
};

}  // namespace linchpin::ca
