// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/deliver/secret_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/text.h"
#include "x509/digest.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {
namespace {

constexpr char kEverything[] = "*";
constexpr size_t kVersionBytes = 16;

template <typename Response>
std::shared_ptr<Response> NewResponse() {
  return x509::ShareWiped(Response(), static_cast<void (*)(Response*)>(Wipe));
}

class VersionHasher {
 public:
  void Add(const std::string& name, const std::string& version) { hasher_.Add(name).Add(version); }
  std::string Finish() { return absl::BytesToHexString(hasher_.Finish().substr(0, kVersionBytes)); }

 private:
  x509::FieldHasher hasher_{"linchpin envoy secrets v1"};
};

}  // namespace

void Wipe(discovery::DiscoveryResponse* response) {
  for (google::protobuf::Any& any : *response->mutable_resources()) {
    x509::WipeString(any.mutable_value());
  }
}

void Wipe(discovery::DeltaDiscoveryResponse* response) {
  for (discovery::Resource& one : *response->mutable_resources()) {
    x509::WipeString(one.mutable_resource()->mutable_value());
  }
}

absl::Status SecretStream::Begin(absl::string_view type_url, bool has_node,
                                 const envoy::config::core::v3::Node& node) {
  if (!type_url.empty() && type_url != kSecretType) {
    return absl::InvalidArgumentError(absl::StrCat("type_url ", trust::Quoted(type_url),
                                                   " is not served here; ", kSecretType, " is"));
  }
  if (!has_node) return absl::OkStatus();
  const EnvoyStyle style = StyleOf(node);
  if (style == style_) return absl::OkStatus();
  style_ = style;
  if (contexts_ != nullptr) Use(anchors_.now, contexts_);
  return absl::OkStatus();
}

absl::Status SecretStream::CheckNames(const std::set<std::string>& names) const {
  size_t bytes = 0;
  for (const std::string& name : names) {
    if (name.size() > kMaxNameBytes) {
      return absl::InvalidArgumentError(absl::StrCat("the resource name ", trust::Quoted(name),
                                                     " has ", name.size(), " bytes; at most ",
                                                     kMaxNameBytes, " are allowed"));
    }
    bytes += name.size();
  }
  if (names.size() > kMaxNames || bytes > kMaxNamesBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(names.size(), " resource names with ", bytes, " bytes are asked for; at most ",
                     kMaxNames, " with ", kMaxNamesBytes, " are allowed on a stream"));
  }
  return absl::OkStatus();
}

void SecretStream::Use(absl::Time now, std::shared_ptr<const v1::MtlsContexts> contexts) {
  anchors_.now = now;
  contexts_ = KeepRules(contexts_, std::move(contexts));
  // One who has no identity waits.
  const bool waits = contexts_->identities().empty() && contexts_->trust_domains().empty();
  if (waits) {
    secrets_.reset();
  } else {
    secrets_.emplace(contexts_, style_, anchors_);
  }
  std::erase_if(entries_, [](const auto& entry) {
    return !entry.second.by_name && entry.second.sent.empty();
  });
  for (auto& [name, entry] : entries_) Look(name, &entry);
  AddEverything();
}

void SecretStream::Look(const std::string& name, Entry* entry) const {
  entry->known = secrets_.has_value() ? secrets_->Look(name) : std::nullopt;
  if (entry->known.has_value()) {
    entry->carried_trust = entry->known->is_trust;
    entry->told_absent = false;
  } else if (entry->sent.empty()) {
    entry->carried_trust = false;
  }
}

void SecretStream::AddEverything() {
  if (!everything_ || !secrets_.has_value()) return;
  for (const std::string& name : secrets_->Names()) {
    const auto [it, fresh] = entries_.try_emplace(name);
    if (fresh) Look(name, &it->second);
  }
}

std::string SecretStream::NextNonce() {
  nonce_ = absl::StrCat(name_, ".", ++responses_);
  return nonce_;
}

void SecretStream::Pack(const std::string& name, google::protobuf::Any* out) const {
  EnvoySecret secret = secrets_->Render(name);
  out->set_type_url(kSecretType);
  secret.SerializeToString(out->mutable_value());
  WipeKey(&secret);
}

void SecretStream::Refuse(const std::string& nonce, const google::rpc::Status& why) {
  if (nonce != refused_) refusal_ = trust::Quoted(why.message());
  refused_ = nonce;
}

bool SecretStream::HoldsTrust() const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [](const auto& entry) { return entry.second.carried_trust; });
}

std::optional<SecretStream::Accepted> SecretStream::TakeAccepted() {
  if (contexts_ == nullptr || contexts_->trust_digest().empty()) return std::nullopt;
  bool any = false;
  for (const auto& [name, entry] : entries_) {
    if (!entry.carried_trust) continue;
    any = true;
    // One that is no more is in force all the same.
    if (!entry.known.has_value() || entry.known->version != entry.accepted) return std::nullopt;
  }
  Accepted now{contexts_->trust_epoch(), contexts_->trust_digest()};
  if (!any || told_ == now) return std::nullopt;
  told_ = now;
  return now;
}

std::optional<std::string> SecretStream::TakeRefusal() {
  return std::exchange(refusal_, std::nullopt);
}

void WholeSecretStream::Answered(const Request& request) {
  if (nonce_.empty()) return;
  if (request.has_error_detail()) return Refuse(nonce_, request.error_detail());
  // Other names, by one who had refused: he says which version he is still at.
  if (request.version_info() != version_) return;
  for (auto& [name, entry] : entries_) {
    if (entry.sent_in == nonce_) entry.accepted = entry.sent;
  }
}

absl::Status WholeSecretStream::Take(const Request& request) {
  RETURN_IF_ERROR(Begin(request.type_url(), request.has_node(), request.node()));
  // One that crossed a response on its way: the answer to that says it again.
  if (!nonce_.empty() && request.response_nonce() != nonce_) return absl::OkStatus();
  Answered(request);
  std::set<std::string> names(request.resource_names().begin(), request.resource_names().end());
  const bool everything =
      names.erase(kEverything) > 0 || (names.empty() && (!begun_ || everything_));
  RETURN_IF_ERROR(CheckNames(names));
  const bool changed = everything != everything_ ||
                       !std::all_of(names.begin(), names.end(), [this](const std::string& name) {
                         const auto it = entries_.find(name);
                         return it != entries_.end() && it->second.by_name;
                       });
  const size_t before = entries_.size();
  everything_ = everything;
  std::erase_if(entries_,
                [&](const auto& entry) { return !everything && !names.contains(entry.first); });
  for (const std::string& name : names) {
    Entry& entry = entries_[name];
    entry.by_name = true;
    Look(name, &entry);
  }
  AddEverything();
  if (changed || entries_.size() < before || !begun_) owed_ = true;
  begun_ = true;
  return absl::OkStatus();
}

std::shared_ptr<const WholeSecretStream::Response> WholeSecretStream::Next() {
  if (!begun_ || !has_secrets()) return nullptr;
  VersionHasher hasher;
  bool any = false;
  for (const auto& [name, entry] : entries_) {
    if (!entry.known.has_value()) continue;
    hasher.Add(name, entry.known->version);
    any = true;
  }
  std::string version = hasher.Finish();
  if (!any || (version == version_ && !owed_)) return nullptr;
  owed_ = false;
  version_ = std::move(version);
  auto response = NewResponse<Response>();
  response->set_version_info(version_);
  response->set_type_url(kSecretType);
  response->set_nonce(NextNonce());
  for (auto& [name, entry] : entries_) {
    if (!entry.known.has_value()) continue;
    Pack(name, response->add_resources());
    entry.sent = entry.known->version;
    entry.sent_in = nonce_;
  }
  return response;
}

absl::Status DeltaSecretStream::Take(const Request& request) {
  RETURN_IF_ERROR(Begin(request.type_url(), request.has_node(), request.node()));
  const std::string& nonce = request.response_nonce();
  if (!nonce.empty() && request.has_error_detail()) {
    const bool ours = nonce == nonce_ ||
                      std::any_of(entries_.begin(), entries_.end(),
                                  [&](const auto& entry) { return entry.second.sent_in == nonce; });
    if (ours) Refuse(nonce, request.error_detail());
  } else if (!nonce.empty()) {
    for (auto& [name, entry] : entries_) {
      if (entry.sent_in == nonce) entry.accepted = entry.sent;
    }
  }
  std::set<std::string> names(request.resource_names_subscribe().begin(),
                              request.resource_names_subscribe().end());
  for (const auto& [name, entry] : entries_) {
    if (entry.by_name) names.insert(name);
  }
  for (const std::string& name : request.resource_names_unsubscribe()) names.erase(name);
  names.erase(kEverything);
  RETURN_IF_ERROR(CheckNames(names));
  Subscribe(request);
  begun_ = true;
  return absl::OkStatus();
}

void DeltaSecretStream::Subscribe(const Request& request) {
  const auto& subscribed = request.resource_names_subscribe();
  if (!begun_ && subscribed.empty()) everything_ = true;
  for (const std::string& name : subscribed) {
    if (name == kEverything) {
      everything_ = true;
      continue;
    }
    Entry& entry = entries_[name];
    entry.by_name = true;
    entry.sent.clear();  // also one that he has is sent again: he asks for it
    entry.told_absent = false;
    Look(name, &entry);
    const auto held = request.initial_resource_versions().find(name);
    if (begun_ || held == request.initial_resource_versions().end()) continue;
    if (!entry.known.has_value() || held->second == entry.known->version) {
      entry.sent = held->second.substr(0, kMaxNameBytes);
      entry.accepted = entry.sent;
    }
  }
  for (const std::string& name : request.resource_names_unsubscribe()) {
    if (name == kEverything) {
      everything_ = false;
      std::erase_if(entries_, [](const auto& entry) { return !entry.second.by_name; });
    } else if (const auto it = entries_.find(name); it != entries_.end()) {
      it->second.by_name = false;
      if (!everything_) entries_.erase(it);
    }
  }
  AddEverything();
}

std::shared_ptr<const DeltaSecretStream::Response> DeltaSecretStream::Next() {
  if (!begun_ || !has_secrets()) return nullptr;
  auto response = NewResponse<Response>();
  VersionHasher hasher;
  std::vector<Entry*> sent;
  for (auto it = entries_.begin(); it != entries_.end();) {
    const std::string& name = it->first;
    Entry& entry = it->second;
    if (entry.known.has_value()) {
      hasher.Add(name, entry.known->version);
      if (entry.known->version != entry.sent) {
        discovery::Resource& one = *response->add_resources();
        one.set_name(name);
        one.set_version(entry.known->version);
        Pack(name, one.mutable_resource());
        sent.push_back(&entry);
      }
    } else if (!entry.told_absent) {
      response->add_removed_resources(name);
      entry.told_absent = true;
      entry.sent.clear();
      if (!entry.by_name) {
        it = entries_.erase(it);
        continue;
      }
    }
    ++it;
  }
  if (response->resources().empty() && response->removed_resources().empty()) return nullptr;
  response->set_system_version_info(hasher.Finish());
  response->set_type_url(kSecretType);
  response->set_nonce(NextNonce());
  for (Entry* entry : sent) {
    entry->sent = entry->known->version;
    entry->sent_in = nonce_;
  }
  return response;
}

}  // namespace linchpin::agent
