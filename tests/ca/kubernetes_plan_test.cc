// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "ca/kubernetes/pin_sets.h"
#include "ca/kubernetes/plan.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using kube::Json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const trust::TrustDomain kTrustDomain = *trust::TrustDomain::FromName(kDomain);

kube::Pod PodOn(const std::string& node, const std::string& uid, const std::string& account = "web",
                const std::string& name_space = "shop") {
  return {.uid = uid,
          .name_space = name_space,
          .name = uid,
          .account = account,
          .node = node,
          .labels = {{"app", account}}};
}

ca::ObjectName Named(const std::string& name, int64_t generation = 1) {
  return {.uid = "uid-" + name, .name_space = "", .name = name, .generation = generation};
}

absl::StatusOr<ca::WorkloadIdentity> Identity(Json spec = Json::object()) {
  return ca::ReadWorkloadIdentity({{"spec", std::move(spec)}});
}

Json PolicyObject(Json spec) {
  return {{"metadata", {{"name", "p"}, {"namespace", "shop"}}}, {"spec", std::move(spec)}};
}

// What is put into it is taken.
struct TakingPlan : ca::Plan {
  using ca::Plan::Plan;
  void PutPod(const kube::Pod& pod) { EXPECT_OK(Plan::PutPod(pod)); }
  void PutIdentity(const ca::ObjectName& name, absl::StatusOr<ca::WorkloadIdentity> identity) {
    EXPECT_OK(Plan::PutIdentity(name, std::move(identity)));
  }
  void PutPolicy(const ca::ObjectName& name, absl::StatusOr<ca::PeerPolicy> policy) {
    EXPECT_OK(Plan::PutPolicy(name, std::move(policy)));
  }
};

// Plan and registry, with what goes between them.
class Kubernetes : public testing::Test {
 protected:
  Kubernetes() { plan_.PutNamespace("shop", {{"mesh", "on"}}); }

  // What the registry refused, by source.
  std::map<std::string, std::string> Apply(bool whole = false) {
    const ca::ApplyKubernetes asked{
        .wishes = std::make_shared<const ca::KubernetesWishes>(plan_.Take(whole)),
        .refusals = std::make_shared<ca::KubernetesRefusals>()};
    EXPECT_OK(world_.Admin<ca::v1::IdentityList>(asked));
    refused_ = *asked.refusals;
    std::map<std::string, std::string> faults;
    for (const auto& [id, refusal] : refused_.identities) faults[refusal.source] = refusal.why;
    for (const auto& [pair, refusal] : refused_.rules) faults[refusal.source] = refusal.why;
    return faults;
  }
  std::vector<std::string> Registered() {
    std::vector<std::string> all;
    const auto list = world_.Admin<ca::v1::IdentityList>(ca::v1::ListIdentitiesRequest());
    for (const ca::v1::Identity& one : list->identities()) {
      all.push_back(one.spiffe_id() + " on " + one.node_ids(0).substr(one.node_ids(0).rfind('/')));
    }
    std::sort(all.begin(), all.end());
    return all;
  }
  std::vector<std::string> Rules() {
    std::vector<std::string> all;
    const auto list = world_.Admin<ca::v1::PolicyList>(ca::v1::ListPolicyRequest());
    for (const auto& rule : list->rules()) all.push_back(rule.from() + " > " + rule.to());
    return all;
  }
  std::vector<std::string> Nodes() {
    std::vector<std::string> all;
    const auto list = world_.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest());
    for (const auto& node : list->nodes()) {
      all.push_back(node.node_id().substr(node.node_id().rfind('/') + 1));
    }
    return all;
  }
  static absl::StatusOr<ca::PeerPolicy> Policy(const std::string& to, int callers,
                                               const std::string& prefix) {
    Json from = Json::array();
    for (int i = 0; i < callers; ++i) from.push_back({{"serviceAccount", absl::StrCat(prefix, i)}});
    return ca::ReadPeerPolicy(PolicyObject({{"to", {{"serviceAccount", to}}}, {"from", from}}),
                              kTrustDomain);
  }
  uint64_t Revision() const { return world_.core->registry().revision(); }

  TakingPlan plan_{kTrustDomain, "prod"};
  ca::KubernetesRefusals refused_;  // of the last Apply()
  CoreWorld world_;
};

TEST_F(Kubernetes, APodGivesItsNodeItsIdentityAndNoOther) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("node1", "a"));
  plan_.PutPod(PodOn("node2", "b", "api"));
  Apply();
  EXPECT_THAT(Registered(), ElementsAre("spiffe://example.org/ns/shop/sa/api on /k8s.prod.node2",
                                        "spiffe://example.org/ns/shop/sa/web on /k8s.prod.node1"));
}

TEST_F(Kubernetes, ARootedNodeIsRefusedTheIdentityOfAPodThatDoesNotRunThere) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("node1", "a"));
  plan_.PutPod(PodOn("node2", "b", "api"));
  Apply();
  for (const char* node : {"node1", "node2"}) {
    const ca::CallId call = world_.next_call++;
    world_.Step(ca::event::AttestAsked{
        call, CoreWorld::Request(world_.node_key),
        ca::KubernetesEvidence{"prod", node, std::string("uid-") + node, "agent"}});
    ASSERT_OK(world_.Answer<ca::v1::AttestResponse>(call));
  }
  const auto list = world_.Admin<ca::v1::IdentityList>(ca::v1::ListIdentitiesRequest());
  for (const ca::v1::Identity& one : list->identities()) {
    for (const char* node : {"node1", "node2"}) {
      const std::string node_id = Id("/linchpin/node/k8s.prod.") + node;
      const auto answer =
          world_.Answer<ca::v1::IssueResponse>(world_.AskIssue(node_id, one.identity_id()));
      ASSERT_OK(answer);
      EXPECT_EQ(answer->results(0).code() == 0, node_id == one.node_ids(0))
          << one.spiffe_id() << " on " << node;
    }
  }
}

TEST_F(Kubernetes, TheLastPodThatGoesTakesTheRegistrationWithIt) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("node1", "a"));
  plan_.PutPod(PodOn("node1", "b"));
  Apply();
  plan_.RemovePod("a");
  Apply();
  EXPECT_THAT(Registered(), SizeIs(1));
  kube::Pod over = PodOn("node1", "b");
  over.over = true;
  plan_.PutPod(over);
  Apply();
  EXPECT_THAT(Registered(), IsEmpty());
}

TEST_F(Kubernetes, WhatIsAsItWasIsNotWritten) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("node1", "a"));
  Apply();
  const uint64_t revision = Revision();
  plan_.PutPod(PodOn("node1", "a"));
  plan_.PutIdentity(Named("default", 2), Identity());
  EXPECT_FALSE(plan_.HasChanges());
  plan_.PutPod(PodOn("node1", "b"));
  Apply();
  Apply(true);
  EXPECT_EQ(Revision(), revision);
}

TEST_F(Kubernetes, ARestartFindsWhatItWroteAndRemovesWhatIsGone) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("node1", "a"));
  plan_.PutPod(PodOn("node2", "b"));
  Apply(true);
  ASSERT_OK(world_.Register("/of-an-operator", {world_.Join("edge")}));
  world_.Restart();
  plan_.RemovePod("b");
  Apply(true);
  EXPECT_THAT(Registered(), ElementsAre("spiffe://example.org/ns/shop/sa/web on /k8s.prod.node1",
                                        "spiffe://example.org/of-an-operator on /edge"));
}

TEST_F(Kubernetes, LabelsOfPodAndNamespaceSayWhoHasIt) {
  plan_.PutIdentity(Named("some"),
                    Identity({{"namespaceSelector", {{"matchLabels", {{"mesh", "on"}}}}},
                              {"podSelector", {{"matchLabels", {{"app", "web"}}}}}}));
  plan_.PutPod(PodOn("node1", "a", "web"));
  plan_.PutPod(PodOn("node1", "b", "api"));
  plan_.PutPod(PodOn("node1", "c", "web", "elsewhere"));
  Apply();
  EXPECT_THAT(Registered(), SizeIs(1));
  plan_.PutNamespace("shop", {});
  Apply();
  EXPECT_THAT(Registered(), IsEmpty());
  plan_.PutNamespace("elsewhere", {{"mesh", "on"}});
  Apply();
  EXPECT_THAT(Registered(), ElementsAre(HasSubstr("/ns/elsewhere/sa/web")));
}

TEST_F(Kubernetes, TwoObjectsThatClaimOneIdAreToldSo) {
  plan_.PutIdentity(Named("first"), Identity());
  plan_.PutIdentity(Named("second"), Identity());
  plan_.PutPod(PodOn("node1", "a"));
  const auto faults = Apply();
  EXPECT_THAT(Registered(), SizeIs(1));
  ASSERT_THAT(faults, SizeIs(1));
  EXPECT_THAT(faults.begin()->second, HasSubstr("to the same selectors"));
  size_t faulty = 0;
  for (const auto& standing : plan_.Standings(refused_)) faulty += standing.fault.empty() ? 0 : 1;
  EXPECT_EQ(faulty, 1u);
}

TEST_F(Kubernetes, APolicyComesAndGoes) {
  const auto policy = ca::ReadPeerPolicy(
      PolicyObject(
          {{"to", {{"serviceAccount", "api"}}},
           {"from",
            {{{"serviceAccount", "web"}}, {{"namespace", "front"}, {"serviceAccount", "edge"}}}}}),
      kTrustDomain);
  ASSERT_OK(policy);
  plan_.PutPolicy(Named("p"), policy);
  EXPECT_THAT(Apply(), IsEmpty());
  EXPECT_THAT(
      Rules(),
      ElementsAre("spiffe://example.org/ns/front/sa/edge > spiffe://example.org/ns/shop/sa/api",
                  "spiffe://example.org/ns/shop/sa/web > spiffe://example.org/ns/shop/sa/api"));
  plan_.RemoveObject("uid-p");
  Apply();
  EXPECT_THAT(Rules(), IsEmpty());
}

TEST_F(Kubernetes, ARuleOfAnOperatorStaysHis) {
  trust::v1::PeerRule rule;
  rule.set_from(Id("/ns/shop/sa/web"));
  rule.set_to(Id("/ns/shop/sa/api"));
  ASSERT_OK(world_.Admin<ca::v1::PolicyChange>(ca::AllowPeer{rule}));
  plan_.PutPolicy(Named("p"),
                  ca::ReadPeerPolicy(PolicyObject({{"to", {{"serviceAccount", "api"}}},
                                                   {"from", {{{"serviceAccount", "web"}}}}}),
                                     kTrustDomain));
  EXPECT_THAT(Apply(), ElementsAre(testing::Pair("kubernetes/prod/PeerPolicy/p",
                                                 HasSubstr("an operator's"))));
  plan_.RemoveObject("uid-p");
  Apply();
  EXPECT_THAT(Rules(), SizeIs(1));
}

TEST_F(Kubernetes, WhatIsOfAnObjectIsChangedThereAlone) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("node1", "a"));
  plan_.PutPolicy(Named("p"),
                  ca::ReadPeerPolicy(PolicyObject({{"to", {{"serviceAccount", "api"}}},
                                                   {"from", {{{"serviceAccount", "web"}}}}}),
                                     kTrustDomain));
  Apply();
  world_.options.objects_source = ca::SourcePrefix("prod");
  world_.Restart();
  ca::v1::DeleteIdentityRequest asked;
  asked.set_spiffe_id(Id("/ns/shop/sa/web"));
  EXPECT_THAT(world_.Admin<ca::v1::Identity>(asked),
              StatusIs(StatusCode::kFailedPrecondition, "WorkloadIdentity/default"));
  trust::v1::PeerRule rule;
  rule.set_from(Id("/ns/shop/sa/web"));
  rule.set_to(Id("/ns/shop/sa/api"));
  EXPECT_THAT(world_.Admin<ca::v1::PolicyChange>(ca::DeletePolicy{rule}),
              StatusIs(StatusCode::kFailedPrecondition, "PeerPolicy/p"));
}

TEST_F(Kubernetes, ManyPodsAreWrittenInSeveralCommits) {
  plan_.PutIdentity(Named("default"), Identity());
  for (int i = 0; i < 1500; ++i) {
    plan_.PutPod(PodOn("node" + std::to_string(i % 3), std::to_string(i), "s" + std::to_string(i)));
  }
  EXPECT_THAT(Apply(true), IsEmpty());
  EXPECT_THAT(Registered(), SizeIs(1500));
}

// A kubelet may make a mirror of a static pod in any namespace and with any labels, but without an
// account.
TEST_F(Kubernetes, APodWithoutAnAccountGivesNobodyAnything) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("n1", "mirror", ""));
  Apply();
  EXPECT_THAT(Registered(), IsEmpty());
}

TEST_F(Kubernetes, WhatOneObjectGivesUpIsAnothersAtOnceOnEachNode) {
  plan_.PutIdentity(Named("first"), Identity());
  for (int i = 0; i < 16; ++i) {
    plan_.PutPod(PodOn(absl::StrCat("n", i), absl::StrCat("pod", i)));
  }
  EXPECT_THAT(Apply(), IsEmpty());
  EXPECT_THAT(Registered(), SizeIs(16));
  plan_.RemoveObject("uid-first");
  plan_.PutIdentity(Named("second"), Identity());
  EXPECT_THAT(Apply(/*whole=*/true), IsEmpty());
  EXPECT_THAT(Registered(), SizeIs(16));
}

// The cluster is gone, has another name, or its objects are not gone by any more.
TEST_F(Kubernetes, WhatAGoneClusterLeftIsOperatorsToDelete) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("node1", "a"));
  plan_.PutPolicy(Named("p"), Policy("api", 1, "web"));
  Apply();
  for (const char* source : {"", "kubernetes/prod-eu/"}) {
    world_.options.objects_source = source;
    world_.Restart();
    trust::v1::PeerRule rule;
    rule.set_from(Id("/ns/shop/sa/web0"));
    rule.set_to(Id("/ns/shop/sa/api"));
    EXPECT_OK(world_.Admin<ca::v1::PolicyChange>(ca::DeletePolicy{rule}));
    EXPECT_THAT(Rules(), IsEmpty());
    ca::v1::DeleteIdentityRequest asked;
    asked.set_spiffe_id(Id("/ns/shop/sa/web"));
    EXPECT_OK(world_.Admin<ca::v1::Identity>(asked));
    EXPECT_THAT(Registered(), IsEmpty());
    Apply(true);
  }
}

TEST_F(Kubernetes, ANodeThatPodsAloneNamedGoesWithTheLastOfThem) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("made-up", "a"));
  plan_.PutPod(PodOn("made-up", "b", "api"));
  Apply();
  EXPECT_THAT(Nodes(), ElementsAre("k8s.prod.made-up"));
  plan_.RemovePod("a");
  Apply();
  EXPECT_THAT(Nodes(), SizeIs(1));
  plan_.RemovePod("b");
  Apply();
  EXPECT_THAT(Nodes(), IsEmpty());
}

TEST_F(Kubernetes, ANodeThatHasAttestedStaysWhenItsPodsGo) {
  plan_.PutIdentity(Named("default"), Identity());
  plan_.PutPod(PodOn("node1", "a"));
  Apply();
  const ca::CallId call = world_.next_call++;
  world_.Step(ca::event::AttestAsked{call, CoreWorld::Request(world_.node_key),
                                     ca::KubernetesEvidence{"prod", "node1", "uid", "agent"}});
  ASSERT_OK(world_.Answer<ca::v1::AttestResponse>(call));
  plan_.RemovePod("a");
  Apply();
  EXPECT_THAT(Nodes(), ElementsAre("k8s.prod.node1"));
}

TEST_F(Kubernetes, APodWhoseNodeCannotBeNamedIsLeftOut) {
  plan_.PutIdentity(Named("default"), Identity());
  EXPECT_THAT(plan_.Plan::PutPod(PodOn(std::string(200, 'n'), "a")),
              StatusIs(StatusCode::kInvalidArgument, "fits into no SPIFFE ID"));
  EXPECT_FALSE(plan_.HasChanges());
}

TEST_F(Kubernetes, WhatWasRefusedIsLookedAtAgainAndNothingElseIs) {
  trust::v1::PeerRule rule;
  rule.set_from(Id("/ns/shop/sa/web0"));
  rule.set_to(Id("/ns/shop/sa/api"));
  ASSERT_OK(world_.Admin<ca::v1::PolicyChange>(ca::AllowPeer{rule}));
  plan_.PutIdentity(Named("default"), Identity());
  for (int i = 0; i < 8; ++i) plan_.PutPod(PodOn("n1", absl::StrCat(i), absl::StrCat("s", i)));
  plan_.PutPolicy(Named("p"), Policy("api", 3, "web"));
  EXPECT_THAT(Apply(), SizeIs(1));
  plan_.Touch(refused_);
  const ca::KubernetesWishes wishes = plan_.Take(false);
  EXPECT_THAT(wishes.identities, IsEmpty());
  EXPECT_THAT(wishes.rules, SizeIs(1));
  ASSERT_OK(world_.Admin<ca::v1::PolicyChange>(ca::DeletePolicy{rule}));
  plan_.Touch(refused_);
  EXPECT_THAT(Apply(), IsEmpty());
  EXPECT_THAT(Rules(), SizeIs(3));
}

TEST_F(Kubernetes, OneNamespaceUsesUpNobodyElsesRoom) {
  const auto in = [](const std::string& name_space, int number) {
    return ca::ObjectName{.uid = absl::StrCat(name_space, number),
                          .name_space = name_space,
                          .name = absl::StrCat("p", number),
                          .generation = 1};
  };
  const int most = static_cast<int>(ca::Plan::kMaxRules / 250);
  for (int i = 0; i <= most; ++i) {
    plan_.PutPolicy(in("greedy", 100 + i), Policy("api", 250, absl::StrCat(i, "-")));
  }
  plan_.PutPolicy(in("other", 1), Policy("api", 1, "web"));
  std::vector<std::string> faulty;
  for (const ca::Standing& one : plan_.Standings({})) {
    if (!one.fault.empty()) faulty.push_back(one.name.Text() + ": " + one.fault);
  }
  EXPECT_THAT(faulty, ElementsAre(testing::AllOf(HasSubstr("greedy/p140"), HasSubstr("10000"))));
  plan_.Take(false);
  plan_.RemoveObject("greedy100");  // there is room again
  for (const ca::Standing& one : plan_.Standings({})) EXPECT_EQ(one.fault, "");
  EXPECT_THAT(plan_.Take(false).rules, SizeIs(500));
  for (int i = 0; i < static_cast<int>(ca::Plan::kMaxPolicies) - most; ++i) {
    plan_.PutPolicy(in("greedy", 1000 + i), absl::InvalidArgumentError("junk"));
  }
  EXPECT_THAT(plan_.Plan::PutPolicy(in("greedy", 5000), absl::InvalidArgumentError("junk")),
              StatusIs(StatusCode::kResourceExhausted, "namespace greedy"));
  plan_.PutPolicy(in("other", 2), Policy("api", 1, "edge"));
}

TEST(KubernetesObjects, AnythingOfAPinSetButWhatIsSignedIsForPeople) {
  const std::string key = "sha256:" + absl::Base64Escape(std::string(32, 'k'));
  const Json document = {{"linchpin_pin_set", 1},
                         {"pin_set", {{"version", 99}}},
                         {"payload", absl::Base64Escape("signed")},
                         {"signatures", {{{"key", key}, {"signature", "c2ln"}}}}};
  const auto of = [](const std::string& text) {
    return ca::ReadPinSetObject({{"spec", {{"document", text}}}});
  };
  const auto set = of(document.dump());
  ASSERT_OK(set);
  EXPECT_EQ(set->payload(), "signed");
  ASSERT_EQ(set->signatures_size(), 1);
  EXPECT_EQ(set->signatures(0).key_id(), std::string(32, 'k'));
  for (const char* nonsense : {"", "{}", "[]", R"({"payload": "c2ln"})", R"({"payload": 1})",
                               R"({"payload": "c2ln", "signatures": [{"key": "x"}]})"}) {
    EXPECT_FALSE(of(nonsense).ok()) << nonsense;
  }
}

TEST(KubernetesObjects, NonsenseIsNamed) {
  struct Bad {
    Json spec;
    const char* said;
  };
  for (const Bad& bad : std::vector<Bad>{
           {{{"spiffeIDTemplate", "https://example.org"}}, "spiffeIDTemplate"},
           {{{"spiffeIDTemplate", "spiffe://{trustdomain}/linchpin/ca"}}, "/linchpin/"},
           {{{"spiffeIDTemplate", "spiffe://{trustdomain}/{node}"}}, "spiffeIDTemplate"},
           {{{"spiffeIDTemplate", "spiffe://other.org/web"}}, "spiffeIDTemplate"},
           {{{"ttl", "soon"}}, "ttl"},
           {{{"podSelector", {{"matchLabel", Json::object()}}}}, "matchLabel is not known"},
           {{{"podSelecter", Json::object()}}, "spec.podSelecter is not known"},
           {{{"podSelector", nullptr}}, "spec.podSelector is no selector"},
           {{{"podSelector", {{"matchLabels", {{"app", 7}}}}}}, "podSelector"}}) {
    EXPECT_THAT(Identity(bad.spec).status(), StatusIs(StatusCode::kInvalidArgument, bad.said));
  }
  const Json to = {{"serviceAccount", "api"}};
  for (const Bad& bad : std::vector<Bad>{
           {Json::object(), "spec.to"},
           {{{"to", to}}, "spec.from"},
           {{{"to", to}, {"from", Json::array()}}, "spec.from"},
           {{{"to", to}, {"from", {{{"namespace", "a"}}}}}, "serviceAccount"},
           {{{"to", to}, {"from", {{{"spiffeID", "spiffe://other.org/x"}}}}}, "trust domain"},
           {{{"to", to}, {"from", {{{"spiffeID", "spiffe://example.org/linchpin/ca"}}}}},
            "is reserved"},
           {{{"to", to}, {"mode", "maybe"}, {"from", {{{"serviceAccount", "a"}}}}}, "spec.mode"}}) {
    EXPECT_THAT(ca::ReadPeerPolicy(PolicyObject(bad.spec), kTrustDomain).status(),
                StatusIs(StatusCode::kInvalidArgument, bad.said));
  }
}

}  // namespace
}  // namespace linchpin::test
