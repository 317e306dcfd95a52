// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Nodes that left the cluster, by what a core says of its nodes.

#include <atomic>
#include <future>
#include <thread>

#include "ca/kubernetes/departed_nodes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using testing::ElementsAre;

class KubernetesNodesThatLeft : public testing::Test {
 protected:
  KubernetesNodesThatLeft() {
    Attest("node1");
    Attest("node2");
  }
  void Attest(const std::string& node) {
    const ca::CallId call = world_.next_call++;
    world_.Step(ca::event::AttestAsked{
        call, CoreWorld::Request(world_.node_key),
        ca::KubernetesEvidence{"prod", node, "uid of " + node, "agent of " + node}});
    EXPECT_OK(world_.Answer<ca::v1::AttestResponse>(call));
  }
  // Forgets what is to be forgotten; whether others are to be looked at again.
  bool Forget(const std::set<std::string>& names, const std::string& cluster = "prod") {
    const auto nodes = world_.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest());
    const auto coverage = world_.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest());
    EXPECT_OK(nodes);
    EXPECT_OK(coverage);
    const ca::Departed departed = ca::DepartedNodes(*trust::TrustDomain::FromName(kDomain), cluster,
                                                    names, *nodes, *coverage);
    for (const std::string& node_id : departed.forget) {
      EXPECT_OK(world_.Admin<ca::v1::Node>(ca::ForgetNode{node_id}));
    }
    return departed.some_count;
  }
  std::vector<std::string> Nodes() {
    std::vector<std::string> all;
    const auto list = world_.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest());
    for (const auto& node : list->nodes()) {
      all.push_back(node.node_id().substr(node.node_id().rfind('/') + 1));
    }
    return all;
  }
  // All that was issued has expired.
  void WaitLong() { world_.now += absl::Hours(24 * 2); }

  CoreWorld world_;
};

TEST_F(KubernetesNodesThatLeft, AreForgottenWhenTheirCertificatesHaveEnded) {
  EXPECT_TRUE(Forget({"node1"}));
  EXPECT_THAT(Nodes(), ElementsAre("k8s.prod.node1", "k8s.prod.node2"));  // it may serve still
  WaitLong();
  EXPECT_FALSE(Forget({"node1"}));
  EXPECT_THAT(Nodes(), ElementsAre("k8s.prod.node1"));  // expired, too, and there
  Attest("node2");                                      // it comes back
  EXPECT_THAT(Nodes(), ElementsAre("k8s.prod.node1", "k8s.prod.node2"));
}

TEST_F(KubernetesNodesThatLeft, StayWhileTheyAreConnected) {
  world_.Hello(1, Id("/linchpin/node/k8s.prod.node2"), {});
  WaitLong();
  EXPECT_TRUE(Forget({"node1"}));
  EXPECT_THAT(Nodes(), ElementsAre("k8s.prod.node1", "k8s.prod.node2"));
}

TEST_F(KubernetesNodesThatLeft, ABanOutlivesThem) {
  EXPECT_OK(world_.Admin<ca::v1::Node>(ca::BanNode{"k8s.prod.node2"}));
  WaitLong();
  EXPECT_FALSE(Forget({"node1"}));
  EXPECT_THAT(Nodes(), ElementsAre("k8s.prod.node1", "k8s.prod.node2"));
}

TEST_F(KubernetesNodesThatLeft, AreOfThisClusterAndNoOthers) {
  world_.Join("k8s.prod.looks-like-it");  // by an operator's token
  WaitLong();
  EXPECT_FALSE(Forget({}, "other"));
  EXPECT_FALSE(Forget({}, "pro"));
  EXPECT_EQ(Nodes().size(), 3u);
  EXPECT_FALSE(Forget({}));
  EXPECT_THAT(Nodes(), ElementsAre("k8s.prod.looks-like-it"));
}

// An API server that says a list, then keeps quiet.
class OneList final : public kube::Api {
 public:
  explicit OneList(absl::StatusOr<std::string> list) : list_(std::move(list)) {}
  absl::StatusOr<std::string> Call(const kube::Request&) override {
    calls_.fetch_add(1);
    return list_;
  }
  absl::Status Stream(const std::string&, absl::Duration,
                      const std::function<bool(absl::string_view)>& on_line,
                      const std::function<bool()>& stopped) override {
    on_line(R"({"type": "DELETED", "object": {"metadata": {"name": "node2",
                "resourceVersion": "8"}}})");
    base::Mutex mutex;
    base::CondVar never;
    base::MutexLock lock(mutex);
    while (!stopped()) never.wait_for(lock, std::chrono::milliseconds(5));
    return absl::OkStatus();
  }
  std::atomic<int> calls_ = 0;

 private:
  const absl::StatusOr<std::string> list_;
};

TEST(NodesOfACluster, AreWatchedAndWhoIsDeletedIsForgotten) {
  OneList api(R"({"metadata": {"resourceVersion": "7"},
                  "items": [{"metadata": {"name": "node1"}}, {"metadata": {"name": "node2"}}]})");
  std::promise<std::string> forgotten;
  ca::v1::NodeList nodes;
  for (const char* name : {"node1", "node2"}) {
    ca::v1::Node& node = *nodes.add_nodes();
    node.set_node_id(Id(std::string("/linchpin/node/k8s.prod.") + name));
    node.set_state("attested");
    node.set_attested_by("k8s_psat");
  }
  const ca::NodesOfCluster watched({.trust_domain = *trust::TrustDomain::FromName(kDomain),
                                    .cluster = "prod",
                                    .nodes = [&] { return nodes; },
                                    .coverage = [] { return ca::v1::Coverage(); },
                                    .forget =
                                        [&](const std::string& node_id) {
                                          forgotten.set_value(node_id);
                                          return absl::OkStatus();
                                        }},
                                   api, base::SystemClock());
  EXPECT_EQ(forgotten.get_future().get(), Id("/linchpin/node/k8s.prod.node2"));
}

TEST(NodesOfACluster, NobodyIsForgottenWhereTheApiServerDoesNotShowNodes) {
  OneList api(absl::PermissionDeniedError("nodes is forbidden"));
  {
    const ca::NodesOfCluster watched(
        {.trust_domain = *trust::TrustDomain::FromName(kDomain),
         .cluster = "prod",
         .nodes = []() -> absl::StatusOr<ca::v1::NodeList> {
           ADD_FAILURE() << "nothing is asked";
           return absl::UnavailableError("");
         },
         .coverage = [] { return ca::v1::Coverage(); },
         .forget = [](const std::string&) { return absl::OkStatus(); }},
        api, base::SystemClock());
    while (api.calls_ < 2) std::this_thread::yield();  // the second is a retry
  }
}

}  // namespace
}  // namespace linchpin::test
