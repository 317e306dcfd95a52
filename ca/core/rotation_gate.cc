// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Whether all nodes have what a step of a rotation needs them to have.

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/coverage_gate.h"
#include "ca/core/restored.h"
#include "ca/core/rotation_draft.h"
#include "trust/spiffe_id.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr int kMaxExcept = 1000;
constexpr int kNamedInRefusal = 5;
constexpr int kMostNamed = 256;  // of the late nodes; all are counted

// For nodes that a store which was put back from a copy does not know.
bool WaitsForUnknown(const Registry& registry, const state::v1::RotationRecord& rotation,
                     absl::Time now) {
  const auto& except = rotation.except();
  return now <= UnknownUntil(registry) + kClocksDiffer &&
         std::find(except.begin(), except.end(), kUnknownNodes) == except.end();
}

}  // namespace

v1::RotationGate GateOf(const Tables& tables, const state::v1::RotationRecord& rotation,
                        uint64_t epoch, absl::Time now) {
  const Gate asked = AskGate({tables.registry, tables.coverage, tables.outstanding}, epoch, now,
                             {rotation.except().begin(), rotation.except().end()});
  v1::RotationGate gate;
  gate.set_epoch(epoch);
  gate.set_open(asked.complete);
  gate.set_nodes(static_cast<uint32_t>(asked.nodes));
  gate.set_covered(static_cast<uint32_t>(asked.nodes - asked.missing.size()));
  for (const Missing& missing : asked.missing) {
    if (gate.late_size() >= kMostNamed) break;
    v1::LateNode* late = gate.add_late();
    late->set_node_id(missing.node_id);
    late->set_why(missing.reason);
    if (missing.last_seen > absl::InfinitePast()) {
      late->set_last_seen(absl::ToUnixSeconds(missing.last_seen));
    }
    if (!missing.connected) late->set_lapses_at(absl::ToUnixSeconds(missing.leaves_at));
  }
  if (WaitsForUnknown(tables.registry, rotation, now)) {
    gate.set_open(false);
    gate.set_unknown_until(absl::ToUnixSeconds(UnknownUntil(tables.registry) + kClocksDiffer));
  }
  for (const Missing& missing : asked.excepted) gate.add_excepted(missing.node_id);
  for (const Missing& missing : asked.left) {
    if (gate.lapsed_size() < kMostNamed) gate.add_lapsed(missing.node_id);
  }
  return gate;
}

bool MayBeOpen(const Tables& tables, const state::v1::RotationRecord& rotation, uint64_t epoch,
               absl::Time now) {
  if (WaitsForUnknown(tables.registry, rotation, now)) return false;
  const CoverageView view{tables.registry, tables.coverage, tables.outstanding};
  const auto& except = rotation.except();
  for (const auto& [node_id, row] : tables.registry.nodes()) {
    if (row.record.state() != "attested") continue;
    if (Covers(view, node_id, epoch, now) || !Counts(view, row.record, now)) continue;
    if (std::find(except.begin(), except.end(), node_id) == except.end()) return false;
  }
  return true;
}

std::string UnknownNodes(const v1::RotationGate& gate) {
  return absl::StrCat(
      "this store was put back from a copy, and what nodes have that it does not "
      "know may be valid until ",
      trust::TimeText(absl::FromUnixSeconds(gate.unknown_until())));
}

absl::Status GateClosed(absl::string_view command, const v1::RotationGate& gate) {
  if (gate.late_size() == 0 && gate.unknown_until() > 0) {
    return absl::FailedPreconditionError(absl::StrCat("the gate is closed: ", UnknownNodes(gate),
                                                      ". Wait, or go on without them: ", command,
                                                      " --except ", kUnknownNodes));
  }
  std::string text =
      absl::StrCat("the gate is closed: ", gate.nodes() - gate.covered(), " of ", gate.nodes(),
                   " nodes do not have trust epoch ", gate.epoch(), " in force:");
  for (int i = 0; i < std::min(gate.late_size(), kNamedInRefusal); ++i) {
    const v1::LateNode& late = gate.late(i);
    absl::StrAppend(&text, i > 0 ? ";" : "", " ", late.node_id(), " ", late.why());
    if (late.last_seen() > 0) {
      absl::StrAppend(&text, ", last seen ",
                      trust::TimeText(absl::FromUnixSeconds(late.last_seen())));
    }
  }
  if (gate.late_size() > kNamedInRefusal) absl::StrAppend(&text, "; and others");
  if (gate.unknown_until() > 0) {
    absl::StrAppend(&text, "; and ", UnknownNodes(gate), " (--except ", kUnknownNodes, ")");
  }
  return absl::FailedPreconditionError(
      absl::StrCat(text, ". See linchpin coverage --epoch ", gate.epoch(),
                   "; start those agents, or go on without them: ", command, " --except NODE"));
}

absl::Status AddExcept(const Tables& tables,
                       const google::protobuf::RepeatedPtrField<std::string>& names,
                       state::v1::RotationRecord* rotation) {
  std::set<std::string> except(rotation->except().begin(), rotation->except().end());
  for (const std::string& node : names) {
    std::string node_id = node;
    if (node == kUnknownNodes) {
      except.insert(node);
      continue;
    }
    if (!absl::StartsWith(node, "spiffe://")) {
      ASSIGN_OR_RETURN(const trust::SpiffeId id,
                       trust::NodeId(tables.options.profile.trust_domain, node));
      node_id = id.ToString();
    }
    if (tables.registry.FindNode(node_id) == nullptr) {
      return absl::NotFoundError(absl::StrCat("--except names ", trust::Quoted(node_id),
                                              ", which is not known; see linchpin node list"));
    }
    except.insert(std::move(node_id));
  }
  // Not those of a failover that waited for nobody: however many, they are recorded.
  if (!names.empty() && except.size() > kMaxExcept) {
    return absl::InvalidArgumentError(
        absl::StrCat("--except names ", except.size(), " nodes; at most ", kMaxExcept,
                     " are allowed: ban or forget those that are gone"));
  }
  rotation->mutable_except()->Assign(except.begin(), except.end());
  return absl::OkStatus();
}

}  // namespace linchpin::ca
