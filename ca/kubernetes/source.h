// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The cluster's objects as one more source of the registry: watches them, has what differs stored,
// and writes into each object how it stands with it. Decides nothing.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/run_loop.h"
#include "ca/core/admin_request.h"
#include "ca/kubernetes/plan.h"
#include "ca/kubernetes/standings.h"
#include "kube/api.h"
#include "kube/watch.h"

namespace linchpin::ca {

class KubernetesSource {
 public:
  // Asks the registry; the answer comes once, from any thread.
  using Ask = std::function<void(ApplyKubernetes, std::function<void(const absl::Status&)>)>;

  struct Options {
    trust::TrustDomain trust_domain;
    std::string cluster;
    std::string own_namespace;  // where the ConfigMap is; empty: it is not written
    std::vector<std::string> ca_pins;
    std::optional<WorkloadIdentity> default_identity;
  };
  // `api` and `clock` outlive this object.
  KubernetesSource(Options options, kube::Api& api, const base::Clock& clock, Ask ask);
  ~KubernetesSource();
  StandingWriter& standings() { return standings_; }

 private:
  class Follower;
  struct Answered {
    bool whole = false;
    absl::Status status;
    std::shared_ptr<const KubernetesWishes> asked;
    std::shared_ptr<const KubernetesRefusals> refusals;
  };
  // Answers may come when this is no more.
  struct Gate {
    base::Mutex mutex;
    KubernetesSource* source = nullptr;
  };
  void Change(const std::function<void(Plan&)>& change);  // any thread
  void Listed();                                          // any thread
  void Look();                                            // the loop's thread, from here on
  void Send(bool whole);
  void Took(const Answered& answered);
  void PostRetry();
  void WriteTrust();

  const Options options_;
  kube::Api& api_;
  const base::Clock& clock_;
  const Ask ask_;
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  base::Mutex mutex_;
  Plan plan_;
  size_t not_listed_ = 0;
  bool look_due_ = false;
  bool under_way_ = false;
  bool retry_due_ = false;  // the loop's thread alone
  bool begun_ = false;      // everything was compared once
  KubernetesRefusals refused_;
  StandingWriter standings_;
  base::RunLoop loop_;
  std::thread thread_;
  std::vector<std::unique_ptr<Follower>> followers_;
};

}  // namespace linchpin::ca
