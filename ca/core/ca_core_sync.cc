// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The streams of the nodes: what each is sent, and what it says it holds.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/retry_after.h"
#include "ca/core/ca_core.h"
#include "ca/core/reply.h"
#include "trust/text.h"
#include "trust/verdict.h"

namespace linchpin::ca {
namespace {

constexpr int kMaxRefusals = 1024;  // of a report
using Messages = std::vector<std::shared_ptr<const v1::CaMessage>>;

Messages Share(std::vector<v1::CaMessage> messages) {
  Messages shared;
  for (v1::CaMessage& message : messages) {
    shared.push_back(std::make_shared<const v1::CaMessage>(std::move(message)));
  }
  return shared;
}

void PushAll(SessionId session, const Messages& messages, Actions* out) {
  for (const auto& message : messages) {
    out->push_back(action::Push{.session = session, .message = message});
  }
}

absl::Status TooOften(const std::string& node_id, absl::Duration wait) {
  if (wait <= absl::ZeroDuration()) return absl::OkStatus();
  return base::WithRetryAfter(
      absl::ResourceExhaustedError(absl::StrCat(
          node_id, " begins a stream too often; try again in ", absl::FormatDuration(wait))),
      wait);
}

}  // namespace

sync::Stamp CaCore::StampNow(absl::Time now, uint64_t base_revision) const {
  return {.incarnation = registry_.meta().incarnation(),
          .revision = registry_.revision(),
          .ca_time = absl::ToUnixSeconds(now),
          .base_revision = base_revision};
}

void CaCore::UseTrust(Actions* out) {
  coverage_.Offers(TrustMessage(registry_, authorities_, 0));
  auto trust = OwnTrust(registry_, authorities_);
  if (trust.ok()) {
    own_trust_ = *std::move(trust);
    out->push_back(action::UseTrust{.trust = own_trust_});
    return;
  }
  out->push_back(action::Note{.warning = true,
                              .message = "the CA's own trust state is unusable; the last stays",
                              .fields = {{"error", std::string(trust.status().message())}},
                              .counter = "",
                              .labels = {}});
}

void CaCore::On(absl::Time, event::GetTrustAsked event, Actions* out) {
  const std::string& own = registry_.meta().trust_domain();
  if (event.request.trust_domain() != own) {
    return ReplyError(event.call,
                      absl::FailedPreconditionError(absl::StrCat(
                          "this CA is of the trust domain ", own, ", not of ",
                          trust::Quoted(event.request.trust_domain()), "; check --ca")),
                      out);
  }
  v1::GetTrustResponse response;
  for (const trust::v1::SignedPinSet& signed_set : registry_.trust().record.pin_sets()) {
    trust::v1::PinSet set;
    if (!set.ParseFromString(signed_set.payload())) continue;
    if (set.version() > event.request.version_held()) *response.add_pin_sets() = signed_set;
  }
  const state::v1::TrustRecord& trust = registry_.trust().record;
  if (trust.has_relax()) *response.mutable_relax() = trust.relax();
  if (trust.has_freshness()) *response.mutable_freshness() = trust.freshness();
  ReplyWith(event.call, std::move(response), out);
}

void CaCore::On(absl::Time now, event::NodeHello event, Actions* out) {
  const std::string& node_id = event.caller.node_id;
  absl::Status status = CheckOrTake(now, event.caller, out);
  if (status.ok() && draining_) status = absl::UnavailableError("the CA is shutting down");
  if (status.ok()) status = TooOften(node_id, hellos_.Take(node_id, now));
  if (status.ok()) {
    CloseSessionOf(node_id, absl::AbortedError("another stream of this node took over"), true, out);
  }
  if (status.ok() && sessions_.size() >= kMaxSessions) {
    status = absl::ResourceExhaustedError(
        absl::StrCat(kMaxSessions, " nodes are connected, which is the most"));
  }
  if (!status.ok()) {
    out->push_back(action::CloseSession{.session = event.session, .status = std::move(status)});
    return;
  }
  const v1::Hello& hello = event.hello;
  const sync::Stamp stamp = StampNow(now, hello.revision());
  sessions_[event.session] = {.node = {node_id, event.caller.key_sha256}, .sent = stamp.revision};
  session_of_[node_id] = event.session;
  coverage_.Hello(node_id, hello, now);
  coverage_.Sent(node_id, stamp.revision);

  const sync::Projection projection = registry_.ProjectionFor(node_id);
  const bool same_life =
      hello.incarnation() == stamp.incarnation && hello.revision() <= stamp.revision;
  if (hello.incarnation() == stamp.incarnation &&
      (hello.revision() > stamp.revision || hello.trust_epoch() > coverage_.epoch_offered())) {
    out->push_back(action::Note{
        .warning = true,
        .message = "a node has heard later changes of this store than there are: if it was put "
                   "back from a copy: linchpin ca restored",
        .fields = {{"node", node_id}, {"trust_epoch", absl::StrCat(hello.trust_epoch())}},
        .counter = "linchpin_ca_nodes_ahead_total",
        .labels = {}});
  }
  const bool same_trust = same_life && hello.trust_epoch() == coverage_.epoch_offered() &&
                          hello.trust_digest() == coverage_.digest_offered();
  trust::v1::TrustState trust;
  if (!same_trust) trust = TrustMessage(registry_, authorities_, hello.pin_set_version());
  const trust::v1::TrustState* news = same_trust ? nullptr : &trust;
  const bool holds_all = same_life && hello.projection_digest() == projection.Digest();
  PushAll(event.session,
          Share(holds_all ? sync::Difference(projection, projection, news, stamp)
                          : sync::Snapshot(projection, news, stamp)),
          out);
}

void CaCore::On(absl::Time now, event::NodeAck event, Actions* out) {
  const auto it = sessions_.find(event.session);
  if (it == sessions_.end()) return;
  const std::string& node_id = it->second.node.node_id;
  const NodeHolds* before = coverage_.Find(node_id);
  const std::string refused_before = before == nullptr ? "" : before->refused;
  coverage_.Ack(node_id, event.ack, now);
  const std::string& refused = coverage_.Find(node_id)->refused;
  if (refused.empty() || refused == refused_before) return;
  out->push_back(action::Note{.warning = true,
                              .message = "a node refuses the trust state",
                              .fields = {{"node", node_id}, {"why", refused}},
                              .counter = "linchpin_ca_trust_refused_total",
                              .labels = {}});
}

void CaCore::On(absl::Time now, event::NodeVerdicts event, Actions* out) {
  const auto it = sessions_.find(event.session);
  if (it == sessions_.end()) return;
  const std::string& node_id = it->second.node.node_id;
  coverage_.Seen(node_id, now);
  const auto& refusals = event.report.refusals();
  for (int i = 0; i < std::min(refusals.size(), kMaxRefusals); ++i) {
    const v1::Refusal& refusal = refusals[i];
    if (!trust::v1::VerdictReason_IsValid(refusal.reason())) continue;
    const std::string& reason = trust::ReasonName(refusal.reason());
    out->push_back(
        action::Note{.warning = false,
                     .message = "a node reports refused connections",
                     .fields = {{"node", node_id},
                                {"reason", reason},
                                {"self", refusal.self_id().substr(0, Coverage::kMaxText)},
                                {"peer", refusal.peer_id().substr(0, Coverage::kMaxText)},
                                {"direction", refusal.inbound() ? "inbound" : "outbound"},
                                {"count", absl::StrCat(refusal.count())}},
                     .counter = "linchpin_ca_refusal_reports_total",
                     .labels = {{"reason", reason}}});
  }
}

void CaCore::On(absl::Time now, event::NodeGone event, Actions*) {
  const auto it = sessions_.find(event.session);
  if (it == sessions_.end()) return;
  coverage_.Seen(it->second.node.node_id, now);
  coverage_.Gone(it->second.node.node_id);
  session_of_.erase(it->second.node.node_id);
  sessions_.erase(it);
}

void CaCore::CloseSessionOf(const std::string& node_id, const absl::Status& status, bool at_once,
                            Actions* out) {
  const auto it = session_of_.find(node_id);
  if (it == session_of_.end()) return;
  out->push_back(action::CloseSession{.session = it->second, .status = status, .at_once = at_once});
  coverage_.Gone(node_id);
  sessions_.erase(it->second);
  session_of_.erase(it);
}

CaCore::Slices CaCore::SlicesOf(const Touched& touched) const {
  Slices slices;
  if (touched.nothing()) return slices;
  for (const auto& [id, session] : sessions_) {
    slices.emplace(id, registry_.SliceFor(session.node.node_id, touched));
  }
  return slices;
}

// Nodes with the same part in a change, and the same change before it, share its messages.
void CaCore::PushChanges(absl::Time now, const Touched& touched, const Slices& before,
                         Actions* out) {
  if (touched.nothing()) return;
  if (touched.trust) UseTrust(out);
  std::map<std::string, Messages> made;
  for (const auto& [id, held] : before) {
    Session& session = sessions_.at(id);
    const std::string& node_id = session.node.node_id;
    const sync::Projection after = registry_.SliceFor(node_id, touched);
    const std::string from = held.Digest(), to = after.Digest();
    if (from == to && !touched.trust) continue;
    const NodeHolds* node = coverage_.Find(node_id);
    const uint64_t version = touched.trust && node != nullptr ? node->pin_set_version : 0;
    Messages& messages = made[absl::StrCat(from, to, version, ":", session.sent)];
    if (messages.empty()) {
      trust::v1::TrustState trust;
      if (touched.trust) trust = TrustMessage(registry_, authorities_, version);
      const trust::v1::TrustState* news = touched.trust ? &trust : nullptr;
      const sync::Stamp stamp = StampNow(now, session.sent);
      messages = Share(touched.incarnation ? sync::Snapshot(after, news, stamp)
                                           : sync::Difference(held, after, news, stamp));
    }
    session.sent = registry_.revision();
    coverage_.Sent(node_id, session.sent);
    PushAll(id, messages, out);
  }
}

}  // namespace linchpin::ca
