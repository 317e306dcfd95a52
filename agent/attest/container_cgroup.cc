// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/container_cgroup.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace linchpin::agent {
namespace {

constexpr size_t kMaxUid = 64;
constexpr size_t kShortestId = 32, kLongestId = 128;
// Runtimes that put their name before the container's id, with systemd's driver and some without.
constexpr absl::string_view kRuntimes[] = {"cri-containerd-", "crio-", "docker-", "libpod-"};
// containerd told to use the cgroupfs driver by a kubelet that uses systemd's makes one segment of
// all: kubepods-besteffort-podUID.slice:cri-containerd:ID, below its own unit.
constexpr absl::string_view kMixed = ":cri-containerd:";
constexpr absl::string_view kMixedUnits[] = {"containerd.service", "k3s.service", "rke2.service"};

bool IsUid(absl::string_view uid) {
  return !uid.empty() && uid.size() <= kMaxUid && std::all_of(uid.begin(), uid.end(), [](char c) {
    return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f') || c == '-';
  });
}

bool IsContainerId(absl::string_view id) {
  return id.size() >= kShortestId && id.size() <= kLongestId &&
         std::all_of(id.begin(), id.end(),
                     [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
}

// "pod0d9c-…", or "kubepods-burstable-pod0d9c_….slice".
std::optional<std::string> PodUidOf(absl::string_view segment) {
  if (absl::ConsumeSuffix(&segment, ".slice")) {
    if (!absl::StartsWith(segment, "kubepods") && !absl::StartsWith(segment, "kubelet-kubepods")) {
      return std::nullopt;
    }
    const size_t at = segment.rfind("-pod");
    if (at == absl::string_view::npos) return std::nullopt;
    std::string uid = absl::StrReplaceAll(segment.substr(at + 4), {{"_", "-"}});
    return IsUid(uid) ? std::make_optional(std::move(uid)) : std::nullopt;
  }
  if (!absl::ConsumePrefix(&segment, "pod") || !IsUid(segment)) return std::nullopt;
  return std::string(segment);
}

std::optional<std::string> ContainerIdOf(absl::string_view segment) {
  absl::ConsumeSuffix(&segment, ".scope");
  for (const absl::string_view runtime : kRuntimes) {
    if (absl::ConsumePrefix(&segment, runtime)) break;
  }
  if (!IsContainerId(segment)) return std::nullopt;
  return std::string(segment);
}

std::optional<PodContainer> MixedOf(absl::string_view segment) {
  const size_t at = segment.find(kMixed);
  if (at == absl::string_view::npos) return std::nullopt;
  auto uid = PodUidOf(segment.substr(0, at));
  auto id = ContainerIdOf(segment.substr(at + kMixed.size()));
  if (!uid.has_value() || !id.has_value()) return std::nullopt;
  return PodContainer{*std::move(uid), *std::move(id)};
}

// Whoever it belongs to may name what is below.
bool IsHandedOut(absl::string_view segment) {
  return segment == "user.slice" || absl::EndsWith(segment, ".service") ||
         absl::EndsWith(segment, ".scope");
}

bool IsMixedUnit(absl::string_view segment) {
  return std::find(std::begin(kMixedUnits), std::end(kMixedUnits), segment) !=
         std::end(kMixedUnits);
}

std::optional<PodContainer> ContainerInPath(absl::string_view path) {
  if (!absl::ConsumePrefix(&path, "/")) return std::nullopt;
  const std::vector<absl::string_view> segments = absl::StrSplit(path, '/');
  // The kubelet's own group; or, seen from below it, where the way up ends.
  bool in_kubelet = segments.front() == "..";
  bool in_mixed_unit = false;
  for (size_t i = 0; i < segments.size(); ++i) {
    const absl::string_view segment = segments[i];
    if (segment == "..") continue;
    if (in_kubelet || in_mixed_unit) {
      if (auto mixed = MixedOf(segment)) return mixed;
    }
    if (in_mixed_unit) return std::nullopt;
    if (IsHandedOut(segment)) {
      if (!IsMixedUnit(segment)) return std::nullopt;
      in_mixed_unit = true;
      continue;
    }
    if (absl::StartsWith(segment, "kubepods") || absl::StartsWith(segment, "kubelet")) {
      in_kubelet = true;
    }
    auto uid = in_kubelet ? PodUidOf(segment) : std::nullopt;
    if (!uid.has_value()) continue;
    auto id = i + 1 < segments.size() ? ContainerIdOf(segments[i + 1]) : std::nullopt;
    if (!id.has_value()) return std::nullopt;
    return PodContainer{*std::move(uid), *std::move(id)};
  }
  return std::nullopt;
}

}  // namespace

std::optional<PodContainer> ContainerInCgroup(absl::string_view cgroup) {
  std::optional<PodContainer> found;
  for (const absl::string_view line : absl::StrSplit(cgroup, '\n', absl::SkipEmpty())) {
    // hierarchy-ID:controller-list:cgroup-path (cgroups(7)); a path may have colons.
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) return std::nullopt;
    std::optional<PodContainer> here = ContainerInPath(parts[2]);
    if (!here.has_value()) continue;
    if (found.has_value() && found != here) return std::nullopt;
    found = std::move(here);
  }
  return found;
}

}  // namespace linchpin::agent
