// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Projected service-account tokens as evidence: the cluster's API server says whether one is good
// now (a pod that was deleted has none that is), for whom, and on which node.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/run_loop.h"
#include "ca/attest/node_verifier.h"
#include "kube/api.h"

namespace linchpin::ca {

class KubernetesVerifier final : public NodeVerifier {
 public:
  static constexpr size_t kMaxToken = 16 * 1024;
  static constexpr int kThreads = 2;
  static constexpr int kMaxWaiting = 256;                            // tokens; of strangers, too
  static constexpr absl::Duration kLongestWait = absl::Seconds(10);  // then nobody is asked

  struct Options {
    std::string cluster;
    std::string audience;
    std::string agent_namespace;
    std::string agent_account;
  };
  KubernetesVerifier(Options options, std::unique_ptr<kube::Api> api);
  ~KubernetesVerifier() override;  // what waits is answered

  bool Handles(const v1::AttestRequest& request) const override;
  // The claim is answered in a thread of the verifier's own. PERMISSION_DENIED: another cluster,
  // audience or account, or a token that the API server refuses. UNAVAILABLE: it cannot be asked.
  void Verify(const v1::AttestRequest& request, Done done) override;

 private:
  struct Thread {
    base::RunLoop loop{base::SystemClock()};
    std::thread thread{[this] { loop.Run(); }};
  };
  absl::StatusOr<NodeClaim> Review(const std::string& token);

  const Options options_;
  const std::unique_ptr<kube::Api> api_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> waiting_ = 0;
  std::atomic<unsigned> turn_ = 0;
  std::vector<std::unique_ptr<Thread>> threads_;
};

// What a token says of itself, before anybody is asked whether it is true: those that cannot be
// good are refused here, at no cost to the API server. Pure.
absl::Status LookAtToken(const std::string& token, const KubernetesVerifier::Options& options);

}  // namespace linchpin::ca
