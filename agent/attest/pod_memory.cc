// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/pod_memory.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "x509/sealing.h"

namespace linchpin::agent {
namespace {

constexpr char kContext[] = "linchpin agent pods v1";

}  // namespace

state::v1::KnownPods KnownPodsOf(const std::string& node,
                                 const std::vector<std::shared_ptr<const kube::Pod>>& pods) {
  state::v1::KnownPods known;
  known.set_node(node);
  for (const std::shared_ptr<const kube::Pod>& pod : pods) {
    state::v1::KnownPod& one = *known.add_pods();
    one.set_uid(pod->uid);
    one.set_name_space(pod->name_space);
    one.set_name(pod->name);
    one.set_account(pod->account);
    one.set_static_uid(pod->static_uid);
    one.mutable_labels()->insert(pod->labels.begin(), pod->labels.end());
    for (const kube::Container& container : pod->containers) {
      state::v1::KnownContainer& kept = *one.add_containers();
      kept.set_name(container.name);
      kept.set_id(container.id);
      kept.set_image(container.image);
      kept.set_image_id(container.image_id);
    }
  }
  return known;
}

std::vector<kube::Pod> PodsIn(const state::v1::KnownPods& known, const std::string& node) {
  std::vector<kube::Pod> pods;
  if (known.node() != node) return pods;
  for (const state::v1::KnownPod& one : known.pods()) {
    kube::Pod pod{.uid = one.uid(),
                  .name_space = one.name_space(),
                  .name = one.name(),
                  .account = one.account(),
                  .node = node,
                  .static_uid = one.static_uid(),
                  .labels = {one.labels().begin(), one.labels().end()}};
    for (const state::v1::KnownContainer& kept : one.containers()) {
      pod.containers.push_back({.name = kept.name(),
                                .id = kept.id(),
                                .image = kept.image(),
                                .image_id = kept.image_id()});
    }
    pods.push_back(std::move(pod));
  }
  return pods;
}

PodMemory::PodMemory(File file, std::string node, PodTable& table, const base::Clock& clock)
    : file_(std::move(file)), node_(std::move(node)), table_(table), loop_(clock) {
  thread_ = std::thread([this] { loop_.Run(); });
}

PodMemory::~PodMemory() {
  loop_.Stop();
  thread_.join();
  if (due_) Write();
}

absl::StatusOr<state::v1::KnownPods> PodMemory::Read() const {
  ASSIGN_OR_RETURN(const std::string sealed, base::ReadFile(file_.path, kMaxBytes));
  ASSIGN_OR_RETURN(const x509::SecretBytes plain, x509::Unseal(file_.key, sealed, kContext));
  state::v1::KnownPods known;
  if (known.ParseFromArray(plain.Reveal().data(), static_cast<int>(plain.size()))) return known;
  return absl::DataLossError("it holds no pods");
}

void PodMemory::Recall() {
  const absl::StatusOr<state::v1::KnownPods> known = Read();
  if (absl::IsNotFound(known.status())) return;
  if (!known.ok()) {
    base::LogWarning("the pods that were known before are not; the API server tells of them anew",
                     {{"file", file_.path}, {"error", std::string(known.status().message())}});
    return;
  }
  for (kube::Pod& pod : PodsIn(*known, node_)) table_.Take(std::move(pod));
}

void PodMemory::Changed() {
  base::MutexLock lock(mutex_);
  if (std::exchange(due_, true)) return;
  loop_.PostAfter(kGather, [this] { Write(); });
}

void PodMemory::Write() {
  {
    base::MutexLock lock(mutex_);
    due_ = false;
  }
  const std::string plain = KnownPodsOf(node_, table_.All()).SerializeAsString();
  const absl::StatusOr<std::string> sealed =
      x509::Seal(file_.key, plain, kContext, base::SystemRandom());
  const absl::Status written =
      sealed.ok() ? base::WriteFileDurably(file_.path, *sealed, 0600) : sealed.status();
  if (written.ok()) {
    told_ = false;
  } else if (!std::exchange(told_, true)) {
    base::LogWarning("this node's pods are not written down; tries again when they change",
                     {{"file", file_.path}, {"error", std::string(written.message())}});
  }
}

}  // namespace linchpin::agent
