// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/restored.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/coverage_gate.h"
#include "ca/core/kubernetes_nodes.h"
#include "trust/judge.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr char kByCertificate[] = "certificate";
constexpr int kMostLost = 16;

// Of the certificate that is recorded; an earlier version did not keep it.
absl::Time BeginsAt(const state::v1::NodeRecord& node, const Profile& profile) {
  if (node.certificate_not_before() != 0) {
    return absl::FromUnixSeconds(node.certificate_not_before());
  }
  if (node.certificate_expires_at() == 0) return absl::InfinitePast();
  return absl::FromUnixSeconds(node.certificate_expires_at()) - profile.node_ttl - profile.backdate;
}

bool WasIssuedHere(const Tables& tables, absl::Time begins, absl::Time now) {
  const absl::Time issued = begins + tables.options.profile.backdate;
  if (issued < IssuedHereFrom(tables, now)) return false;
  if (now >= UnknownUntil(tables.registry)) return true;
  const auto& lost = tables.registry.meta().lost();
  return std::none_of(lost.begin(), lost.end(), [issued](const state::v1::LostSpan& span) {
    return absl::FromUnixSeconds(span.from()) < issued &&
           issued < absl::FromUnixSeconds(span.until());
  });
}

// What a certificate must be later than.
absl::Time OriginOf(const Tables& tables, const state::v1::NodeRecord& node, absl::Time now) {
  const absl::Time begins = BeginsAt(node, tables.options.profile);
  if (node.renewed_from_not_before() == 0 || !WasIssuedHere(tables, begins, now)) return begins;
  return absl::FromUnixSeconds(node.renewed_from_not_before());
}

bool IsStillUnknown(const Tables& tables, absl::Time now) {
  return tables.registry.meta().issued_here_from() != 0 && now < UnknownUntil(tables.registry);
}

// Before this start, if the store was put back before, and that is not over.
bool AddLost(const Tables& tables, absl::Time now, state::v1::Meta* meta) {
  if (!IsStillUnknown(tables, now)) return false;
  state::v1::LostSpan span;
  // The store is told of what was issued within a second.
  span.set_from(
      std::max(meta->issued_here_from(), tables.registry.log_head_at_start().anchored_at() + 1));
  span.set_until(absl::ToUnixSeconds(tables.started));
  auto& all = *meta->mutable_lost();
  const bool is_known = std::any_of(all.begin(), all.end(), [&](const state::v1::LostSpan& one) {
    return one.until() == span.until();
  });
  if (span.from() >= span.until() || is_known) return false;
  *all.Add() = span;
  if (all.size() <= kMostLost) return true;
  // Of starts that only were starts nothing is lost, and they are short.
  const auto length = [](const state::v1::LostSpan& one) { return one.until() - one.from(); };
  all.erase(std::min_element(all.begin(), all.end(), [&](const auto& one, const auto& other) {
    return length(one) < length(other);
  }));
  return true;
}

bool IsUnknownOfCluster(const Registry& registry, const std::string& node_id) {
  return registry.FindNode(node_id) == nullptr &&
         absl::StartsWith(NodeKey(node_id), NodeKey("k8s."));
}

bool WasForgotten(const Registry& registry, const std::string& node_id, absl::Time now) {
  const auto row = registry.seen().find(SeenKey(node_id));
  return row != registry.seen().end() &&
         now < absl::FromUnixSeconds(row->second.record.forgotten_until());
}

absl::Status JudgedAsNode(const TrustPtr& own, const std::string& leaf, absl::Time now) {
  trust::MtlsContextParts parts;
  parts.trust.emplace(own->trust_domain(), own);
  ASSIGN_OR_RETURN(const auto context, trust::MtlsContext::Make(std::move(parts)));
  const trust::Verdict verdict = trust::Judge({leaf}, *context, trust::Direction::kInbound,
                                              trust::Expect::Node(), now, nullptr);
  return verdict.allowed ? absl::OkStatus() : absl::PermissionDeniedError(verdict.ToString());
}

absl::Status NotTaken(const std::string& node_id, absl::string_view why) {
  return absl::PermissionDeniedError(absl::StrCat("the node ", node_id, " is not taken: ", why));
}

}  // namespace

absl::Time UnknownUntil(const Registry& registry) {
  const int64_t until = registry.meta().unknown_until();
  return until == 0 ? absl::InfinitePast() : absl::FromUnixSeconds(until);
}

std::string UnknownSentence(const Registry& registry, absl::Time now, absl::Time until) {
  const absl::Time unknown = UnknownUntil(registry) + kClocksDiffer;
  if (now >= unknown || until > unknown) return "";
  return absl::StrCat("this store was put back from a copy (linchpin ca restored, ",
                      trust::TimeText(absl::FromUnixSeconds(registry.meta().restored_at())),
                      "): nodes and certificates that it does not know of may be valid until ",
                      trust::TimeText(unknown));
}

std::string HelpForRenewed(const Registry& registry, const std::string& node_id, absl::Time now) {
  const state::v1::Meta& meta = registry.meta();
  const auto* row = registry.FindNode(node_id);
  const std::string state = row == nullptr ? "" : row->record.state();
  if (state == "banned" || IsUnknownOfCluster(registry, node_id) ||
      (state != "attested" && WasForgotten(registry, node_id, now))) {
    return "";
  }
  if (now >= UnknownUntil(registry) || now < absl::FromUnixSeconds(meta.take_renewed_until())) {
    return "";
  }
  return "; this store was put back from a copy: if no key of an issuer can have been stolen, "
         "linchpin "
         "ca restored --take-renewed-nodes takes all such nodes";
}

absl::StatusOr<state::v1::NodeRecord> TakenByCertificate(const Tables& tables, const TrustPtr& own,
                                                         const std::string& leaf, absl::Time now) {
  const Registry& registry = tables.registry;
  if (now >= absl::FromUnixSeconds(registry.meta().take_renewed_until())) {
    return absl::FailedPreconditionError("no operator wants nodes to be taken by certificate");
  }
  RETURN_IF_ERROR(JudgedAsNode(own, leaf, now));
  ASSIGN_OR_RETURN(const x509::Certificate certificate, x509::Certificate::FromDer(leaf));
  const x509::CertificateFields& fields = certificate.fields();
  const std::string& node_id = fields.uri_sans[0];
  state::v1::NodeRecord node;
  node.set_node_id(node_id);
  if (const auto* row = registry.FindNode(node_id); row != nullptr) {
    node = row->record;
    if (node.state() == "banned") return NotTaken(node_id, "it is banned");
  } else if (registry.nodes().size() >= kMaxNodes) {
    return NotTaken(node_id, absl::StrCat("there are ", kMaxNodes, " nodes already"));
  } else if (IsUnknownOfCluster(registry, node_id)) {
    return NotTaken(node_id, "the token of its agent's pod attests it");
  }
  if (node.state() != "attested" && WasForgotten(registry, node_id, now)) {
    return NotTaken(node_id, "it was forgotten");
  }
  if (WasIssuedHere(tables, fields.not_before, now)) {
    return NotTaken(node_id, "its certificate is of this store, which knows a later key");
  }
  if (fields.not_before <= OriginOf(tables, node, now)) {
    return NotTaken(node_id, "the certificate that is recorded is a later one");
  }
  if (node.state() != "attested") {
    node.set_state("attested");
    node.set_attested_by(kByCertificate);
    node.set_attested_at(absl::ToUnixSeconds(now));
  }
  node.set_key_sha256(certificate.public_key().pin().bytes());
  node.clear_previous_key_sha256();
  node.set_serial(fields.serial);
  node.clear_renewed_from_not_before();
  node.set_certificate_not_before(absl::ToUnixSeconds(fields.not_before));
  node.set_certificate_expires_at(absl::ToUnixSeconds(fields.not_after));
  return node;
}

absl::Time IssuedHereFrom(const Tables& tables, absl::Time now) {
  const Registry& registry = tables.registry;
  const int64_t said = registry.meta().issued_here_from();
  if (said != 0 && now < UnknownUntil(registry)) return absl::FromUnixSeconds(said);
  return absl::FromUnixSeconds(absl::ToUnixSeconds(tables.started));
}

void SetIssuedHere(const Tables& tables, absl::Time now, state::v1::Meta* meta) {
  if (!IsStillUnknown(tables, now)) meta->clear_lost();
  AddLost(tables, now, meta);
  meta->set_issued_here_from(absl::ToUnixSeconds(IssuedHereFrom(tables, now)));
}

std::vector<Write> LostBeforeStart(const Tables& tables, absl::Time now) {
  state::v1::Meta meta = tables.registry.meta();
  if (!AddLost(tables, now, &meta)) return {};
  return {{.key = kMetaKey, .value = meta.SerializeAsString(), .expected = std::nullopt}};
}

void KeepOrigin(const Tables& tables, absl::Time now, state::v1::NodeRecord* node) {
  const absl::Time begins = BeginsAt(*node, tables.options.profile);
  if (begins == absl::InfinitePast() || WasIssuedHere(tables, begins, now)) return;
  node->set_renewed_from_not_before(absl::ToUnixSeconds(begins));
}

std::vector<Write> RememberForgotten(const Tables& tables, const state::v1::NodeRecord& node,
                                     absl::Time now) {
  const Registry& registry = tables.registry;
  // In another past it may have been given one until now.
  const int64_t last = absl::ToUnixSeconds(now + tables.options.profile.node_ttl) + 1;
  const auto row = registry.seen().find(SeenKey(node.node_id()));
  state::v1::SeenRecord record;
  if (row != registry.seen().end()) record = row->second.record;
  record.set_node_id(node.node_id());
  record.set_forgotten_until(std::max(node.certificate_expires_at(), last));
  return {{.key = SeenKey(node.node_id()),
           .value = record.SerializeAsString(),
           .expected = std::nullopt}};
}

}  // namespace linchpin::ca
