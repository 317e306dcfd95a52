// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One Watch call: holds the newest message until the reader takes it.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/attest/workload_attestor.h"
#include "base/mutex.h"
#include "linchpin/agent/v1/mtls_context.pb.h"

namespace linchpin::agent {

// Any thread. Lives until gRPC is done with it and nobody else holds it. A slow reader is given the
// newest message only, so memory is bounded by two of them.
class WatchStream final : public grpc::ServerWriteReactor<v1::MtlsContexts> {
 public:
  struct Parts {
    std::string id;
    PeerProcess peer;
    std::function<void()> done;  // last
  };
  explicit WatchStream(Parts parts) : parts_(std::move(parts)) {}

  const std::string& id() const { return parts_.id; }
  const PeerProcess& peer() const { return parts_.peer; }

  void Send(std::shared_ptr<const v1::MtlsContexts> message);
  void End(const absl::Status& status);  // after a message that is being written

  // What attestation saw last, and when (uptime); null before.
  struct Sight {
    std::shared_ptr<const Attested> attested;
    absl::Duration at;
  };
  void Saw(Sight sight);
  Sight seen() const;

  // Messages that are to be sent if the caller is still who it was. Whoever is told true looks, and
  // takes with TakeOffered() until that is null; an older one that was not taken is forgotten.
  bool Offer(std::shared_ptr<const v1::MtlsContexts> message);
  std::shared_ptr<const v1::MtlsContexts> TakeOffered();

 private:
  void OnWriteDone(bool ok) override;
  void OnCancel() override { End(absl::CancelledError("the reader has gone")); }
  void OnDone() override;
  void Next(base::MutexLock& lock);

  const Parts parts_;
  mutable base::Mutex mutex_;
  Sight seen_;
  std::shared_ptr<const v1::MtlsContexts> offered_;
  bool looking_ = false;
  std::shared_ptr<const v1::MtlsContexts> writing_;
  std::shared_ptr<const v1::MtlsContexts> waiting_;
  std::optional<absl::Status> end_;
  bool finished_ = false;
};

}  // namespace linchpin::agent
