// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/pod_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace linchpin::agent {

kube::Watch::What PodsOfNode(absl::string_view node) {
  return {.path = "/api/v1/pods",
          .selector = absl::StrCat("&fieldSelector=spec.nodeName%3D", node),
          .only = &kube::PodNames()};
}

std::shared_ptr<const kube::Pod> PodTable::Find(const std::string& uid) const {
  base::MutexLock lock(mutex_);
  auto it = pods_.find(uid);
  if (it != pods_.end()) return it->second;
  const auto mirrors = mirrors_.find(uid);
  if (mirrors == mirrors_.end() || mirrors->second.size() != 1) return nullptr;
  it = pods_.find(*mirrors->second.begin());
  return it == pods_.end() ? nullptr : it->second;
}

std::vector<std::shared_ptr<const kube::Pod>> PodTable::All() const {
  std::vector<std::shared_ptr<const kube::Pod>> all;
  base::MutexLock lock(mutex_);
  for (const auto& [uid, pod] : pods_) all.push_back(pod);
  return all;
}

void PodTable::Changed(const kube::Pod& pod) {
  if (changed_ == nullptr) return;
  changed_(pod.uid);
  if (!pod.static_uid.empty()) changed_(pod.static_uid);
}

void PodTable::ListBegins() { listed_.clear(); }

void PodTable::Put(const kube::Json& object) {
  auto pod = kube::ReadPod(object);
  if (!pod.ok()) {
    base::LogWarning("a pod is left out", {{"error", std::string(pod.status().message())}});
    return;
  }
  listed_.insert(pod->uid);
  if (pod->over) return RemoveUid(pod->uid);
  Take(*std::move(pod));
}

void PodTable::Take(kube::Pod pod) {
  const std::string uid = pod.uid;
  std::shared_ptr<const kube::Pod> kept;
  {
    base::MutexLock lock(mutex_);
    const auto it = pods_.find(uid);
    if (it != pods_.end() && *it->second == pod) return;
    if (it == pods_.end() && pods_.size() >= kMaxPods) {
      lock.unlock();
      base::LogError("a pod is left out: this node has too many",
                     {{"pod", absl::StrCat(pod.name_space, "/", pod.name)}});
      return;
    }
    kept = std::make_shared<const kube::Pod>(std::move(pod));
    pods_[uid] = kept;
    if (!kept->static_uid.empty()) mirrors_[kept->static_uid].insert(uid);
  }
  Changed(*kept);
}

void PodTable::RemoveUid(const std::string& uid) {
  std::shared_ptr<const kube::Pod> gone;
  {
    base::MutexLock lock(mutex_);
    const auto it = pods_.find(uid);
    if (it == pods_.end()) return;
    gone = it->second;
    pods_.erase(it);
    const auto mirrors = mirrors_.find(gone->static_uid);
    if (mirrors != mirrors_.end()) {
      mirrors->second.erase(uid);
      if (mirrors->second.empty()) mirrors_.erase(mirrors);
    }
  }
  Changed(*gone);
}

void PodTable::ListEnds() {
  std::vector<std::string> gone;
  {
    base::MutexLock lock(mutex_);
    for (const auto& [uid, pod] : pods_) {
      if (!listed_.contains(uid)) gone.push_back(uid);
    }
  }
  for (const std::string& uid : gone) RemoveUid(uid);
  listed_.clear();
  if (std::exchange(told_, false)) base::LogInfo("the API server tells of this node's pods again");
}

void PodTable::Remove(const kube::Json& object) {
  RemoveUid(kube::TextAt(object, {"metadata", "uid"}, 128));
}

void PodTable::Failed(const absl::Status& why) {
  if (std::exchange(told_, true)) return;
  base::LogWarning("this node's pods are those that were known until now; tries again",
                   {{"error", std::string(why.message())}});
}

}  // namespace linchpin::agent
