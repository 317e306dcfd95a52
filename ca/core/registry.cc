// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/change_log.h"

namespace linchpin::ca {
namespace {

constexpr absl::string_view kNode = "node/";
constexpr absl::string_view kToken = "token/";
constexpr absl::string_view kIdentity = "identity/";
constexpr absl::string_view kPolicy = "policy/";
constexpr absl::string_view kRotation = "rotation/";
constexpr absl::string_view kOperator = "operator/";

template <typename T>
absl::StatusOr<T> Parse(const std::string& key, const std::string& value) {
  T message;
  if (message.ParseFromString(value)) return message;
  return absl::DataLossError(absl::StrCat("the store's record ", key, " is no ",
                                          std::string(T::descriptor()->full_name()),
                                          "; restore the store from a backup"));
}

template <typename T>
absl::Status PutRow(const std::string& key, const std::string& value, Revision revision,
                    std::map<std::string, Row<T>>* rows) {
  ASSIGN_OR_RETURN(T record, Parse<T>(key, value));
  (*rows)[key] = {std::move(record), revision};
  return absl::OkStatus();
}

// Before anything is committed there may be no record of it.
absl::Status CheckMeta(const state::v1::Meta& meta) {
  if (meta.format() == Registry::kFormat) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the store has format ", meta.format(), ", this program knows ",
                   Registry::kFormat, "; run the program that wrote it, or a newer one"));
}

const std::set<std::string>& Lookup(const std::map<std::string, std::set<std::string>>& index,
                                    const std::string& name) {
  static const auto& none = *new std::set<std::string>;
  const auto it = index.find(name);
  return it == index.end() ? none : it->second;
}

v1::NodeIdentity ForNode(const state::v1::IdentityRecord& record) {
  const v1::Identity& identity = record.identity();
  v1::NodeIdentity shown;
  shown.set_identity_id(identity.identity_id());
  shown.set_spiffe_id(identity.spiffe_id());
  *shown.mutable_selectors() = identity.selectors();
  shown.set_ttl_seconds(identity.ttl_seconds());
  *shown.mutable_dns_names() = identity.dns_names();
  shown.set_hint(identity.hint());
  shown.set_order(record.order());
  return shown;
}

// As part of a message.
constexpr size_t kEntryOverhead = 32;

size_t BytesToSend(const state::v1::IdentityRecord& record) {
  return ForNode(record).ByteSizeLong() + kEntryOverhead;
}

size_t BytesToSend(const state::v1::PolicyRecord& record) {
  return record.rule().ByteSizeLong() + kEntryOverhead;
}

}  // namespace

std::string NodeKey(absl::string_view node_id) {
  return absl::StrCat(kNode, node_id.substr(node_id.rfind('/') + 1));
}

std::string TokenKey(absl::string_view token_sha256) {
  return absl::StrCat(kToken, absl::BytesToHexString(token_sha256));
}

std::string IdentityKey(absl::string_view identity_id) {
  return absl::StrCat(kIdentity, identity_id);
}

std::string PolicyKey(absl::string_view from, absl::string_view to) {
  return absl::StrCat(kPolicy, from, "|", to);
}

std::string OperatorKey(absl::string_view name) { return absl::StrCat(kOperator, name); }

absl::StatusOr<Registry> Registry::FromListing(const Store::Listing& listing) {
  Registry registry;
  for (const Record& record : listing.records) {
    if (record.key != kMetaKey) continue;
    RETURN_IF_ERROR(registry.Put(record.key, record.value, record.revision));
  }
  RETURN_IF_ERROR(CheckMeta(registry.meta_));
  for (const Record& record : listing.records) {
    RETURN_IF_ERROR(registry.Put(record.key, record.value, record.revision));
  }
  registry.log_head_at_start_ = registry.log_head_;
  registry.revision_ = registry.policy_revision_ = listing.at;
  registry.IndexRevocations();
  return registry;
}

absl::Status Registry::Apply(const std::vector<Write>& batch, Revision revision) {
  bool revocations = false;
  for (const Write& write : batch) {
    revocations = revocations || absl::StartsWith(write.key, kRevocationPrefix);
    if (absl::StartsWith(write.key, kPolicy)) policy_revision_ = revision;
    if (write.value.has_value()) {
      RETURN_IF_ERROR(Put(write.key, *write.value, revision));
    } else {
      Remove(write.key);
    }
  }
  revision_ = revision;
  if (revocations) IndexRevocations();
  return absl::OkStatus();
}

absl::Status Registry::Put(const std::string& key, const std::string& value, Revision revision) {
  if (key == kMetaKey) {
    ASSIGN_OR_RETURN(meta_, Parse<state::v1::Meta>(key, value));
  } else if (key == kTrustKey) {
    ASSIGN_OR_RETURN(trust_.record, Parse<state::v1::TrustRecord>(key, value));
    trust_.revision = revision;
  } else if (key == kLogHeadKey) {
    ASSIGN_OR_RETURN(log_head_, Parse<state::v1::LogHeadRecord>(key, value));
  } else if (absl::StartsWith(key, kAuthorityPrefix)) {
    return PutRow(key, value, revision, &authorities_);
  } else if (absl::StartsWith(key, kAwaitedPrefix)) {
    return PutRow(key, value, revision, &awaited_);
  } else if (absl::StartsWith(key, kNode)) {
    ASSIGN_OR_RETURN(auto record, Parse<state::v1::NodeRecord>(key, value));
    nodes_[record.node_id()] = {record, revision};
  } else if (absl::StartsWith(key, kToken)) {
    return PutRow(key, value, revision, &tokens_);
  } else if (absl::StartsWith(key, kIdentity)) {
    ASSIGN_OR_RETURN(auto record, Parse<state::v1::IdentityRecord>(key, value));
    PutIdentity(std::move(record), revision);
  } else if (absl::StartsWith(key, kPolicy)) {
    ASSIGN_OR_RETURN(auto record, Parse<state::v1::PolicyRecord>(key, value));
    PutRule(std::move(record), revision);
  } else if (absl::StartsWith(key, kRevocationPrefix)) {
    return PutRow(key, value, revision, &revocations_);
  } else if (absl::StartsWith(key, kOperator)) {
    ASSIGN_OR_RETURN(auto record, Parse<state::v1::OperatorRecord>(key, value));
    operators_[key.substr(kOperator.size())] = {std::move(record), revision};
  } else if (absl::StartsWith(key, kChangePrefix)) {
    RETURN_IF_ERROR(PutChange(key, value));
  } else if (absl::StartsWith(key, kRotation)) {
    return PutRow(key, value, revision, &rotations_);
  } else if (absl::StartsWith(key, kEpochPrefix)) {
    return PutRow(key, value, revision, &epochs_);
  } else if (absl::StartsWith(key, kSeenPrefix)) {
    return PutRow(key, value, revision, &seen_);
  } else {
    return absl::DataLossError(
        absl::StrCat("the store's record ", key, " is of no kind that this program knows"));
  }
  return absl::OkStatus();
}

void Registry::Remove(const std::string& key) {
  if (absl::StartsWith(key, kIdentity)) {
    RemoveIdentity(key.substr(kIdentity.size()));
  } else if (absl::StartsWith(key, kPolicy)) {
    RemoveRule(key);
  } else if (absl::StartsWith(key, kNode)) {
    std::erase_if(nodes_, [&](const auto& entry) { return NodeKey(entry.first) == key; });
  } else if (absl::StartsWith(key, kOperator)) {
    operators_.erase(key.substr(kOperator.size()));
  } else if (absl::StartsWith(key, kChangePrefix)) {
    changes_.first = std::max(changes_.first, ChangeIndex(key).value_or(0) + 1);
  } else {
    authorities_.erase(key);
    awaited_.erase(key);
    tokens_.erase(key);
    revocations_.erase(key);
    rotations_.erase(key);
    epochs_.erase(key);
    seen_.erase(key);
  }
}

// Changes come in their order, from the store and from commits alike.
absl::Status Registry::PutChange(const std::string& key, const std::string& value) {
  ASSIGN_OR_RETURN(const uint64_t index, ChangeIndex(key));
  ASSIGN_OR_RETURN(const auto record, Parse<state::v1::ChangeRecord>(key, value));
  if (changes_.next == changes_.first) changes_.first = index;
  changes_.next = index + 1;
  changes_.hash = record.hash();
  return absl::OkStatus();
}

void Registry::PutIdentity(state::v1::IdentityRecord record, Revision revision) {
  const std::string id = record.identity().identity_id();
  RemoveIdentity(id);
  record.mutable_identity()->set_revision(revision);
  by_spiffe_id_[record.identity().spiffe_id()].insert(id);
  const size_t bytes = BytesToSend(record);
  if (record.identity().any_node()) {
    of_any_node_.insert(id);
    bytes_of_any_node_ += bytes;
  }
  for (const std::string& node : record.identity().node_ids()) {
    if (by_node_[node].insert(id).second) bytes_by_node_[node] += bytes;
  }
  next_order_ = std::max(next_order_, record.order() + 1);
  identities_[id] = {std::move(record), revision};
}

void Registry::RemoveIdentity(const std::string& identity_id) {
  const auto it = identities_.find(identity_id);
  if (it == identities_.end()) return;
  const auto unlink = [&](std::map<std::string, std::set<std::string>>* index,
                          const std::string& name) {
    const auto entry = index->find(name);
    if (entry == index->end() || entry->second.erase(identity_id) == 0) return false;
    if (entry->second.empty()) index->erase(entry);
    return true;
  };
  const size_t bytes = BytesToSend(it->second.record);
  const v1::Identity& identity = it->second.record.identity();
  unlink(&by_spiffe_id_, identity.spiffe_id());
  for (const std::string& node : identity.node_ids()) {
    if (!unlink(&by_node_, node)) continue;
    const auto left = bytes_by_node_.find(node);
    left->second -= bytes;
    if (left->second == 0) bytes_by_node_.erase(left);
  }
  if (of_any_node_.erase(identity_id) > 0) bytes_of_any_node_ -= bytes;
  identities_.erase(it);
}

void Registry::PutRule(state::v1::PolicyRecord record, Revision revision) {
  const RuleKey key(record.rule().from(), record.rule().to());
  RemoveRule(PolicyKey(key.first, key.second));
  bytes_of_rules_ += BytesToSend(record);
  rules_by_key_[PolicyKey(key.first, key.second)] = key;
  rules_by_callee_.emplace(key.second, key.first);
  rules_[key] = {std::move(record), revision};
}

void Registry::RemoveRule(const std::string& key) {
  const auto it = rules_by_key_.find(key);
  if (it == rules_by_key_.end()) return;
  rules_by_callee_.erase({it->second.second, it->second.first});
  const auto rule = rules_.find(it->second);
  bytes_of_rules_ -= BytesToSend(rule->second.record);
  rules_.erase(rule);
  rules_by_key_.erase(it);
}

const Row<state::v1::NodeRecord>* Registry::FindNode(absl::string_view node_id) const {
  const auto it = nodes_.find(std::string(node_id));
  return it == nodes_.end() ? nullptr : &it->second;
}

const Row<state::v1::TokenRecord>* Registry::FindToken(absl::string_view token_sha256) const {
  const auto it = tokens_.find(TokenKey(token_sha256));
  return it == tokens_.end() ? nullptr : &it->second;
}

const Row<state::v1::IdentityRecord>* Registry::FindIdentity(absl::string_view identity_id) const {
  const auto it = identities_.find(std::string(identity_id));
  return it == identities_.end() ? nullptr : &it->second;
}

const Row<state::v1::OperatorRecord>* Registry::FindOperator(const std::string& name) const {
  const auto it = operators_.find(name);
  return it == operators_.end() ? nullptr : &it->second;
}

const std::set<std::string>& Registry::IdentitiesOf(const std::string& spiffe_id) const {
  return Lookup(by_spiffe_id_, spiffe_id);
}

const std::set<std::string>& Registry::IdentitiesNaming(const std::string& node_id) const {
  return Lookup(by_node_, node_id);
}

Touched Registry::TouchedBy(const std::vector<Write>& batch) const {
  Touched touched;
  for (const Write& write : batch) {
    if (absl::StartsWith(write.key, kIdentity)) {
      const std::string id = write.key.substr(kIdentity.size());
      touched.identities.insert(id);
      const auto* row = FindIdentity(id);
      if (row != nullptr) AddRulesOf(row->record.identity().spiffe_id(), &touched.rules);
      state::v1::IdentityRecord written;
      if (write.value.has_value() && written.ParseFromString(*write.value)) {
        AddRulesOf(written.identity().spiffe_id(), &touched.rules);
      }
    } else if (absl::StartsWith(write.key, kPolicy)) {
      const auto it = rules_by_key_.find(write.key);
      if (it != rules_by_key_.end()) touched.rules.insert(it->second);
      state::v1::PolicyRecord written;
      if (write.value.has_value() && written.ParseFromString(*write.value)) {
        touched.rules.emplace(written.rule().from(), written.rule().to());
      }
    } else if (write.key == kTrustKey || absl::StartsWith(write.key, kRevocationPrefix)) {
      touched.trust = true;  // what nodes are told of authorities changes with its epoch only
    } else if (write.key == kMetaKey) {
      touched.everything = touched.trust = touched.incarnation = true;
    }
  }
  return touched;
}

void Registry::AddRulesOf(const std::string& spiffe_id, std::set<RuleKey>* keys) const {
  for (auto it = rules_.lower_bound({spiffe_id, ""});
       it != rules_.end() && it->first.first == spiffe_id; ++it) {
    keys->insert(it->first);
  }
  for (auto it = rules_by_callee_.lower_bound({spiffe_id, ""});
       it != rules_by_callee_.end() && it->first == spiffe_id; ++it) {
    keys->emplace(it->second, it->first);
  }
}

bool Registry::Sees(const std::string& node_id, const v1::Identity& identity) const {
  if (identity.any_node()) return true;
  return std::find(identity.node_ids().begin(), identity.node_ids().end(), node_id) !=
         identity.node_ids().end();
}

bool Registry::SeesAny(const std::string& node_id, const std::string& spiffe_id) const {
  for (const std::string& id : IdentitiesOf(spiffe_id)) {
    if (Sees(node_id, identities_.at(id).record.identity())) return true;
  }
  return false;
}

size_t Registry::IdentityCountOf(const std::string& node_id) const {
  return of_any_node_.size() + IdentitiesNaming(node_id).size();
}

size_t Registry::GreatestIdentityCount() const {
  size_t most = 0;
  for (const auto& [node, ids] : by_node_) most = std::max(most, ids.size());
  return of_any_node_.size() + most;
}

size_t Registry::SnapshotBytesOf(const std::string& node_id) const {
  const auto own = bytes_by_node_.find(node_id);
  return bytes_of_rules_ + bytes_of_any_node_ + (own == bytes_by_node_.end() ? 0 : own->second);
}

size_t Registry::GreatestSnapshotBytes() const {
  size_t most = 0;
  for (const auto& [node, bytes] : bytes_by_node_) most = std::max(most, bytes);
  return bytes_of_rules_ + bytes_of_any_node_ + most;
}

sync::Projection Registry::ProjectionFor(const std::string& node_id) const {
  std::set<std::string> ids = of_any_node_;
  const std::set<std::string>& own = IdentitiesNaming(node_id);
  ids.insert(own.begin(), own.end());
  sync::Projection projection;
  std::set<RuleKey> rules;
  for (const std::string& id : ids) {
    const state::v1::IdentityRecord& record = identities_.at(id).record;
    AddRulesOf(record.identity().spiffe_id(), &rules);
    projection.identities[id] = ForNode(record);
  }
  for (const RuleKey& key : rules) projection.rules[key] = rules_.at(key).record.rule();
  return projection;
}

sync::Projection Registry::SliceFor(const std::string& node_id, const Touched& touched) const {
  if (touched.everything) return ProjectionFor(node_id);
  sync::Projection slice;
  for (const std::string& id : touched.identities) {
    const auto it = identities_.find(id);
    if (it == identities_.end() || !Sees(node_id, it->second.record.identity())) continue;
    slice.identities[id] = ForNode(it->second.record);
  }
  for (const RuleKey& key : touched.rules) {
    const auto it = rules_.find(key);
    if (it == rules_.end()) continue;
    if (!SeesAny(node_id, key.first) && !SeesAny(node_id, key.second)) continue;
    slice.rules[key] = it->second.record.rule();
  }
  return slice;
}

}  // namespace linchpin::ca
