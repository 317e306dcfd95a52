// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/pod.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace linchpin::kube {
namespace {

// "containerd://0123…" -> "0123…"
std::string WithoutScheme(const std::string& id) {
  const size_t end = id.find("://");
  return end == std::string::npos ? id : id.substr(end + 3);
}

bool AddContainers(const Json& object, const char* specs, const char* statuses,
                   std::vector<Container>* containers) {
  std::map<std::string, size_t> places;
  const Json* wanted = At(object, {"spec", specs});
  if (wanted != nullptr && wanted->is_array()) {
    for (const Json& one : *wanted) {
      if (containers->size() >= kMaxContainers) return false;
      Container container{.name = TextAt(one, {"name"}), .image = TextAt(one, {"image"})};
      if (container.name.empty()) return false;
      places[container.name] = containers->size();
      containers->push_back(std::move(container));
    }
  }
  const Json* seen = At(object, {"status", statuses});
  if (seen == nullptr || !seen->is_array()) return true;
  for (const Json& one : *seen) {
    const auto place = places.find(TextAt(one, {"name"}));
    if (place == places.end()) continue;
    Container& container = (*containers)[place->second];
    container.id = WithoutScheme(TextAt(one, {"containerID"}));
    container.image_id = TextAt(one, {"imageID"});
  }
  return true;
}

}  // namespace

const Names& PodNames() {
  static const Names& names = *new Names{"annotations",
                                         "containerID",
                                         "containerStatuses",
                                         "containers",
                                         "ephemeralContainerStatuses",
                                         "ephemeralContainers",
                                         "image",
                                         "imageID",
                                         "initContainerStatuses",
                                         "initContainers",
                                         "labels",
                                         "metadata",
                                         "name",
                                         "namespace",
                                         "nodeName",
                                         "phase",
                                         "serviceAccountName",
                                         "spec",
                                         "status",
                                         "uid"};
  return names;
}

absl::StatusOr<Pod> ReadPod(const Json& object) {
  Pod pod{.uid = TextAt(object, {"metadata", "uid"}, 128),
          .name_space = TextAt(object, {"metadata", "namespace"}, 63),
          .name = TextAt(object, {"metadata", "name"}, 253),
          .account = TextAt(object, {"spec", "serviceAccountName"}, 253),
          .node = TextAt(object, {"spec", "nodeName"}, 253)};
  if (pod.uid.empty() || pod.name_space.empty() || pod.name.empty()) {
    return absl::InvalidArgumentError("a pod has no uid, namespace or name");
  }
  const auto fault = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("the pod ", pod.name_space, "/", pod.name, " has ", what));
  };
  auto labels = TextsAt(object, {"metadata", "labels"}, kMaxLabels);
  if (!labels.has_value()) return fault("more labels than are kept");
  pod.labels = *std::move(labels);
  if (!AddContainers(object, "initContainers", "initContainerStatuses", &pod.containers) ||
      !AddContainers(object, "containers", "containerStatuses", &pod.containers) ||
      !AddContainers(object, "ephemeralContainers", "ephemeralContainerStatuses",
                     &pod.containers)) {
    return fault("more containers than are kept, or one without a name");
  }
  // Admission gives an account to every other pod.
  if (pod.account.empty()) {
    pod.static_uid =
        TextAt(object, {"metadata", "annotations", "kubernetes.io/config.mirror"}, 128);
  }
  const std::string phase = TextAt(object, {"status", "phase"});
  pod.over = phase == "Succeeded" || phase == "Failed";
  return pod;
}

}  // namespace linchpin::kube
