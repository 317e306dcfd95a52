// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What is kept of a pod. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kube/json.h"

namespace linchpin::kube {

struct Container {
  std::string name;
  std::string id;        // without the runtime's name in front; empty: it has not begun
  std::string image;     // as the pod asks for it
  std::string image_id;  // that runs: with its digest, as the runtime says it
  bool operator==(const Container&) const = default;
};

struct Pod {
  std::string uid;
  std::string name_space;
  std::string name;
  std::string account;  // of the service account; empty: a kubelet's own, a static pod's mirror
  std::string node;     // empty: none yet
  // Of a mirror: the uid by which the kubelet knows the static pod, as in its control groups.
  std::string static_uid;
  std::map<std::string, std::string> labels;
  std::vector<Container> containers;  // init and ephemeral ones, too
  bool over = false;                  // Succeeded or Failed: none of its processes runs any more
  bool operator==(const Pod&) const = default;
};

inline constexpr size_t kMaxLabels = 256;
inline constexpr size_t kMaxContainers = 256;

// The names of what ReadPod() looks at, for ParseObject().
const Names& PodNames();
// INVALID_ARGUMENT: what says who it is is missing, or there is more of it than we keep.
absl::StatusOr<Pod> ReadPod(const Json& object);

}  // namespace linchpin::kube
