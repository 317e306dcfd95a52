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
constexpr size_t kMaxVersionBytes = 64;  // of a caller's word; none of ours is as long

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
  if (!has_node || std::exchange(node_seen_, true)) return absl::OkStatus();
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
  if (contexts_ != nullptr) {
    self_ = KeepWithdrawn(*self_, *contexts_, *contexts, [this](const std::string& id) {
      return id == self_->default_id ||
             entries_.contains(absl::StrCat(kInboundPeersSecret, ":", id));
    });
  }
  contexts_ = std::move(contexts);
  if (self_->default_id.empty() && contexts_->identities_size() > 0) {
    self_ = std::make_shared<const EnvoySelf>(
        EnvoySelf{.default_id = contexts_->identities(0).spiffe_id(), .withdrawn = {}});
  }
  // One who has no identity waits.
  const bool waits = contexts_->identities().empty() && contexts_->trust_domains().empty();
  secrets_.reset();
  if (!waits) secrets_.emplace(contexts_, style_, anchors_, self_);
  const std::set<std::string> everything = Everything();
  std::erase_if(entries_, [&](const auto& entry) {
    return !entry.second.by_name && entry.second.sent.empty() && !entry.second.carried_trust;
  });
  for (auto& [name, entry] : entries_) {
    if (entry.by_name || everything.contains(name)) {
      Look(name, &entry);
    } else {
      entry.known.reset();
    }
  }
  Add(everything);
}

void SecretStream::Look(const std::string& name, Entry* entry) const {
  entry->known = secrets_.has_value() ? secrets_->Look(name) : std::nullopt;
  if (!entry->known.has_value()) return;
  // It stays: whoever has trust enforces it, whether or not there is such a secret any more.
  entry->carried_trust = entry->carried_trust || entry->known->is_trust;
  entry->told_absent = false;
}

std::set<std::string> SecretStream::Everything() const {
  if (!everything_ || !secrets_.has_value()) return {};
  const std::vector<std::string> names = secrets_->Names();
  return {names.begin(), names.end()};
}

void SecretStream::Add(const std::set<std::string>& names) {
  for (const std::string& name : names) {
    const auto [it, fresh] = entries_.try_emplace(name);
    if (fresh) Look(name, &it->second);
  }
}

void SecretStream::Sent(Entry* entry) const {
  // From now on he may have either.
  if (entry->sent != entry->known->version) entry->accepted.clear();
  entry->sent = entry->known->version;
  entry->sent_in = nonce_;
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

std::string SecretStream::Carries() const {
  if (!HoldsTrust()) return "";
  x509::FieldHasher hasher("linchpin carried secrets v1");
  for (const auto& [name, entry] : entries_) {
    if (entry.carried_trust) hasher.Add(name);
  }
  return hasher.Finish();
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
  // "If the client sends a request with no resource names and has never named any, it is a
  // wildcard": once there were names, none means none.
  named_ = named_ || !names.empty();
  const bool everything = names.erase(kEverything) > 0 || !named_;
  RETURN_IF_ERROR(CheckNames(names));
  if (begun_ && everything == everything_ && AreNamed(names)) return absl::OkStatus();
  begun_ = true;
  owed_ = true;
  everything_ = everything;
  const std::set<std::string> all = Everything();
  std::erase_if(entries_, [&](const auto& entry) {
    return !names.contains(entry.first) && !all.contains(entry.first);
  });
  for (auto& [name, entry] : entries_) entry.by_name = entry.by_name && names.contains(name);
  for (const std::string& name : names) {
    Entry& entry = entries_[name];
    if (!std::exchange(entry.by_name, true)) Look(name, &entry);
  }
  Add(all);
  return absl::OkStatus();
}

bool WholeSecretStream::AreNamed(const std::set<std::string>& names) const {
  size_t named = 0;
  for (const auto& [name, entry] : entries_) {
    if (!entry.by_name) continue;
    if (!names.contains(name)) return false;
    ++named;
  }
  return named == names.size();
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
    Sent(&entry);
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
  RETURN_IF_ERROR(CheckNames(NamesAfter(request)));
  const bool first = !std::exchange(begun_, true);
  for (const std::string& name : request.resource_names_unsubscribe()) Unsubscribe(name);
  if (first && request.resource_names_subscribe().empty()) everything_ = true;
  for (const std::string& name : request.resource_names_subscribe()) Subscribe(name);
  if (first) Recall(request);
  Add(Everything());
  return absl::OkStatus();
}

std::set<std::string> DeltaSecretStream::NamesAfter(const Request& request) const {
  std::set<std::string> names;
  for (const auto& [name, entry] : entries_) {
    if (entry.by_name) names.insert(name);
  }
  for (const std::string& name : request.resource_names_unsubscribe()) names.erase(name);
  for (const std::string& name : request.resource_names_subscribe()) names.insert(name);
  if (!begun_) {
    for (const auto& [name, version] : request.initial_resource_versions()) names.insert(name);
  }
  names.erase(kEverything);
  return names;
}

void DeltaSecretStream::Subscribe(const std::string& name) {
  if (name == kEverything) {
    everything_ = true;
    return;
  }
  Entry& entry = entries_[name];
  entry.by_name = true;
  entry.sent.clear();  // also one that he has is sent again: he asks for it
  entry.told_absent = false;
  Look(name, &entry);
}

void DeltaSecretStream::Unsubscribe(const std::string& name) {
  if (name == kEverything) {
    everything_ = false;
    std::erase_if(entries_, [](const auto& entry) { return !entry.second.by_name; });
    return;
  }
  const auto it = entries_.find(name);
  if (it == entries_.end()) return;
  if (!Everything().contains(name)) {
    entries_.erase(it);
    return;
  }
  it->second.by_name = false;
  it->second.sent.clear();
}

// What he has from an earlier stream: of the names that he asks for, or, if he asks for everything,
// also what has vanished while he was away.
void DeltaSecretStream::Recall(const Request& request) {
  const std::set<std::string> all = Everything();
  for (const auto& [name, version] : request.initial_resource_versions()) {
    auto it = entries_.find(name);
    if (it == entries_.end()) {
      if (!everything_ || name == kEverything) continue;
      it = entries_.try_emplace(name).first;
      if (all.contains(name)) Look(name, &it->second);
    }
    Entry& entry = it->second;
    entry.sent = version.substr(0, kMaxVersionBytes);
    entry.accepted = entry.sent;
  }
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
      if (!entry.by_name && !entry.carried_trust) {
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
  for (Entry* entry : sent) Sent(entry);
  return response;
}

}  // namespace linchpin::agent
