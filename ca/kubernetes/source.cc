// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/kubernetes/source.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "kube/json.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

using kube::Json;

constexpr absl::Duration kGather = absl::Milliseconds(20);  // changes that come together
constexpr absl::Duration kRetry = absl::Seconds(5);
constexpr absl::Duration kRetryRefused = absl::Seconds(30);
constexpr char kMergePatch[] = "application/merge-patch+json";
constexpr char kTrustMap[] = "linchpin-trust";

}  // namespace

// One kind of objects.
class KubernetesSource::Follower final : public kube::WatchSink {
 public:
  using PutInto = std::function<absl::Status(Plan&, const Json&)>;
  using RemoveFrom = std::function<void(Plan&, const std::string& key)>;
  // `key`: where an object's name in the plan is, below metadata.
  struct Kind {
    std::string path;
    const char* key;
    PutInto put;
    RemoveFrom remove;
    const kube::Names* only = nullptr;  // what is kept of an object; null: all
  };
  Follower(KubernetesSource& source, Kind kind) : source_(source), kind_(std::move(kind)) {}
  void Begin() {
    watch_.emplace(source_.api_, kube::Watch::What{.path = kind_.path, .only = kind_.only}, *this);
  }
  void Stop() { watch_->Stop(); }

  void ListBegins() override { listed_.clear(); }
  void Put(const Json& object) override {
    const std::string key = KeyOf(object);
    listed_.insert(key);
    known_.insert(key);
    source_.Change([&](Plan& plan) {
      const absl::Status taken = kind_.put(plan, object);
      left_out_ = left_out_ || absl::IsResourceExhausted(taken);
      if (!taken.ok()) {
        base::LogWarning("an object of the cluster is left out",
                         {{"path", kind_.path}, {"error", std::string(taken.message())}});
      }
    });
  }
  void ListEnds() override {
    std::vector<std::string> gone;
    for (const std::string& key : known_) {
      if (!listed_.contains(key)) gone.push_back(key);
    }
    for (const std::string& key : gone) RemoveKey(key);
    listed_.clear();
    if (!std::exchange(has_listed_, true)) source_.Listed();
    if (std::exchange(told_, false)) base::LogInfo("is told again", {{"path", kind_.path}});
  }
  void Remove(const Json& object) override { RemoveKey(KeyOf(object)); }
  void Failed(const absl::Status& why) override {
    if (std::exchange(told_, true)) return;
    base::LogWarning("goes by what was known until now of the cluster; tries again",
                     {{"path", kind_.path}, {"error", std::string(why.message())}});
  }

 private:
  std::string KeyOf(const Json& object) const {
    return kube::TextAt(object, {"metadata", kind_.key}, 253);
  }
  void RemoveKey(const std::string& key) {
    known_.erase(key);
    if (std::exchange(left_out_, false)) watch_->ListAgain();  // there may be room now
    source_.Change([&](Plan& plan) { kind_.remove(plan, key); });
  }

  KubernetesSource& source_;
  const Kind kind_;
  std::set<std::string> known_, listed_;
  bool has_listed_ = false;
  bool told_ = false;
  bool left_out_ = false;  // for want of room
  std::optional<kube::Watch> watch_;
};

namespace {

absl::Status PutNamespace(Plan& plan, const Json& object) {
  auto labels = kube::TextsAt(object, {"metadata", "labels"}, kube::kMaxLabels);
  if (!labels.has_value()) {
    return absl::ResourceExhaustedError("a namespace has more labels than are kept");
  }
  plan.PutNamespace(kube::TextAt(object, {"metadata", "name"}, 63), *std::move(labels));
  return absl::OkStatus();
}

absl::Status PutPod(Plan& plan, const Json& object) {
  const auto pod = kube::ReadPod(object);
  if (!pod.ok()) return pod.status();
  return plan.PutPod(*pod);
}

absl::Status PutIdentity(Plan& plan, const Json& object) {
  const auto name = ReadObjectName(object);
  if (!name.ok()) return name.status();
  return plan.PutIdentity(*name, ReadWorkloadIdentity(object));
}

}  // namespace

KubernetesSource::KubernetesSource(Options options, kube::Api& api, const base::Clock& clock,
                                   Ask ask)
    : options_(std::move(options)),
      api_(api),
      clock_(clock),
      ask_(std::move(ask)),
      plan_(options_.trust_domain, options_.cluster, options_.default_identity),
      standings_(api, clock),
      loop_(clock) {
  gate_->source = this;
  thread_ = std::thread([this] { loop_.Run(); });
  const auto put_policy = [this](Plan& plan, const Json& object) {
    const auto name = ReadObjectName(object);
    if (!name.ok()) return name.status();
    return plan.PutPolicy(*name, ReadPeerPolicy(object, options_.trust_domain));
  };
  const auto remove_object = [](Plan& plan, const std::string& uid) { plan.RemoveObject(uid); };
  for (Follower::Kind& kind : std::vector<Follower::Kind>{
           {"/api/v1/namespaces", "name", PutNamespace,
            [](Plan&plan, const std::string&name) { plan.RemoveNamespace(name); }},
           {"/api/v1/pods", "uid", PutPod,
            [](Plan&plan, const std::string&uid) { plan.RemovePod(uid); }, &kube::PodNames()},
           {absl::StrCat("/apis/", kObjectsGroup, "/workloadidentities"), "uid", PutIdentity,
            remove_object},
           {absl::StrCat("/apis/", kObjectsGroup, "/peerpolicies"), "uid", put_policy,
            remove_object}}) {
    followers_.push_back(std::make_unique<Follower>(*this, std::move(kind)));
  }
  not_listed_ = followers_.size();
  for (const auto& follower : followers_) follower->Begin();
  if (!options_.own_namespace.empty()) (void)loop_.Post([this] { WriteTrust(); });
}

KubernetesSource::~KubernetesSource() {
  standings_.Stop();
  for (const auto& follower : followers_) follower->Stop();
  followers_.clear();
  {
    base::MutexLock lock(gate_->mutex);
    gate_->source = nullptr;
  }
  loop_.Stop();
  thread_.join();
}

void KubernetesSource::Change(const std::function<void(Plan&)>& change) {
  base::MutexLock lock(mutex_);
  change(plan_);
  if (not_listed_ > 0 || look_due_) return;
  look_due_ = true;
  loop_.PostAfter(kGather, [this] { Look(); });
}

void KubernetesSource::Listed() {
  base::MutexLock lock(mutex_);
  if (--not_listed_ > 0 || look_due_) return;
  look_due_ = true;
  loop_.PostAfter(kGather, [this] { Look(); });
}

void KubernetesSource::Look() {
  bool send = false;
  bool whole = false;
  {
    base::MutexLock lock(mutex_);
    look_due_ = false;
    if (under_way_) return;  // its answer looks again
    send = !begun_ || plan_.HasChanges();
    whole = !begun_;
    if (send) plan_.Touch(refused_);  // what was refused may be good by now
    under_way_ = send;
  }
  if (send) return Send(whole);
  std::vector<Standing> standings;
  {
    base::MutexLock lock(mutex_);
    standings = plan_.Standings(refused_);
  }
  standings_.Tell("identities and policies", std::move(standings));
}

void KubernetesSource::Send(bool whole) {
  ApplyKubernetes asked{.wishes = nullptr, .refusals = std::make_shared<KubernetesRefusals>()};
  {
    base::MutexLock lock(mutex_);
    asked.wishes = std::make_shared<const KubernetesWishes>(plan_.Take(whole));
  }
  ask_(asked, [gate = gate_, whole, asked](const absl::Status& status) {
    base::MutexLock lock(gate->mutex);
    KubernetesSource* source = gate->source;
    if (source == nullptr) return;
    (void)source->loop_.Post(
        [source, answered = Answered{whole, status, asked.wishes, asked.refusals}] {
          source->Took(answered);
        });
  });
}

void KubernetesSource::Took(const Answered& answered) {
  bool again = false;
  {
    base::MutexLock lock(mutex_);
    under_way_ = false;
    begun_ = answered.status.ok() && (begun_ || answered.whole);
    if (answered.status.ok()) {
      for (const auto& [id, wish] : answered.asked->identities) refused_.identities.erase(id);
      for (const auto& [pair, wish] : answered.asked->rules) refused_.rules.erase(pair);
      for (const auto& one : answered.refusals->identities) refused_.identities.insert(one);
      for (const auto& one : answered.refusals->rules) refused_.rules.insert(one);
    }
    again = !refused_.identities.empty() || !refused_.rules.empty();
  }
  if (again) PostRetry();
  if (!answered.status.ok()) {  // what was taken is lost: everything is compared again
    base::LogWarning("the cluster's objects are not in force; tries again",
                     {{"error", std::string(answered.status.message())}});
    loop_.PostAfter(kRetry, [this] { Look(); });
    return;
  }
  Look();
}

// An operator may have made room for what was refused, of which no object tells.
void KubernetesSource::PostRetry() {
  if (std::exchange(retry_due_, true)) return;
  loop_.PostAfter(kRetryRefused, [this] {
    retry_due_ = false;
    {
      base::MutexLock lock(mutex_);
      plan_.Touch(refused_);
    }
    Look();
  });
}

// What an agent needs for its first contact. Who may write this object may give agents another CA.
void KubernetesSource::WriteTrust() {
  const Json data = {{"data",
                      {{"trust-domain", options_.trust_domain.name()},
                       {"ca-pin", options_.ca_pins.empty() ? "" : options_.ca_pins.front()},
                       {"ca-pins", absl::StrJoin(options_.ca_pins, "\n")}}}};
  const std::string maps =
      absl::StrCat("/api/v1/namespaces/", options_.own_namespace, "/configmaps");
  auto done = api_.Call({.method = "PATCH",
                         .path = absl::StrCat(maps, "/", kTrustMap),
                         .body = kube::Dump(data),
                         .content_type = kMergePatch});
  if (absl::IsNotFound(done.status())) {
    Json made = data;
    made["apiVersion"] = "v1";
    made["kind"] = "ConfigMap";
    made["metadata"] = {{"name", kTrustMap}};
    done = api_.Call({.method = "POST", .path = maps, .body = kube::Dump(made)});
  }
  if (done.ok()) return;
  base::LogWarning("the ConfigMap that agents wait for is not written; tries again",
                   {{"name", kTrustMap}, {"error", std::string(done.status().message())}});
  loop_.PostAfter(kRetry, [this] { WriteTrust(); });
}

}  // namespace linchpin::ca
