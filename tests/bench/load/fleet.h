// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The Sync stream of a node that takes and acknowledges whatever comes.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "tests/bench/load/node.h"

namespace linchpin::bench {

// Any thread. Ends with its destruction, which waits until gRPC has let go of it.
class NodeStream final : private grpc::ClientBidiReactor<ca::v1::NodeMessage, ca::v1::CaMessage> {
 public:
  static std::unique_ptr<NodeStream> Open(const Node& node);
  ~NodeStream() override;

  // Once a revision of at least `revision` was acknowledged. The error that ended the stream;
  // DEADLINE_EXCEEDED.
  absl::Status WaitAcknowledged(uint64_t revision, absl::Duration most);
  // Of the last acknowledgement that was sent, by the monotonic clock.
  absl::Duration acknowledged_at() const;

 private:
  explicit NodeStream(std::shared_ptr<ca::v1::NodeService::Stub> stub) : stub_(std::move(stub)) {}
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  void WriteNext();  // with mutex_ held

  const std::shared_ptr<ca::v1::NodeService::Stub> stub_;
  grpc::ClientContext context_;
  ca::v1::CaMessage reading_;
  ca::v1::NodeMessage writing_;

  mutable base::Mutex mutex_;
  base::CondVar changed_;
  ca::v1::Ack held_;  // what the node holds
  uint64_t acknowledged_ = 0;
  absl::Duration acknowledged_at_;
  bool writing_now_ = false;
  bool broken_ = false;  // no write begins any more
  std::optional<absl::Status> end_;
};

}  // namespace linchpin::bench
