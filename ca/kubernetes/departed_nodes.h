// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Nodes that the cluster has no more are forgotten, as `linchpin node forget` does, as soon as no
// gate counts them: they are not connected, and all that was issued through them has expired.
// Should one come back, its token makes it known again.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/run_loop.h"
#include "kube/watch.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "trust/spiffe_id.h"

namespace linchpin::ca {

struct Departed {
  std::vector<std::string> forget;  // node ids
  bool some_count = false;          // others are gone, too, and count still
};
// `names`: of all nodes that the cluster has. `coverage` names every attested node that counts.
// Pure.
Departed DepartedNodes(const trust::TrustDomain& trust_domain, const std::string& cluster,
                       const std::set<std::string>& names, const v1::NodeList& nodes,
                       const v1::Coverage& coverage);

class NodesOfCluster final : public kube::WatchSink {
 public:
  struct Options {
    trust::TrustDomain trust_domain;
    std::string cluster;
    // What the CA knows, and what it is to forget. Each blocks.
    std::function<absl::StatusOr<v1::NodeList>()> nodes;
    std::function<absl::StatusOr<v1::Coverage>()> coverage;
    std::function<absl::Status(const std::string& node_id)> forget;
  };
  // `api` and `clock` outlive this object.
  NodesOfCluster(Options options, kube::Api& api, const base::Clock& clock);
  ~NodesOfCluster() override;  // within a second or so

  void ListBegins() override { listed_.clear(); }
  void Put(const kube::Json& object) override;
  void ListEnds() override;
  void Remove(const kube::Json& object) override;
  void Failed(const absl::Status& why) override;

 private:
  void Post();
  void Look();  // the loop's thread
  bool ForgetThese(const std::vector<std::string>& node_ids);

  const Options options_;
  std::set<std::string> listed_;  // since the list began; the watch's thread alone, as the next
  bool told_ = false;
  base::Mutex mutex_;
  std::set<std::string> names_;
  bool known_ = false;  // all of them
  bool due_ = false;
  std::atomic<bool> stopping_ = false;
  base::RunLoop loop_;
  std::thread thread_;
  std::optional<kube::Watch> watch_;
};

}  // namespace linchpin::ca
