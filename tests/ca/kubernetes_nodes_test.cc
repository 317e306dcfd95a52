// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/kubernetes_nodes.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;

x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }

class KubernetesNodes : public testing::Test {
 protected:
  absl::StatusOr<ca::v1::AttestResponse> Attest(const ca::KubernetesEvidence& evidence,
                                                const x509::PrivateKey& key) {
    const ca::CallId call = world_.next_call++;
    world_.Step(ca::event::AttestAsked{call, CoreWorld::Request(key), evidence});
    return world_.Answer<ca::v1::AttestResponse>(call);
  }
  static ca::KubernetesEvidence Pod(const std::string& pod_uid,
                                    const std::string& node_uid = "n-1") {
    return {.cluster = "prod", .node_name = "node1", .node_uid = node_uid, .pod_uid = pod_uid};
  }
  const std::string node_id_ = Id("/linchpin/node/k8s.prod.node1");
  const x509::PrivateKey key_ = NewKey();
  const x509::PrivateKey thief_ = NewKey();
  CoreWorld world_;
};

TEST_F(KubernetesNodes, AreNamedByClusterAndNode) {
  ASSERT_OK_AND_ASSIGN(const auto attested, Attest(Pod("p-1"), key_));
  EXPECT_EQ(attested.node_id(), node_id_);
  ASSERT_OK_AND_ASSIGN(const auto nodes,
                       world_.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest()));
  ASSERT_EQ(nodes.nodes_size(), 1);
  EXPECT_EQ(nodes.nodes(0).attested_by(), "k8s_psat");
  EXPECT_EQ(nodes.nodes(0).state(), "attested");
}

TEST_F(KubernetesNodes, TheSameTokenAndKeyAgainGiveTheSameNode) {
  ASSERT_OK(Attest(Pod("p-1"), key_));
  ASSERT_OK_AND_ASSIGN(const auto again, Attest(Pod("p-1"), key_));
  EXPECT_EQ(again.node_id(), node_id_);
}

TEST_F(KubernetesNodes, ATokenThatIsReplayedWithAnotherKeyIsRefused) {
  ASSERT_OK(Attest(Pod("p-1"), key_));
  EXPECT_THAT(Attest(Pod("p-1"), thief_), StatusIs(StatusCode::kPermissionDenied, "another key"));
  world_.Hello(1, node_id_, {});  // of world_.node_key, which is none of this node
  EXPECT_THAT(world_.closed.at(1), StatusIs(StatusCode::kPermissionDenied, "another key"));
  ASSERT_OK(Attest(Pod("p-1"), key_));
}

TEST_F(KubernetesNodes, ARenewedKeyIsTheNodesOwn) {
  ASSERT_OK(Attest(Pod("p-1"), key_));
  const x509::PrivateKey renewed = NewKey();
  ASSERT_OK(world_.Renew(CoreWorld::Caller(node_id_, key_), renewed));
  ASSERT_OK(Attest(Pod("p-1"), renewed));
  EXPECT_THAT(Attest(Pod("p-1"), thief_), StatusIs(StatusCode::kPermissionDenied, "another key"));
}

TEST_F(KubernetesNodes, TheNextPodMayBringAnotherKeyAndTheOneBeforeIsOver) {
  ASSERT_OK(Attest(Pod("p-1"), key_));
  const x509::PrivateKey next = NewKey();
  ASSERT_OK(Attest(Pod("p-2"), next));
  // While the old pod still ends, its token is good; its successor's node is not to be taken by it.
  EXPECT_THAT(Attest(Pod("p-1"), thief_), StatusIs(StatusCode::kPermissionDenied, "another key"));
  EXPECT_THAT(Attest(Pod("p-1"), key_), StatusIs(StatusCode::kPermissionDenied, "another key"));
  EXPECT_THAT(world_.Renew(CoreWorld::Caller(node_id_, key_), NewKey()),
              StatusIs(StatusCode::kPermissionDenied, "another key"));
  ASSERT_OK(world_.Renew(CoreWorld::Caller(node_id_, next), NewKey()));
}

TEST_F(KubernetesNodes, AnEarlierPodWithTheNodesKeyDoesNotBecomeTheCurrentOne) {
  ASSERT_OK(Attest(Pod("p-1"), key_));
  ASSERT_OK(Attest(Pod("p-2"), key_));  // the key lies on the node's disk
  ASSERT_OK(Attest(Pod("p-1"), key_));
  EXPECT_THAT(Attest(Pod("p-2"), thief_), StatusIs(StatusCode::kPermissionDenied, "another key"));
}

TEST_F(KubernetesNodes, AnotherMachineOfTheSameNameBeginsAnew) {
  ASSERT_OK(Attest(Pod("p-1", "n-1"), key_));
  const x509::PrivateKey next = NewKey();
  ASSERT_OK(Attest(Pod("p-9", "n-2"), next));
  EXPECT_THAT(world_.Renew(CoreWorld::Caller(node_id_, key_), NewKey()),
              StatusIs(StatusCode::kPermissionDenied, "another key"));
}

// The node's object was made anew; the pod lives on, and so does a token of it that was stolen.
TEST_F(KubernetesNodes, APodSpeaksForOneKeyWhateverItsNodesUid) {
  ASSERT_OK(Attest(Pod("p-0", "n-1"), key_));
  ASSERT_OK(Attest(Pod("p-1", "n-1"), key_));
  ASSERT_OK(Attest(Pod("p-1", "n-2"), key_));
  for (const char* pod : {"p-0", "p-1"}) {
    for (const char* node : {"n-1", "n-2", "n-3"}) {
      EXPECT_THAT(Attest(Pod(pod, node), thief_),
                  StatusIs(StatusCode::kPermissionDenied, "another key"));
    }
  }
  ASSERT_OK(Attest(Pod("p-1", "n-2"), key_));
}

TEST_F(KubernetesNodes, ABannedNodeStaysOutWhateverTheApiServerSays) {
  ASSERT_OK(Attest(Pod("p-1"), key_));
  ASSERT_OK(world_.Admin<ca::v1::Node>(ca::BanNode{"k8s.prod.node1"}));
  EXPECT_THAT(Attest(Pod("p-1"), key_), StatusIs(StatusCode::kPermissionDenied, "banned"));
  EXPECT_THAT(Attest(Pod("p-2"), NewKey()), StatusIs(StatusCode::kPermissionDenied, "banned"));
  EXPECT_THAT(Attest(Pod("p-3", "n-2"), NewKey()),
              StatusIs(StatusCode::kPermissionDenied, "banned"));
}

TEST_F(KubernetesNodes, ANameThatAnOperatorGaveAwayIsNotTaken) {
  world_.Join("k8s.prod.node1");
  EXPECT_THAT(Attest(Pod("p-1"), key_), StatusIs(StatusCode::kFailedPrecondition, "another node"));
}

TEST_F(KubernetesNodes, SurviveARestart) {
  ASSERT_OK(Attest(Pod("p-1"), key_));
  world_.Restart();
  EXPECT_THAT(Attest(Pod("p-1"), thief_), StatusIs(StatusCode::kPermissionDenied, "another key"));
  ASSERT_OK(Attest(Pod("p-1"), key_));
}

TEST_F(KubernetesNodes, NeedNoJoinTokenHoweverLongTheyWereAway) {
  ASSERT_OK(Attest(Pod("p-1"), key_));
  world_.now += absl::Hours(24 * 30);
  ASSERT_OK_AND_ASSIGN(const auto nodes,
                       world_.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest()));
  EXPECT_EQ(nodes.nodes(0).needs(), "");
  ASSERT_OK(Attest(Pod("p-2"), NewKey()));
}

TEST(KubernetesNodeNames, AreOnesThatCannotBeMistaken) {
  const trust::TrustDomain domain = *trust::TrustDomain::FromName("example.org");
  ASSERT_OK_AND_ASSIGN(const auto id, ca::KubernetesNodeId(domain, "prod-1", "ip-10-0-0-1.local"));
  EXPECT_EQ(id.ToString(), "spiffe://example.org/linchpin/node/k8s.prod-1.ip-10-0-0-1.local");
  EXPECT_TRUE(id.IsNode());
  for (const char* cluster : {"", "a.b", "Prod", "a/b", "a-name-of-more-than-thirty-two-bytes"}) {
    EXPECT_FALSE(ca::KubernetesNodeId(domain, cluster, "node1").ok()) << cluster;
  }
  EXPECT_FALSE(ca::KubernetesNodeId(domain, "prod", "a/b").ok());
  EXPECT_FALSE(ca::KubernetesNodeId(domain, "prod", std::string(120, 'a')).ok());
}

}  // namespace
}  // namespace linchpin::test
