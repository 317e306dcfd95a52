// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which container of which pod a process is in, by the names of its control groups. Pure.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace linchpin::agent {

struct PodContainer {
  std::string pod_uid;
  std::string container_id;
  bool operator==(const PodContainer&) const = default;
};

// `cgroup` is /proc/PID/cgroup, all of it, as the agent reads it: never mountinfo, which a process
// can shape. Knows the names that the kubelet gives with either driver (cgroupfs, systemd) and that
// containerd, CRI-O and Docker give below; version 1, 2 or both; also as seen from a control group
// name space of the agent's own ("/../..").
//
// The outermost pod counts: what is named below a container is the container's own doing. Above the
// pod there may be no unit that hands its subtree to a user (.service, .scope, user.slice). Lines
// that name different containers, one of which must be a lie, are nothing.
std::optional<PodContainer> ContainerInCgroup(absl::string_view cgroup);

}  // namespace linchpin::agent
