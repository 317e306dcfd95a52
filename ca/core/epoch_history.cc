// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/epoch_history.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ca/core/authorities.h"
#include "ca/core/pin_sets.h"
#include "linchpin/ca/v1/operator.pb.h"

namespace linchpin::ca {
namespace {

constexpr int64_t kMarkSeconds[] = {1, 60, 3600, 86400};

absl::Time MarkTime(const v1::EpochCoverage& epoch, int64_t after_seconds) {
  return absl::FromUnixMillis(epoch.began_at_ms()) + absl::Seconds(after_seconds);
}

absl::Time NextMark(const v1::EpochCoverage& epoch) {
  const auto taken = static_cast<size_t>(epoch.marks_size());
  if (taken >= std::size(kMarkSeconds)) return absl::InfiniteFuture();
  return MarkTime(epoch, kMarkSeconds[taken]);
}

std::string SubjectOf(const state::v1::AuthorityRecord& record) {
  const auto certificate = x509::Certificate::FromDer(record.certificate());
  return certificate.ok() ? certificate->fields().subject : record.key_name();
}

std::string AuthorityChange(const Registry& registry, const Write& write) {
  const auto before = registry.authorities().find(write.key);
  if (!write.value.has_value()) {
    if (before == registry.authorities().end()) return "";
    return absl::StrCat("dropped: ", SubjectOf(before->second.record));
  }
  state::v1::AuthorityRecord record;
  record.ParseFromString(*write.value);
  if (before == registry.authorities().end()) {
    return absl::StrCat("new, ", record.state(), ": ", SubjectOf(record));
  }
  const std::string& state = before->second.record.state();
  if (state == record.state()) return absl::StrCat("changed: ", SubjectOf(record));
  return absl::StrCat(state, " to ", record.state(), ": ", SubjectOf(record));
}

std::string RevocationChange(const Registry& registry, const Write& write) {
  if (write.value.has_value()) {
    state::v1::RevocationRecord record;
    record.ParseFromString(*write.value);
    return absl::StrCat("revoked ", record.what());
  }
  const auto before = registry.revocations().find(write.key);
  return before == registry.revocations().end()
             ? ""
             : absl::StrCat("lapsed: ", before->second.record.what());
}

std::string TrustChange(const state::v1::TrustRecord& before, const state::v1::TrustRecord& after) {
  const uint64_t version = PublishedVersion(after);
  if (version != PublishedVersion(before)) return absl::StrCat("pin set ", version);
  if (after.relax().SerializeAsString() != before.relax().SerializeAsString()) {
    return absl::StrCat("pin set ", version, " relaxed");
  }
  if (after.freshness().SerializeAsString() != before.freshness().SerializeAsString()) {
    return absl::StrCat("pin set ", version, " said to be the newest");
  }
  return "";
}

std::string Change(const Registry& registry, const Write& write) {
  if (write.key == kTrustKey) {
    state::v1::TrustRecord record;
    record.ParseFromString(write.value.value_or(""));
    return TrustChange(registry.trust().record, record);
  }
  if (absl::StartsWith(write.key, kAuthorityPrefix)) return AuthorityChange(registry, write);
  if (absl::StartsWith(write.key, kRevocationPrefix)) return RevocationChange(registry, write);
  return "";
}

std::optional<uint64_t> EpochAfter(const Registry& registry, const std::vector<Write>& batch) {
  for (const Write& write : batch) {
    if (write.key != kTrustKey || !write.value.has_value()) continue;
    state::v1::TrustRecord record;
    if (!record.ParseFromString(*write.value)) continue;
    if (record.epoch() != registry.trust().record.epoch()) return record.epoch();
  }
  return std::nullopt;
}

bool IsMissing(const CoverageView& view, const state::v1::NodeRecord& node, uint64_t epoch,
               absl::Time now) {
  if (node.state() != "attested") return false;
  if (Covers(view, node.node_id(), epoch, now)) return false;
  return Counts(view, node, now);
}

void Add(const v1::CoverageCount& more, v1::CoverageCount* to) {
  to->set_nodes(to->nodes() + more.nodes());
  to->set_services(to->services() + more.services());
  to->set_services_covered(to->services_covered() + more.services_covered());
  to->set_in_force(to->in_force() + more.in_force());
  to->set_accepted(to->accepted() + more.accepted());
  to->set_reloaded(to->reloaded() + more.reloaded());
  to->set_assumed(to->assumed() + more.assumed());
}

}  // namespace

void CountService(const v1::Consumer& service, bool covered, v1::CoverageCount* to) {
  to->set_services(to->services() + 1);
  if (!covered) return;
  to->set_services_covered(to->services_covered() + 1);
  switch (service.evidence()) {
    case v1::IN_FORCE:
      return to->set_in_force(to->in_force() + 1);
    case v1::ACCEPTED:
      return to->set_accepted(to->accepted() + 1);
    case v1::RELOADED:
      return to->set_reloaded(to->reloaded() + 1);
    default:
      return to->set_assumed(to->assumed() + 1);
  }
}

void AddEpochRecord(const Registry& registry, absl::Time now, std::vector<Write>* batch) {
  constexpr int kMostChanges = 32;
  const std::optional<uint64_t> epoch = EpochAfter(registry, *batch);
  if (!epoch.has_value()) return;
  state::v1::EpochRecord record;
  v1::EpochCoverage& coverage = *record.mutable_coverage();
  coverage.set_epoch(*epoch);
  coverage.set_began_at_ms(absl::ToUnixMillis(now));
  for (const Write& write : *batch) {
    state::v1::ChangeRecord made;  // by whom: it goes with the change
    v1::Change change_made;
    if (absl::StartsWith(write.key, kChangePrefix) && write.value.has_value() &&
        made.ParseFromString(*write.value) && change_made.ParseFromString(made.change())) {
      coverage.set_by(change_made.who());
    }
    const std::string change = Change(registry, write);
    if (!change.empty() && coverage.changes_size() < kMostChanges) coverage.add_changes(change);
  }
  batch->push_back(
      {.key = EpochKey(*epoch), .value = record.SerializeAsString(), .expected = std::nullopt});
  if (registry.epochs().size() < kEpochsKept) return;
  batch->push_back(
      {.key = registry.epochs().begin()->first, .value = std::nullopt, .expected = std::nullopt});
}

std::vector<v1::CoverageCount> CountCoverage(const CoverageView& view,
                                             const std::vector<uint64_t>& epochs, absl::Time now) {
  const auto covered_by = [&](uint64_t shown) -> size_t {
    return std::upper_bound(epochs.begin(), epochs.end(), shown) - epochs.begin();
  };
  std::vector<v1::CoverageCount> just(epochs.size() + 1);  // who covers so many of them
  for (const auto& [node_id, row] : view.registry.nodes()) {
    if (row.record.state() != "attested" || !Counts(view, row.record, now)) continue;
    const NodeHolds* node = view.coverage.Find(node_id);
    const bool any = Covers(view, node_id, 0, now);
    v1::CoverageCount& of = just[any ? covered_by(view.coverage.CoveredEpoch(node_id, now)) : 0];
    of.set_nodes(of.nodes() + 1);
    if (node == nullptr) continue;
    for (const auto& [id, consumer] : node->consumers) {
      const size_t covered = covered_by(view.coverage.EpochOf(*node, consumer, now));
      CountService(consumer.said, covered > 0, &just[covered]);
    }
  }
  std::vector<v1::CoverageCount> counts(epochs.size());
  v1::CoverageCount sum;
  for (size_t i = just.size(); i-- > 0;) {
    Add(just[i], &sum);
    if (i == 0) break;
    counts[i - 1] = sum;
    counts[i - 1].set_nodes_covered(sum.nodes());
  }
  for (v1::CoverageCount& count : counts) {
    count.set_nodes(sum.nodes());
    count.set_services(sum.services());
  }
  return counts;
}

v1::CoverageCount CountCoverage(const CoverageView& view, uint64_t epoch, absl::Time now) {
  return CountCoverage(view, std::vector<uint64_t>{epoch}, now).front();
}

v1::EpochCoverage ToldAt(v1::EpochCoverage recorded, absl::Time now) {
  if (recorded.complete_at_ms() == 0) return recorded;
  while (NextMark(recorded) <= now) {
    const int64_t after = kMarkSeconds[recorded.marks_size()];
    v1::CoverageMark* mark = recorded.add_marks();
    mark->set_after_seconds(after);
    *mark->mutable_count() = recorded.at_completion();
  }
  return recorded;
}

void EpochHistory::Open(const Registry& registry) {
  const auto& epochs = registry.epochs();
  for (auto it = epochs.upper_bound(opened_); it != epochs.end(); ++it) {
    opened_ = it->first;
    const v1::EpochCoverage& coverage = it->second.record.coverage();
    if (coverage.complete_at_ms() != 0) continue;
    next_mark_ = std::min(next_mark_, NextMark(coverage));
    open_.emplace(it->first, coverage);
  }
  while (!open_.empty() && (epochs.empty() || open_.begin()->first < epochs.begin()->first)) {
    open_.erase(open_.begin());
  }
}

void EpochHistory::TakeMarks(const CoverageView& view, absl::Time now) {
  if (now < next_mark_) return;
  next_mark_ = absl::InfiniteFuture();
  for (auto& [key, epoch] : open_) {
    for (absl::Time at = NextMark(epoch); at <= now; at = NextMark(epoch)) {
      const int64_t after = kMarkSeconds[epoch.marks_size()];
      v1::CoverageMark* mark = epoch.add_marks();
      mark->set_after_seconds(after);
      if (at >= started_) *mark->mutable_count() = CountCoverage(view, epoch.epoch(), at);
    }
    next_mark_ = std::min(next_mark_, NextMark(epoch));
  }
}

// The search goes on from the node that was missing last, so that a fleet of which each node comes
// into line once is looked through once.
bool EpochHistory::IsComplete(const CoverageView& view, uint64_t epoch, absl::Time now) {
  const auto& nodes = view.registry.nodes();
  const auto missing = [&](const auto& entry) {
    return IsMissing(view, entry.second.record, epoch, now);
  };
  const auto from = nodes.lower_bound(waits_for_);
  auto found = std::find_if(from, nodes.end(), missing);
  if (found == nodes.end()) {
    found = std::find_if(nodes.begin(), from, missing);
    if (found == from) return true;
  }
  waits_for_ = found->first;
  return false;
}

void EpochHistory::LookForComplete(const CoverageView& view, absl::Time now) {
  Open(view.registry);
  // Where an epoch is not in force everywhere, no later one is.
  while (!open_.empty() && IsComplete(view, open_.begin()->second.epoch(), now)) {
    auto done = open_.extract(open_.begin());
    done.mapped().set_complete_at_ms(absl::ToUnixMillis(now));
    *done.mapped().mutable_at_completion() = CountCoverage(view, done.mapped().epoch(), now);
    done_.insert(std::move(done));
  }
  std::erase_if(done_, [&](const auto& entry) {
    const auto row = view.registry.epochs().find(entry.first);
    return row == view.registry.epochs().end() ||
           row->second.record.coverage().complete_at_ms() != 0;
  });
}

std::vector<Write> EpochHistory::Unwritten(const Registry& registry) const {
  std::vector<Write> writes;
  const auto look = [&](const std::string& key, const v1::EpochCoverage& epoch) {
    const auto row = registry.epochs().find(key);
    if (row == registry.epochs().end()) return;
    const v1::EpochCoverage& stored = row->second.record.coverage();
    if (stored.marks_size() == epoch.marks_size() &&
        stored.complete_at_ms() == epoch.complete_at_ms()) {
      return;
    }
    state::v1::EpochRecord record;
    *record.mutable_coverage() = epoch;
    writes.push_back(
        {.key = key, .value = record.SerializeAsString(), .expected = row->second.revision});
  };
  for (const auto& [key, epoch] : open_) look(key, epoch);
  for (const auto& [key, epoch] : done_) look(key, epoch);
  return writes;
}

}  // namespace linchpin::ca
