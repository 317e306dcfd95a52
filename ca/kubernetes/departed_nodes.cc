// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/kubernetes/departed_nodes.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "ca/core/kubernetes_nodes.h"

namespace linchpin::ca {
namespace {

constexpr absl::Duration kGather = absl::Seconds(1);  // changes that come together
// No object tells when the last certificate of a node that is gone expires.
constexpr absl::Duration kLookAgain = absl::Minutes(5);

const kube::Names& NodeNames() {
  static const auto& names = *new kube::Names{"metadata", "name"};
  return names;
}

std::string NameOf(const kube::Json& object) {
  return kube::TextAt(object, {"metadata", "name"}, 253);
}

}  // namespace

Departed DepartedNodes(const trust::TrustDomain& trust_domain, const std::string& cluster,
                       const std::set<std::string>& names, const v1::NodeList& nodes,
                       const v1::Coverage& coverage) {
  std::set<std::string> counting;
  for (const v1::NodeCoverage& node : coverage.nodes()) counting.insert(node.node_id());
  const auto any = KubernetesNodeId(trust_domain, cluster, "x");
  if (!any.ok()) return {};
  const std::string all = any->ToString();
  const absl::string_view prefix = absl::string_view(all).substr(0, all.size() - 1);
  Departed departed;
  for (const v1::Node& node : nodes.nodes()) {
    // A ban outlives its node; who was invited only goes with the pods that name it.
    if (node.state() != "attested" || node.attested_by() != kAttestedByKubernetes ||
        !absl::StartsWith(node.node_id(), prefix) ||
        names.contains(node.node_id().substr(prefix.size()))) {
      continue;
    }
    if (node.connected() || counting.contains(node.node_id())) {
      departed.some_count = true;
    } else {
      departed.forget.push_back(node.node_id());
    }
  }
  return departed;
}

NodesOfCluster::NodesOfCluster(Options options, kube::Api& api, const base::Clock& clock)
    : options_(std::move(options)), loop_(clock) {
  thread_ = std::thread([this] { loop_.Run(); });
  watch_.emplace(api, kube::Watch::What{.path = "/api/v1/nodes", .only = &NodeNames()}, *this);
}

NodesOfCluster::~NodesOfCluster() {
  watch_.reset();
  stopping_ = true;
  loop_.Stop();
  thread_.join();
}

void NodesOfCluster::Put(const kube::Json& object) {
  listed_.insert(NameOf(object));
  base::MutexLock lock(mutex_);
  names_.insert(NameOf(object));
}

void NodesOfCluster::ListEnds() {
  {
    base::MutexLock lock(mutex_);
    names_ = std::move(listed_);
    known_ = true;
  }
  listed_.clear();
  told_ = false;
  Post();
}

void NodesOfCluster::Remove(const kube::Json& object) {
  {
    base::MutexLock lock(mutex_);
    names_.erase(NameOf(object));
  }
  Post();
}

void NodesOfCluster::Failed(const absl::Status& why) {
  if (std::exchange(told_, true)) return;
  base::LogWarning("nodes that leave the cluster are not forgotten by themselves; tries again",
                   {{"error", std::string(why.message())}});
}

void NodesOfCluster::Post() {
  base::MutexLock lock(mutex_);
  if (std::exchange(due_, true)) return;
  loop_.PostAfter(kGather, [this] { Look(); });
}

void NodesOfCluster::Look() {
  std::set<std::string> names;
  {
    base::MutexLock lock(mutex_);
    due_ = false;
    if (!known_) return;
    names = names_;
  }
  const auto nodes = options_.nodes();
  const auto coverage = options_.coverage();
  bool again = !nodes.ok() || !coverage.ok();
  if (!again) {
    const Departed departed =
        DepartedNodes(options_.trust_domain, options_.cluster, names, *nodes, *coverage);
    const bool all = ForgetThese(departed.forget);
    again = departed.some_count || !all;
  }
  base::MutexLock lock(mutex_);
  if (!again || std::exchange(due_, true)) return;
  loop_.PostAfter(kLookAgain, [this] { Look(); });
}

bool NodesOfCluster::ForgetThese(const std::vector<std::string>& node_ids) {
  bool all = true;
  for (const std::string& node_id : node_ids) {
    if (stopping_) return false;  // each takes a commit
    const absl::Status forgotten = options_.forget(node_id);
    if (forgotten.ok()) {
      base::LogInfo("a node that left the cluster is forgotten", {{"node", node_id}});
    } else {
      all = false;
      base::Log(base::LogLevel::kDebug, "a node that left the cluster is not forgotten yet",
                {{"node", node_id}, {"error", std::string(forgotten.message())}});
    }
  }
  return all;
}

}  // namespace linchpin::ca
