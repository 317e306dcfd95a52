// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The SPIFFE Workload API on the agent's socket: its X.509 profile. What is said, and when:
// agent/deliver/workload_messages.h. https://github.com/spiffe/spiffe/tree/main/standards
#pragma once

#include <string>

#include "agent/server/consumer_streams.h"
#include "base/clock.h"
#include "rpc/local_methods.h"
#include "trust/bundle.h"

namespace linchpin::agent {

class WorkloadApiService {
 public:
  struct Options {
    std::string trust_domain;
    trust::BundleKind bundle = trust::BundleKind::kPinned;
  };
  // `streams` and `clock` must outlive the service.
  WorkloadApiService(ConsumerStreams& streams, const base::Clock& clock, Options options);

  // FetchX509SVID and FetchX509Bundles; what gives out JWT-SVIDs is UNIMPLEMENTED. Every call needs
  // the security header, else INVALID_ARGUMENT: a service that is tricked into fetching a URL
  // cannot send it (SPIFFE Workload Endpoint, 4: "'workload.spiffe.io' … 'true'"). The service must
  // outlive the server that is given these methods.
  void AddTo(rpc::LocalMethods& methods);

 private:
  template <typename Request, typename Response>
  void AddFetch(const std::string& method, rpc::LocalMethods& methods);

  ConsumerStreams& streams_;
  const base::Clock& clock_;
  const Options options_;
};

}  // namespace linchpin::agent
