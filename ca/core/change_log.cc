// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/change_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "ca/core/record_text.h"
#include "linchpin/state/v1/ca_state.pb.h"
#include "x509/digest.h"

namespace linchpin::ca {
namespace {

constexpr size_t kDigits = 16;
constexpr char kNotShown[] = "\"(not shown)\"";

std::string HashOf(const std::string& before, const std::string& change) {
  return x509::FieldHasher("linchpin change v1").Add(before).Add(change).Finish();
}

template <typename Table>
const google::protobuf::Message* Find(const Table& table, const typename Table::key_type& key) {
  const auto it = table.find(key);
  return it == table.end() ? nullptr : &it->second.record;
}

// The record as the tables have it; null: there is none.
const google::protobuf::Message* Held(const Registry& registry, const std::string& key) {
  if (key == kMetaKey) return &registry.meta();
  if (key == kLogHeadKey && registry.log_head().entries() > 0) return &registry.log_head();
  if (key == kTrustKey) return registry.trust().revision == 0 ? nullptr : &registry.trust().record;
  if (absl::StartsWith(key, "identity/")) {
    const auto* row = registry.FindIdentity(key.substr(sizeof("identity/") - 1));
    return row == nullptr ? nullptr : &row->record;
  }
  if (absl::StartsWith(key, "node/")) {
    const auto* row = registry.FindNode(
        absl::StrCat("spiffe://", registry.meta().trust_domain(), "/linchpin/", key));
    return row == nullptr ? nullptr : &row->record;
  }
  if (absl::StartsWith(key, "policy/")) {
    const std::pair<std::string, std::string> rule =
        absl::StrSplit(key.substr(sizeof("policy/") - 1), absl::MaxSplits('|', 1));
    return Find(registry.rules(), rule);
  }
  if (absl::StartsWith(key, "operator/")) {
    return Find(registry.operators(), key.substr(sizeof("operator/") - 1));
  }
  for (const google::protobuf::Message* found :
       {Find(registry.authorities(), key), Find(registry.tokens(), key),
        Find(registry.revocations(), key), Find(registry.epochs(), key), Find(registry.seen(), key),
        Find(registry.rotations(), key), Find(registry.awaited(), key)}) {
    if (found != nullptr) return found;
  }
  return nullptr;
}

uint64_t EpochOf(const Registry& registry, const Write& write) {
  state::v1::TrustRecord record;
  if (write.key != kTrustKey || !write.value.has_value()) return 0;
  if (!record.ParseFromString(*write.value)) return 0;
  return record.epoch() == registry.trust().record.epoch() ? 0 : record.epoch();
}

void Describe(const Registry& registry, const std::vector<Write>& batch, v1::Change* change) {
  size_t text = 0;
  for (const Write& write : batch) {
    change->set_trust_epoch(std::max(change->trust_epoch(), EpochOf(registry, write)));
    if (change->records_size() == kMaxChangedRecords || text >= kMaxChangeText) {
      change->set_more_records(change->more_records() + 1);
      continue;
    }
    const auto after = write.value.has_value() ? ParseRecord(write.key, *write.value) : nullptr;
    v1::ChangedRecord* record = change->add_records();
    *record = DescribeChange(write.key, Held(registry, write.key), after.get());
    // A kind that this does not know is told all the same.
    if (write.value.has_value() && after == nullptr) record->set_after(kNotShown);
    if (write.expected.value_or(0) > 0 && record->before().empty()) record->set_before(kNotShown);
    text += record->ByteSizeLong();
  }
}

}  // namespace

std::string ChangeKey(uint64_t index) {
  return absl::StrFormat("%s%0*d", kChangePrefix, kDigits, index);
}

absl::StatusOr<uint64_t> ChangeIndex(absl::string_view key) {
  const absl::string_view digits = key.substr(sizeof(kChangePrefix) - 1);
  uint64_t index = 0;
  if (digits.size() != kDigits || !absl::SimpleAtoi(digits, &index) || index == 0) {
    return absl::DataLossError(
        absl::StrCat("the store's record ", key, " is no change; restore the store from a backup"));
  }
  return index;
}

void AddChangeRecord(const Registry& registry, const ChangedBy& by, absl::Time now,
                     std::vector<Write>* batch) {
  if (batch->empty()) return;
  const ChangeHead& head = registry.changes();
  v1::Change change;
  change.set_index(head.next);
  change.set_changed_at(absl::ToUnixSeconds(now));
  change.set_who(by.who);
  change.set_role(by.role);
  change.set_from(by.from);
  change.set_method(by.method);
  change.set_hash_before(head.hash);
  Describe(registry, *batch, &change);

  state::v1::ChangeRecord record;
  record.set_change(change.SerializeAsString());
  record.set_hash(HashOf(head.hash, record.change()));
  batch->push_back(
      {.key = ChangeKey(head.next), .value = record.SerializeAsString(), .expected = 0});
  for (size_t i = 0; i + 1 < kChangeWrites && head.first + i + kMaxChanges <= head.next; ++i) {
    batch->push_back(
        {.key = ChangeKey(head.first + i), .value = std::nullopt, .expected = std::nullopt});
  }
}

absl::StatusOr<v1::Change> ReadChange(const Record& record) {
  ASSIGN_OR_RETURN(const uint64_t index, ChangeIndex(record.key));
  state::v1::ChangeRecord stored;
  v1::Change change;
  if (!stored.ParseFromString(record.value) || !change.ParseFromString(stored.change())) {
    return absl::DataLossError(absl::StrCat("the change ", index, " cannot be read"));
  }
  if (change.index() != index || stored.hash() != HashOf(change.hash_before(), stored.change())) {
    return absl::DataLossError(
        absl::StrCat("the change ", index, " was edited: its hash is another"));
  }
  change.set_hash(stored.hash());
  change.set_revision(record.revision);
  return change;
}

absl::Status ChangeChecker::Check(const v1::Change& change) {
  if (checked_ > 0 && change.index() != next_) {
    return absl::DataLossError(absl::StrCat("the change ", next_, " is missing"));
  }
  if (checked_ > 0 && change.hash_before() != head_) {
    return absl::DataLossError(absl::StrCat("the change ", change.index(),
                                            " does not follow the one before it: one of them was "
                                            "edited"));
  }
  next_ = change.index() + 1;
  head_ = change.hash();
  ++checked_;
  return absl::OkStatus();
}

}  // namespace linchpin::ca
