// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Label selectors, and the default identity: from objects to what is wished for.

#include <optional>

#include "ca/kubernetes/plan.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using kube::Json;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

const trust::TrustDomain kTrustDomain = *trust::TrustDomain::FromName("example.org");

Json Expression(const char* key, const char* op, Json values = nullptr) {
  Json one = {{"key", key}, {"operator", op}};
  if (!values.is_null()) one["values"] = std::move(values);
  return one;
}

Json WithExpressions(const char* field, Json expressions) {
  return {{"spec", {{field, {{"matchExpressions", std::move(expressions)}}}}}};
}

absl::StatusOr<ca::LabelSelector> Read(Json expressions) {
  return ca::ReadSelector(WithExpressions("namespaceSelector", std::move(expressions)),
                          "namespaceSelector");
}

TEST(LabelSelector, EachOperatorMeansWhatKubernetesSays) {
  struct Case {
    Json expression;
    bool without, a, b;  // the label app: absent, "a", "b"
  };
  for (const Case& one :
       std::vector<Case>{{Expression("app", "In", {"a", "c"}), false, true, false},
                         {Expression("app", "NotIn", {"a", "c"}), true, false, true},
                         {Expression("app", "Exists"), false, true, true},
                         {Expression("app", "DoesNotExist"), true, false, false}}) {
    const auto selector = Read(Json::array({one.expression}));
    ASSERT_OK(selector.status());
    EXPECT_EQ(ca::Selects(*selector, {{"other", "a"}}), one.without) << one.expression;
    EXPECT_EQ(ca::Selects(*selector, {{"app", "a"}}), one.a) << one.expression;
    EXPECT_EQ(ca::Selects(*selector, {{"app", "b"}}), one.b) << one.expression;
  }
}

TEST(LabelSelector, AllOfItMustHold) {
  const auto selector = ca::ReadSelector(
      {{"spec",
        {{"podSelector",
          {{"matchLabels", {{"app", "web"}}},
           {"matchExpressions",
            Json::array({Expression("tier", "Exists"), Expression("env", "In", {"a"})})}}}}}},
      "podSelector");
  ASSERT_OK(selector.status());
  EXPECT_TRUE(ca::Selects(*selector, {{"app", "web"}, {"tier", "1"}, {"env", "a"}}));
  EXPECT_FALSE(ca::Selects(*selector, {{"app", "api"}, {"tier", "1"}, {"env", "a"}}));
  EXPECT_FALSE(ca::Selects(*selector, {{"app", "web"}, {"env", "a"}}));
  EXPECT_FALSE(ca::Selects(*selector, {{"app", "web"}, {"tier", "1"}, {"env", "b"}}));
}

TEST(LabelSelector, NonsenseIsNamed) {
  struct Bad {
    Json expressions;
    const char* said;
  };
  for (const Bad& bad : std::vector<Bad>{
           {"app", "is no list"},
           {Json::array({"app"}), "no object"},
           {Json::array({Expression("", "Exists")}), "without a key"},
           {Json::array({Expression("app", "in", {"a"})}), "the operator \"in\""},
           {Json::array({Expression("app", "In")}), "In without values"},
           {Json::array({Expression("app", "In", Json::array())}), "In without values"},
           {Json::array({Expression("app", "In", {7})}), "no text"},
           {Json::array({Expression("app", "Exists", {"a"})}), "Exists with values"},
           {Json::array({{{"key", "app"}, {"operater", "Exists"}}}), "operater"},
           {Json(std::vector<Json>(17, Expression("app", "Exists"))), "over 16"}}) {
    EXPECT_THAT(Read(bad.expressions).status(), StatusIs(StatusCode::kInvalidArgument, bad.said));
  }
}

// An agent goes by the labels that a pod has, so what is asked of pods must be shown by those.
TEST(LabelSelector, APodsMissingLabelIsNotAskedFor) {
  for (const Json& one : {Expression("app", "NotIn", {"a"}), Expression("app", "DoesNotExist")}) {
    EXPECT_OK(ca::ReadWorkloadIdentity(WithExpressions("namespaceSelector", Json::array({one})))
                  .status());
    EXPECT_THAT(
        ca::ReadWorkloadIdentity(WithExpressions("podSelector", Json::array({one}))).status(),
        StatusIs(StatusCode::kInvalidArgument, "a node goes by what a pod has"));
  }
}

kube::Pod PodWith(const std::string& uid, std::map<std::string, std::string> labels) {
  return {.uid = uid,
          .name_space = "shop",
          .name = uid,
          .account = "web",
          .node = "node1",
          .labels = std::move(labels)};
}

std::vector<ca::v1::Identity> Wished(ca::Plan& plan) {
  std::vector<ca::v1::Identity> all;
  for (const auto& [id, wish] : plan.Take(true).identities) {
    if (wish.has_value()) all.push_back(*wish);
  }
  return all;
}

TEST(LabelSelector, ANodeIsToldOfTheLabelsThatWereLookedAtAsTheyAre) {
  ca::Plan plan(kTrustDomain, "prod");
  plan.PutNamespace("shop", {});
  const Json in = Json::array({Expression("app", "In", {"a", "b"}), Expression("tier", "Exists")});
  EXPECT_OK(plan.PutIdentity({.uid = "1", .name = "both"},
                             ca::ReadWorkloadIdentity(WithExpressions("podSelector", in))));
  EXPECT_OK(plan.PutPod(PodWith("a", {{"app", "a"}, {"tier", "1"}, {"other", "x"}})));
  EXPECT_OK(plan.PutPod(PodWith("b", {{"app", "b"}, {"tier", "1"}})));
  EXPECT_OK(plan.PutPod(PodWith("c", {{"app", "c"}, {"tier", "1"}})));
  const auto wished = Wished(plan);
  ASSERT_EQ(wished.size(), 2);
  for (const char* value : {"a", "b"}) {
    const std::string label = std::string("k8s:pod-label:app:") + value;
    EXPECT_THAT(wished, Contains(testing::ResultOf(
                            [](const ca::v1::Identity& one) {
                              return std::vector<std::string>(one.selectors().begin(),
                                                              one.selectors().end());
                            },
                            AllOf(Contains(label), Contains("k8s:pod-label:tier:1"),
                                  Not(Contains("k8s:pod-label:other:x"))))));
  }
}

class DefaultIdentity : public testing::Test {
 protected:
  DefaultIdentity() {
    plan_.PutNamespace("shop", {{"linchpin.dev/mesh", "enabled"}});
    EXPECT_OK(plan_.PutPod(PodWith("a", {})));
  }
  std::vector<std::string> Ids() {
    std::vector<std::string> ids;
    for (const ca::v1::Identity& one : Wished(plan_)) ids.push_back(one.spiffe_id());
    return ids;
  }
  absl::Status PutDefault(const char* id_template) {
    return plan_.PutIdentity(
        {.uid = "uid", .name = "default", .generation = 1},
        ca::ReadWorkloadIdentity({{"spec", {{"spiffeIDTemplate", id_template}}}}));
  }

  ca::Plan plan_{kTrustDomain, "prod", ca::IdentityOfLabel("linchpin.dev/mesh=enabled")};
};

TEST_F(DefaultIdentity, IsThereWithoutAnyObjectForNamespacesOfItsLabelAlone) {
  EXPECT_THAT(Ids(), ElementsAre("spiffe://example.org/ns/shop/sa/web"));
  plan_.PutNamespace("shop", {{"linchpin.dev/mesh", "disabled"}});
  EXPECT_THAT(Ids(), IsEmpty());
  EXPECT_THAT(plan_.Standings({}), IsEmpty());  // no object whose status could be written
}

TEST_F(DefaultIdentity, GivesWayToAnObjectOfItsNameAndComesBackAfterIt) {
  ASSERT_OK(PutDefault("spiffe://{trustdomain}/of-the-object"));
  EXPECT_THAT(Ids(), ElementsAre("spiffe://example.org/of-the-object"));
  EXPECT_EQ(plan_.Standings({}).size(), 1);
  plan_.RemoveObject("uid");
  EXPECT_THAT(Ids(), ElementsAre("spiffe://example.org/ns/shop/sa/web"));
}

TEST_F(DefaultIdentity, GivesWayAlsoToAnObjectThatIsRefused) {
  ASSERT_OK(PutDefault("nonsense"));
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(DefaultIdentity, AnObjectThatSaysTheSameChangesNoRegistration) {
  const std::string before = Wished(plan_)[0].identity_id();
  ASSERT_OK(PutDefault("spiffe://{trustdomain}/ns/{namespace}/sa/{serviceaccount}"));
  const auto after = Wished(plan_);
  ASSERT_EQ(after.size(), 1);
  EXPECT_EQ(after[0].identity_id(), before);
}

TEST_F(DefaultIdentity, OtherObjectsStandBesideIt) {
  ASSERT_OK(plan_.PutIdentity(
      {.uid = "1", .name = "payments"},
      ca::ReadWorkloadIdentity({{"spec", {{"spiffeIDTemplate", "spiffe://{trustdomain}/pay"}}}})));
  EXPECT_THAT(Ids(), testing::UnorderedElementsAre("spiffe://example.org/ns/shop/sa/web",
                                                   "spiffe://example.org/pay"));
}

TEST(NoDefaultIdentity, WhereItIsOffNobodyHasAnIdentityWithoutAnObject) {
  ca::Plan plan(kTrustDomain, "prod");
  plan.PutNamespace("shop", {{"linchpin.dev/mesh", "enabled"}});
  EXPECT_OK(plan.PutPod(PodWith("a", {})));
  EXPECT_THAT(Wished(plan), IsEmpty());
}

}  // namespace
}  // namespace linchpin::test
