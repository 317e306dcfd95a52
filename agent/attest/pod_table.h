// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The pods of this node, as the API server says.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "kube/pod.h"
#include "kube/watch.h"

namespace linchpin::agent {

kube::Watch::What PodsOfNode(absl::string_view node);

// Any thread.
class PodTable final : public kube::WatchSink {
 public:
  static constexpr size_t kMaxPods = 4096;  // a kubelet runs some hundreds at most

  // Called with the uid of each pod that came, went or changed; from the watch's thread. Set before
  // the watch begins.
  void OnChange(std::function<void(const std::string& uid)> changed) {
    changed_ = std::move(changed);
  }
  // Null: no such pod, or it is over. A static pod is found by the uid that the kubelet gave it, if
  // one mirror alone says that it is that one's.
  std::shared_ptr<const kube::Pod> Find(const std::string& uid) const;
  std::vector<std::shared_ptr<const kube::Pod>> All() const;
  // From another source than the watch, which the next list corrects.
  void Take(kube::Pod pod);

  void ListBegins() override;
  void Put(const kube::Json& object) override;
  void ListEnds() override;
  void Remove(const kube::Json& object) override;
  void Failed(const absl::Status& why) override;

 private:
  void RemoveUid(const std::string& uid);
  void Changed(const kube::Pod& pod);

  std::function<void(const std::string&)> changed_;
  std::set<std::string> listed_;  // uids, since the list began
  bool told_ = false;             // of a failure that lasts
  mutable base::Mutex mutex_;
  std::map<std::string, std::shared_ptr<const kube::Pod>> pods_;  // by uid
  std::map<std::string, std::set<std::string>> mirrors_;          // uids by static pod's uid
};

}  // namespace linchpin::agent
