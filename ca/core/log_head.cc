// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/log_head.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "ca/core/change_log.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMostWrites = Store::kMaxBatch - 1;
constexpr size_t kNameBytes = 8;  // of the hash that stands for a loss

Write HeadWrite(const state::v1::LogHeadRecord& record) {
  return {.key = kLogHeadKey, .value = record.SerializeAsString(), .expected = std::nullopt};
}

// No certificate that is in no record lives longer from its issue.
absl::Duration LongestTtl(const Registry& registry, const Profile& profile) {
  absl::Duration longest = std::max(profile.node_ttl, profile.leaf_ttl);
  for (const auto& [id, row] : registry.identities()) {
    longest = std::max(longest, absl::Seconds(row.record.identity().ttl_seconds()));
  }
  return longest;
}

// The next loss is of another chain, also where the numbers are the same again.
std::string NameOfLoss(const state::v1::LogHeadRecord& head, const LogEnd& found) {
  return absl::StrCat(found.entries, "/",
                      absl::BytesToHexString(head.hash().substr(0, kNameBytes)));
}

}  // namespace

bool IsLogAhead(const Registry& registry, const event::Tick& tick) {
  return tick.log_entries > registry.log_head().entries();
}

void AddLogHead(const Registry& registry, const event::Tick& tick, absl::Time now,
                std::vector<Write>* batch) {
  const bool has_it = !batch->empty() && batch->back().key == kLogHeadKey;
  if (!IsLogAhead(registry, tick) || has_it || batch->size() > kMostWrites) return;
  state::v1::LogHeadRecord record = registry.log_head();
  record.set_entries(tick.log_entries);
  record.set_hash(tick.log_head);
  record.set_anchored_at(absl::ToUnixSeconds(now));
  batch->push_back(HeadWrite(record));
}

absl::Status CheckLogEnd(const state::v1::LogHeadRecord& head, const LogEnd& found) {
  if (head.entries() == 0 || head.hash() == found.anchored_hash) return absl::OkStatus();
  const std::string found_text =
      found.entries < head.entries()
          ? absl::StrCat("ends after ", found.entries, " entries")
          : absl::StrCat("has another entry ", head.entries() - 1, " than the store knows");
  return absl::DataLossError(absl::StrCat(
      "the issuance log ", found_text, ", and it had ", head.entries(), " at ",
      trust::TimeText(absl::FromUnixSeconds(head.anchored_at())),
      ": its end was cut off, or it is an older copy than the store. Put the newest files of the "
      "directory log back from a copy. If there is none, start once with --accept-log-end ",
      NameOfLoss(head, found), ", after docs/runbooks/lost-log.md"));
}

absl::StatusOr<std::vector<Write>> AcceptLogEnd(const Registry& registry, const Profile& profile,
                                                const std::string& loss, const LogEnd& found,
                                                absl::Time now) {
  const state::v1::LogHeadRecord& before = registry.log_head();
  if (loss != NameOfLoss(before, found)) {
    return absl::InvalidArgumentError(
        absl::StrCat("accept_log_end is ", trust::Quoted(loss), ", which is another loss than ",
                     NameOfLoss(before, found), ": nothing was accepted; ",
                     CheckLogEnd(before, found).message()));
  }
  const int64_t until = absl::ToUnixSeconds(now + LongestTtl(registry, profile));
  state::v1::LogHeadRecord record;
  record.set_entries(found.entries);
  record.set_hash(found.hash);
  record.set_anchored_at(before.anchored_at());
  record.set_lost(before.lost() + before.entries() - std::min(before.entries(), found.entries));
  record.set_lost_until(std::max(before.lost_until(), until));
  std::vector<Write> batch = {HeadWrite(record)};
  AddChangeRecord(registry, {kItself, "", "", "accept_log_end"}, now, &batch);
  return batch;
}

void CountLost(const Registry& registry, const Authorities& authorities, Outstanding* outstanding) {
  if (registry.log_head().lost_until() == 0) return;
  const absl::Time until = absl::FromUnixSeconds(registry.log_head().lost_until());
  for (const Authority& issuer : authorities.all()) {
    if (issuer.is_root || issuer.state == kPrepared || issuer.state == kBackup) continue;
    const std::string pin = issuer.certificate.public_key().pin().bytes();
    outstanding->Issued("", pin, std::min(until, issuer.certificate.fields().not_after));
    for (const auto& [node_id, row] : registry.nodes()) outstanding->Issued(node_id, pin, until);
  }
}

}  // namespace linchpin::ca
