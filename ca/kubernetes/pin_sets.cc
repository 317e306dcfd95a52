// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/kubernetes/pin_sets.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "x509/spki_pin.h"

namespace linchpin::ca {
namespace {

using kube::Json;

constexpr ObjectKind kPinSet{"PinSet", "pinsets"};
constexpr size_t kMaxDocument = size_t{1} << 20;
constexpr size_t kMaxSignatures = 64;
constexpr size_t kMaxObjects = 256;

absl::StatusOr<std::string> Bytes(const Json& object, const char* field) {
  std::string bytes;
  const std::string text = kube::TextAt(object, {field}, kMaxDocument);
  if (!text.empty() && absl::Base64Unescape(text, &bytes)) return bytes;
  return absl::InvalidArgumentError(
      absl::StrCat("spec.document: \"", field, "\" is not there or no base64"));
}

}  // namespace

absl::StatusOr<trust::v1::SignedPinSet> ReadPinSetObject(const Json& object) {
  const std::string text = kube::TextAt(object, {"spec", "document"}, kMaxDocument);
  ASSIGN_OR_RETURN(const Json document, kube::ParseObject(text, "spec.document"));
  trust::v1::SignedPinSet set;
  ASSIGN_OR_RETURN(*set.mutable_payload(), Bytes(document, "payload"));
  const Json* signatures = kube::At(document, {"signatures"});
  if (signatures == nullptr || !signatures->is_array() || signatures->size() > kMaxSignatures) {
    return absl::InvalidArgumentError(
        absl::StrCat("spec.document: \"signatures\" is no list of at most ", kMaxSignatures));
  }
  for (const Json& one : *signatures) {
    ASSIGN_OR_RETURN(const x509::SpkiPin pin,
                     x509::SpkiPin::Parse(kube::TextAt(one, {"key"}, 128)));
    trust::v1::Signature& signature = *set.add_signatures();
    signature.set_key_id(pin.bytes());
    ASSIGN_OR_RETURN(*signature.mutable_signature(), Bytes(one, "signature"));
  }
  return set;
}

PinSetObjects::PinSetObjects(kube::Api& api, StandingWriter& standings, Publish publish)
    : standings_(standings), publish_(std::move(publish)) {
  gate_->objects = this;
  watch_.emplace(
      api, kube::Watch::What{.path = absl::StrCat("/apis/", kObjectsGroup, "/", kPinSet.plural)},
      *this);
}

PinSetObjects::~PinSetObjects() {
  watch_.reset();
  base::MutexLock lock(gate_->mutex);
  gate_->objects = nullptr;
}

void PinSetObjects::Put(const Json& object) {
  const auto name = ReadObjectName(object);
  if (!name.ok()) return;
  {
    base::MutexLock lock(mutex_);
    const auto it = known_.find(name->uid);
    if (it != known_.end() && it->second.name.generation == name->generation) return;
    if (it == known_.end() && known_.size() >= kMaxObjects) {
      base::LogWarning("a PinSet is left out: there are too many", {{"name", name->name}});
      return;
    }
    known_[name->uid] = {.name = *name, .kind = kPinSet, .fault = "", .figures = Json::object()};
  }
  auto set = ReadPinSetObject(object);
  if (!set.ok()) return Answered(name->uid, name->generation, set.status(), 0);
  publish_(*std::move(set),
           [gate = gate_, name = *name](const absl::Status& status, uint64_t version) {
             base::MutexLock lock(gate->mutex);
             if (gate->objects == nullptr) return;
             gate->objects->Answered(name.uid, name.generation, status, version);
           });
}

void PinSetObjects::Answered(const std::string& uid, int64_t generation, const absl::Status& status,
                             uint64_t version) {
  base::MutexLock lock(mutex_);
  const auto it = known_.find(uid);
  if (it == known_.end() || it->second.name.generation != generation) return;
  it->second.fault = std::string(status.message());
  it->second.figures = status.ok() ? Json{{"version", version}} : Json::object();
  base::LogInfo(status.ok() ? "a PinSet is published" : "a PinSet is refused",
                {{"name", it->second.name.name}, {"error", it->second.fault}});
  TellStandings();
}

void PinSetObjects::TellStandings() {
  std::vector<Standing> standings;
  for (const auto& [uid, standing] : known_) standings.push_back(standing);
  standings_.Tell(kPinSet.plural, std::move(standings));
}

void PinSetObjects::Remove(const Json& object) {
  base::MutexLock lock(mutex_);
  known_.erase(kube::TextAt(object, {"metadata", "uid"}, 128));
  TellStandings();
}

void PinSetObjects::Failed(const absl::Status& why) {
  if (std::exchange(told_, true)) return;
  base::LogWarning("PinSets are not read; tries again", {{"error", std::string(why.message())}});
}

}  // namespace linchpin::ca
