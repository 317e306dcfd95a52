// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The Sync stream of a node that acknowledges what comes. What is said of trust it verifies as an
// agent does, for itself alone.
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
#include "trust/trust_acceptance.h"

namespace linchpin::bench {

// Any thread. Ends with its destruction, which waits until gRPC has let go of it.
class NodeStream final : private grpc::ClientBidiReactor<ca::v1::NodeMessage, ca::v1::CaMessage> {
 public:
  static std::unique_ptr<NodeStream> Open(const Node& node);
  ~NodeStream() override;

  // Once a revision of at least `revision` was acknowledged. The error that ended the stream;
  // DEADLINE_EXCEEDED.
  absl::Status WaitAcknowledged(uint64_t revision, absl::Duration most);
  // The same of a trust epoch, which the node has accepted.
  absl::Status WaitHolds(uint64_t trust_epoch, absl::Duration most);
  // Of the last acknowledgement that was sent, by the monotonic clock.
  absl::Duration acknowledged_at() const;
  uint64_t messages() const;  // of the CA's, so far
  trust::TrustHeld trust() const;

 private:
  explicit NodeStream(const Node& node) : stub_(node.stub), trust_(node.trust) {}
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  // With mutex_ held.
  void WriteNext();
  void Accept(const trust::v1::TrustState& offered);

  absl::Status Wait(const uint64_t& acknowledged, uint64_t wanted, absl::Duration most);

  const std::shared_ptr<ca::v1::NodeService::Stub> stub_;
  grpc::ClientContext context_;
  ca::v1::CaMessage reading_;
  ca::v1::NodeMessage writing_;

  mutable base::Mutex mutex_;
  base::CondVar changed_;
  ca::v1::Ack held_;  // what the node holds
  trust::TrustHeld trust_;
  uint64_t messages_ = 0;
  uint64_t acknowledged_ = 0;        // revision
  uint64_t acknowledged_epoch_ = 0;  // of trust
  absl::Duration acknowledged_at_;
  bool writing_now_ = false;
  bool broken_ = false;  // no write begins any more
  std::optional<absl::Status> end_;
};

}  // namespace linchpin::bench
