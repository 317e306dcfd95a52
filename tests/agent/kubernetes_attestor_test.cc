// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/kubernetes_attestor.h"

#include <unistd.h>

#include <string>
#include <vector>

#include "agent/attest/node_evidence.h"
#include "agent/attest/pod_table.h"
#include "base/durable_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::agent {
namespace {

using kube::Json;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

Json PodObject(const std::string& uid, const std::string& name) {
  return {{"metadata",
           {{"uid", uid},
            {"namespace", "shop"},
            {"name", name},
            {"labels", {{"app", "web"}, {"example.org/tier", "front"}}}}},
          {"spec",
           {{"nodeName", "node1"},
            {"serviceAccountName", "web"},
            {"containers", {{{"name", "web"}, {"image", "localhost/web:1"}}}}}}};
}

kube::Pod PodOf(const Json& object) { return *kube::ReadPod(object); }

TEST(SelectorsOfPod, AreThereBeforeItsContainerIsKnown) {
  EXPECT_THAT(SelectorsOfPod(PodOf(PodObject("u1", "web-1")), "c1"),
              UnorderedElementsAre("k8s:ns:shop", "k8s:sa:web", "k8s:pod-name:web-1",
                                   "k8s:pod-uid:u1", "k8s:node-name:node1", "k8s:pod-label:app:web",
                                   "k8s:pod-label:example.org/tier:front"));
}

TEST(SelectorsOfPod, NameTheContainerThatItIsAndNoOther) {
  Json object = PodObject("u1", "web-1");
  object["spec"]["containers"].push_back({{"name", "log"}, {"image", "localhost/log:1"}});
  object["status"]["containerStatuses"] = {
      {{"name", "web"}, {"containerID", "containerd://c1"}, {"imageID", "localhost/web@sha256:aa"}},
      {{"name", "log"}, {"containerID", "containerd://c2"}, {"imageID", "localhost/log:1"}}};
  const std::vector<std::string> web = SelectorsOfPod(PodOf(object), "c1");
  EXPECT_THAT(
      web, testing::IsSupersetOf({"k8s:container-name:web", "k8s:container-image:localhost/web:1",
                                  "k8s:container-image:localhost/web@sha256:aa"}));
  EXPECT_THAT(web, testing::Not(testing::Contains("k8s:container-name:log")));
  EXPECT_THAT(SelectorsOfPod(PodOf(object), "c3"),
              testing::Not(testing::Contains(testing::StartsWith("k8s:container"))));
}

class PodTableTest : public testing::Test {
 protected:
  PodTableTest() {
    table_.OnChange([this](const std::string& uid) { changed_.push_back(uid); });
  }
  void List(const std::vector<Json>& objects) {
    table_.ListBegins();
    for (const Json& object : objects) table_.Put(object);
    table_.ListEnds();
  }
  PodTable table_;
  std::vector<std::string> changed_;
};

Json Mirror(const std::string& uid, const std::string& of) {
  Json object = PodObject(uid, "static-node1");
  object["spec"].erase("serviceAccountName");
  object["metadata"]["annotations"]["kubernetes.io/config.mirror"] = of;
  return object;
}

TEST_F(PodTableTest, FindsAStaticPodByItsOneMirror) {
  List({Mirror("m1", "5a7c"), PodObject("u1", "web-1")});
  ASSERT_NE(table_.Find("5a7c"), nullptr);
  EXPECT_EQ(table_.Find("5a7c")->name, "static-node1");
  EXPECT_THAT(changed_, testing::IsSupersetOf({"m1", "5a7c"}));
  table_.Put(Mirror("m2", "5a7c"));  // whose word is it?
  EXPECT_EQ(table_.Find("5a7c"), nullptr);
  table_.Remove(Mirror("m2", "5a7c"));
  EXPECT_NE(table_.Find("5a7c"), nullptr);
  table_.Put(Mirror("m3", "u1"));  // says that it is a pod which is there
  EXPECT_EQ(table_.Find("u1")->name, "web-1");
  List({});
  EXPECT_EQ(table_.Find("5a7c"), nullptr);
}

TEST_F(PodTableTest, AsksOfOneNodeOnly) {
  EXPECT_EQ(PodsOfNode("node1").selector, "&fieldSelector=spec.nodeName%3Dnode1");
}

TEST_F(PodTableTest, TellsOfWhatChangesAndOfNothingElse) {
  List({PodObject("u1", "a")});
  List({PodObject("u1", "a")});
  EXPECT_THAT(changed_, ElementsAre("u1"));
  table_.Put(PodObject("u1", "b"));
  EXPECT_THAT(changed_, ElementsAre("u1", "u1"));
  EXPECT_EQ(table_.Find("u1")->name, "b");
}

TEST_F(PodTableTest, WhatAListDoesNotNameIsGone) {
  List({PodObject("u1", "a"), PodObject("u2", "b")});
  List({PodObject("u2", "b")});
  EXPECT_EQ(table_.Find("u1"), nullptr);
  EXPECT_NE(table_.Find("u2"), nullptr);
  EXPECT_THAT(changed_, ElementsAre("u1", "u2", "u1"));
}

TEST_F(PodTableTest, AListThatBreaksOffTakesNothingAway) {
  List({PodObject("u1", "a"), PodObject("u2", "b")});
  table_.ListBegins();
  table_.Failed(absl::UnavailableError("cut"));
  List({PodObject("u1", "a"), PodObject("u2", "b")});
  EXPECT_NE(table_.Find("u2"), nullptr);
}

TEST_F(PodTableTest, APodThatIsOverIsNone) {
  Json object = PodObject("u1", "a");
  table_.Put(object);
  object["status"]["phase"] = "Succeeded";
  table_.Put(object);
  EXPECT_EQ(table_.Find("u1"), nullptr);
}

TEST_F(PodTableTest, ARemovedPodIsNone) {
  table_.Put(PodObject("u1", "a"));
  table_.Remove(PodObject("u1", "a"));
  table_.Remove(Json());
  EXPECT_EQ(table_.Find("u1"), nullptr);
}

TEST_F(PodTableTest, NonsenseIsLeftOut) {
  table_.Put(Json("pod"));
  table_.Put({{"metadata", {{"uid", "u1"}}}});
  EXPECT_THAT(changed_, IsEmpty());
}

TEST_F(PodTableTest, HoldsNoMoreThanItsMost) {
  for (size_t i = 0; i <= PodTable::kMaxPods; ++i) table_.Put(PodObject(std::to_string(i), "a"));
  EXPECT_NE(table_.Find("0"), nullptr);
  EXPECT_EQ(table_.Find(std::to_string(PodTable::kMaxPods)), nullptr);
}

class Plain final : public WorkloadAttestor {
 public:
  absl::string_view Kind() const override { return "plain"; }
  absl::StatusOr<Attested> Attest(const PeerProcess&, bool) override {
    return Attested{"1.2", {"unix:uid:0"}};
  }
};

TEST(KubernetesAttestor, AProcessOfTheNodeHasNoPod) {
  Plain plain;
  PodTable table;
  KubernetesAttestor attestor(plain, table);
  const auto attested = attestor.Attest({.pid = getpid(), .is_alive = [] { return true; }}, false);
  ASSERT_OK(attested);
  EXPECT_THAT(attested->selectors, ElementsAre("unix:uid:0"));
}

TEST(KubernetesAttestor, AProcessThatEndedMeanwhileIsNobody) {
  Plain plain;
  PodTable table;
  KubernetesAttestor attestor(plain, table);
  EXPECT_TRUE(absl::IsUnauthenticated(
      attestor.Attest({.pid = getpid(), .is_alive = [] { return false; }}, false).status()));
}

TEST(NodeEvidence, TheKubernetesTokenIsReadAtEachAttempt) {
  const test::TempDir dir;
  const std::string file = dir.path() + "/token";
  const NodeEvidence evidence = EvidenceByKubernetes("prod", file);
  ca::v1::AttestRequest request;
  EXPECT_FALSE(evidence(&request).ok());
  ASSERT_OK(base::WriteFileDurably(file, "a.b.c\n"));
  ASSERT_OK(evidence(&request));
  EXPECT_EQ(request.kubernetes().token(), "a.b.c");
  EXPECT_EQ(request.kubernetes().cluster(), "prod");
  ASSERT_OK(base::WriteFileDurably(file, "d.e.f"));
  ASSERT_OK(evidence(&request));
  EXPECT_EQ(request.kubernetes().token(), "d.e.f");
}

}  // namespace
}  // namespace linchpin::agent
