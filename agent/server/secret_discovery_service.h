// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Envoy's secret discovery on the agent's socket: what is said is agent/deliver/secret_stream.h's.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "agent/server/consumer_streams.h"
#include "base/clock.h"
#include "rpc/local_methods.h"
#include "trust/bundle.h"

namespace linchpin::agent {

// A caller without an identity waits for one, except FetchSecrets (PERMISSION_DENIED). A caller who
// does not read is not read from, and holds one response that is being written.
class SecretDiscoveryService {
 public:
  // Told of each response that a caller refused, with his reason, fit for a log. Any thread.
  using OnRefused = std::function<void(const ConsumerId& consumer, const std::string& why)>;

  struct Parts {
    ConsumerStreams& streams;
    const base::Clock& clock;
    trust::BundleKind bundle = trust::BundleKind::kPinned;
    OnRefused refused;
  };
  // `parts` must outlive the service.
  explicit SecretDiscoveryService(Parts parts);

  // StreamSecrets, DeltaSecrets, FetchSecrets. The service must outlive the server that is given
  // these methods.
  void AddTo(rpc::LocalMethods& methods);

 private:
  const Parts parts_;
};

}  // namespace linchpin::agent
