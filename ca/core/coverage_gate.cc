// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/coverage_gate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "ca/core/restored.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMostServicesNamed = 3;

std::string WhyNot(const ConsumerHolds& consumer, uint64_t epoch) {
  const std::string who = consumer.said.spiffe_id();
  switch (consumer.said.evidence()) {
    case v1::NONE:
      return absl::StrCat(
          "nothing shows what ", who, " enforces",
          absl::StartsWith(consumer.said.consumer_id(), "<restart>")
              ? " (served before its agent restarted, not back yet; if it hangs, the agent's log "
                "names it)"
              : "");
    case v1::DELIVERED:
      return absl::StrCat(who, " was given trust epoch ", consumer.said.trust_epoch(), " at ",
                          trust::TimeText(consumer.since), " (assumed after ",
                          absl::FormatDuration(Coverage::kSettling), ")");
    default:
      return absl::StrCat(who, " enforces trust epoch ", consumer.said.trust_epoch(),
                          consumer.said.trust_epoch() < epoch
                              ? ""
                              : ", of another past or of before this CA started");
  }
}

std::string LateServices(const Coverage& coverage, const NodeHolds& node, uint64_t epoch,
                         absl::Time now) {
  std::string text;
  size_t late = 0;
  for (const auto& [id, consumer] : node.consumers) {
    if (coverage.EpochOf(node, consumer, now) >= epoch) continue;
    if (++late <= kMostServicesNamed) {
      absl::StrAppend(&text, late == 1 ? "" : "; ", WhyNot(consumer, epoch));
    }
  }
  if (late > kMostServicesNamed) {
    absl::StrAppend(&text, "; ", late - kMostServicesNamed, " more services are late");
  }
  return text;
}

std::string Silence(const NodeHolds* node) {
  if (node == nullptr) return "has not been heard of since this CA started";
  if (node->connected) return "";
  return absl::StrCat("is silent since ", trust::TimeText(node->last_seen));
}

}  // namespace

bool Covers(const CoverageView& view, const std::string& node_id, uint64_t epoch, absl::Time now) {
  const NodeHolds* node = view.coverage.Find(node_id);
  return node != nullptr && node->refused.empty() &&
         node->pin_set_version <= view.coverage.pin_set_offered() &&
         view.coverage.CoveredEpoch(node_id, now) >= epoch;
}

std::string WhyMissing(const CoverageView& view, const std::string& node_id, uint64_t epoch,
                       absl::Time now) {
  if (Covers(view, node_id, epoch, now)) return "";
  const NodeHolds* node = view.coverage.Find(node_id);
  std::string why = Silence(node);
  if (node == nullptr || !node->heard) return why;
  absl::StrAppend(&why, why.empty() ? "" : "; ");
  if (!node->refused.empty()) {
    absl::StrAppend(&why, "refuses the trust state: ", node->refused);
  } else if (node->trust_epoch > view.registry.trust().record.epoch()) {
    absl::StrAppend(&why, "holds trust epoch ", node->trust_epoch,
                    ", which this CA does not know; if its store was put back from a copy: "
                    "linchpin ca restored");
  } else if (node->pin_set_version > view.coverage.pin_set_offered()) {
    absl::StrAppend(&why, "holds pin set version ", node->pin_set_version,
                    ", which was not published here: linchpin pins publish FILE");
  } else if (node->too_many_consumers) {
    absl::StrAppend(&why, "speaks of more services than are kept account of (",
                    Coverage::kMaxConsumers, ")");
  } else if (node->trust_epoch < epoch) {
    absl::StrAppend(&why, "holds trust epoch ", node->trust_epoch);
  } else if (!view.coverage.HoldsWhatWasOffered(*node)) {
    absl::StrAppend(&why, "holds another trust state by the number ", node->trust_epoch,
                    ", of another past, and is sent this one");
  } else {
    absl::StrAppend(&why, LateServices(view.coverage, *node, epoch, now));
  }
  return why;
}

absl::Time LeavesAt(const CoverageView& view, const state::v1::NodeRecord& node) {
  return std::max({absl::FromUnixSeconds(node.certificate_expires_at()),
                   view.outstanding.OfNode(node.node_id()), UnknownUntil(view.registry)}) +
         kClocksDiffer;
}

bool Counts(const CoverageView& view, const state::v1::NodeRecord& node, absl::Time now) {
  if (now <= LeavesAt(view, node)) return true;
  const NodeHolds* holds = view.coverage.Find(node.node_id());
  return holds != nullptr && holds->connected;
}

namespace {

// Since when a node is late that is.
absl::Time LateSince(const CoverageView& view, const state::v1::NodeRecord& node, uint64_t epoch) {
  const absl::Time attested = absl::FromUnixSeconds(node.attested_at());
  const auto row = view.registry.epochs().find(EpochKey(epoch));
  if (row == view.registry.epochs().end()) return attested;
  return std::max(attested, absl::FromUnixMillis(row->second.record.coverage().began_at_ms()));
}

}  // namespace

Gate AskGate(const CoverageView& view, uint64_t epoch, absl::Time now,
             const std::set<std::string>& except) {
  Gate gate;
  for (const auto& [node_id, row] : view.registry.nodes()) {
    if (row.record.state() != "attested") continue;
    std::string why = WhyMissing(view, node_id, epoch, now);
    const NodeHolds* node = view.coverage.Find(node_id);
    Missing missing{.node_id = node_id,
                    .reason = std::move(why),
                    .connected = node != nullptr && node->connected,
                    .late_since = LateSince(view, row.record, epoch),
                    .last_seen = node == nullptr ? absl::InfinitePast() : node->last_seen,
                    .leaves_at = LeavesAt(view, row.record)};
    const bool late = !missing.reason.empty();
    if (!Counts(view, row.record, now)) {
      if (late) gate.left.push_back(std::move(missing));
    } else if (late && except.count(node_id) > 0) {
      gate.excepted.push_back(std::move(missing));
    } else {
      ++gate.nodes;
      if (late) gate.missing.push_back(std::move(missing));
    }
  }
  gate.complete = gate.missing.empty();
  return gate;
}

}  // namespace linchpin::ca
