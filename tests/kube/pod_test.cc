// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/pod.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::kube {
namespace {

using testing::ElementsAre;
using testing::Pair;

Json Scheduled() {
  return Json::parse(R"({
    "metadata": {"uid": "0d9c", "namespace": "shop", "name": "web-5f", "labels": {"app": "web"}},
    "spec": {"nodeName": "node1", "serviceAccountName": "web",
             "initContainers": [{"name": "migrate", "image": "localhost/migrate:1"}],
             "containers": [{"name": "web", "image": "localhost/web:1"}]},
    "status": {"phase": "Pending"}})");
}

TEST(Pod, IsKnownBeforeItsContainersRun) {
  const auto pod = ReadPod(Scheduled());
  ASSERT_TRUE(pod.ok()) << pod.status();
  EXPECT_EQ(pod->uid, "0d9c");
  EXPECT_EQ(pod->name_space, "shop");
  EXPECT_EQ(pod->account, "web");
  EXPECT_EQ(pod->node, "node1");
  EXPECT_THAT(pod->labels, ElementsAre(Pair("app", "web")));
  EXPECT_FALSE(pod->over);
  ASSERT_EQ(pod->containers.size(), 2u);
  EXPECT_EQ(pod->containers[1].name, "web");
  EXPECT_EQ(pod->containers[1].id, "");
}

TEST(Pod, ItsContainersHaveTheirIdsWithoutTheRuntimesName) {
  Json object = Scheduled();
  object["status"]["containerStatuses"] = Json::parse(
      R"([{"name": "web", "containerID": "containerd://aa11", "imageID": "localhost/web@sha256:bb"},
          {"name": "of nobody", "containerID": "containerd://cc"}])");
  const auto pod = ReadPod(object);
  ASSERT_TRUE(pod.ok());
  EXPECT_EQ(pod->containers[1].id, "aa11");
  EXPECT_EQ(pod->containers[1].image_id, "localhost/web@sha256:bb");
  EXPECT_EQ(pod->containers.size(), 2u);
}

TEST(Pod, ThatIsOverRunsNothing) {
  Json object = Scheduled();
  for (const char* phase : {"Succeeded", "Failed"}) {
    object["status"]["phase"] = phase;
    EXPECT_TRUE(ReadPod(object)->over) << phase;
  }
}

TEST(Pod, WithoutANameIsNone) {
  for (const char* what : {"uid", "namespace", "name"}) {
    Json object = Scheduled();
    object["metadata"].erase(what);
    EXPECT_TRUE(absl::IsInvalidArgument(ReadPod(object).status())) << what;
    object["metadata"][what] = 7;
    EXPECT_TRUE(absl::IsInvalidArgument(ReadPod(object).status())) << what;
  }
  EXPECT_FALSE(ReadPod(Json("a pod")).ok());
}

TEST(Pod, WithMoreThanIsKeptIsRefused) {
  Json object = Scheduled();
  for (size_t i = 0; i <= kMaxLabels; ++i) object["metadata"]["labels"][std::to_string(i)] = "x";
  EXPECT_FALSE(ReadPod(object).ok());
  object = Scheduled();
  for (size_t i = 0; i <= kMaxContainers; ++i) {
    object["spec"]["containers"].push_back({{"name", std::to_string(i)}});
  }
  EXPECT_FALSE(ReadPod(object).ok());
}

TEST(Pod, IsReadTheSameOfWhatIsKept) {
  Json object = Scheduled();
  object["metadata"]["labels"]["name"] = "any";
  object["metadata"]["labels"]["no name of ours"] = "x";
  object["metadata"]["managedFields"] = Json::array({{{"manager", "kubectl"}}});
  object["spec"]["tolerations"] = Json::array();
  for (int i = 0; i < 1000; ++i) object["spec"]["tolerations"].push_back({{"key", "a"}});
  const auto kept = ParseObject(Dump(object), "it", &PodNames());
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->count("spec"), 1u);
  EXPECT_EQ(At(*kept, {"spec", "tolerations"}), nullptr);
  EXPECT_EQ(At(*kept, {"metadata", "managedFields"}), nullptr);
  const auto pod = ReadPod(*kept);
  ASSERT_TRUE(pod.ok()) << pod.status();
  EXPECT_EQ(*pod, *ReadPod(object));
  EXPECT_EQ(pod->labels.size(), 3u);
}

TEST(Pod, OnlyOneWithoutAnAccountIsAMirror) {
  Json object = Scheduled();
  object["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "6a5f";
  EXPECT_EQ(ReadPod(object)->static_uid, "");
  object["spec"].erase("serviceAccountName");
  EXPECT_EQ(ReadPod(object)->static_uid, "6a5f");
}

}  // namespace
}  // namespace linchpin::kube
