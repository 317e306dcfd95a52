// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How a node gets its own certificate, the first and every later one.

#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/core/agent_core.h"
#include "agent/core/alarms.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::agent {
namespace {

// What files hold and what the CA offers: sets authenticate themselves, and what is wrong hides
// nothing that is right. Where nothing is right, all of it, so that it is said why.
std::vector<trust::v1::SignedPinSet> SetsOf(const trust::v1::SignersFile& signers,
                                            const Shown& shown, trust::Carriers carriers,
                                            absl::Time now) {
  trust::v1::PinDocuments& offered = carriers.emplace_back();
  for (const trust::v1::SignedPinSet& set : shown.pin_sets) *offered.add_pin_sets() = set;
  std::vector<trust::v1::SignedPinSet> sets;
  const auto trust_domain = trust::TrustDomain::FromName(signers.trust_domain());
  auto keys = trust::DecodeSigners(signers.signers());
  if (trust_domain.ok() && keys.ok()) {
    sets = trust::SetsThatFollow({.trust_domain = *trust_domain, .signers = *std::move(keys)},
                                 carriers, now, nullptr);
  }
  if (!sets.empty()) return sets;
  for (const trust::v1::PinDocuments& carrier : carriers) {
    sets.insert(sets.end(), carrier.pin_sets().begin(), carrier.pin_sets().end());
  }
  return sets;
}

}  // namespace

void AgentCore::Bootstrap(absl::Time now, Actions* out) {
  if (!MustAttest(now) || latest_.node != served_->node) return;
  if (!latest_.node_key.has_value()) {
    if (node_key_.Ready(now)) {
      node_key_.under_way = true;
      out->push_back(action::MakeNodeKey{});
    }
  }
  if (bootstrap_context_ == nullptr) {
    if (latest_.node != nullptr) {
      // Expired, but the trust that is held still says who the CA is.
      trust::MtlsContextParts parts;
      parts.trust.emplace(options_.trust_domain, latest_.trust->state);
      absl::StatusOr<ContextPtr> context = trust::MtlsContext::Make(std::move(parts));
      if (!context.ok()) return;
      bootstrap_context_ = *std::move(context);
    } else if (contact_.Ready(now)) {
      contact_.under_way = true;
      ca::v1::GetTrustRequest request;
      request.set_trust_domain(options_.trust_domain.name());
      out->push_back(action::FirstContact{std::move(request)});
    }
  }
  // The key must outlive a crash: it is all that a redeemed token is good for.
  const bool key_kept = sealed_ != nullptr && sealed_->node_key.has_value();
  if (bootstrap_context_ == nullptr || !key_kept || !attest_.Ready(now)) return;
  attest_.under_way = true;
  // Where the old certificate is refused, a new token may have been provided: tried in turn.
  const bool by_certificate = latest_.node != nullptr && !by_token_;
  out->push_back(action::Attest{bootstrap_context_, *latest_.node_key,
                                by_certificate ? *latest_.node->chain.front() : ""});
}

void AgentCore::On(absl::Time now, const event::NodeKeyMade& event, Actions* out) {
  if (!event.key.ok()) {
    out->push_back(
        action::Alarm{absl::StrCat("no key for the node: ", event.key.status().message())});
    return Retry(now, event.key.status(), &node_key_);
  }
  node_key_ = Attempts();
  latest_.node_key = *event.key;
  Changed();
}

void AgentCore::On(absl::Time now, const event::FirstContactDone& event, Actions* out) {
  if (latest_.node != nullptr) return Looked(now, event, out);
  absl::StatusOr<trust::TrustHeld> held = absl::UnknownError("");
  if (!event.shown.ok()) {
    held = event.shown.status();
  } else {
    held =
        options_.signers.has_value()
            ? trust::BeginSigned(*options_.signers,
                                 SetsOf(*options_.signers, *event.shown, carried_.documents, now),
                                 event.shown->chain, now, options_.skew)
            : trust::BeginSetZero(options_.trust_domain, event.shown->chain, options_.ca_pins, now,
                                  options_.skew);
  }
  absl::StatusOr<ContextPtr> context = ContextPtr();
  if (held.ok()) {
    context = BootstrapContext(*held, event.shown->chain, now);
  } else {
    context = held.status();
  }
  if (!context.ok()) {
    out->push_back(
        action::Alarm{absl::StrCat("first contact with the CA: ", context.status().message()),
                      "linchpin_agent_first_contacts_failed_total"});
    return Retry(now, context.status(), &contact_);
  }
  contact_ = Attempts();
  first_contact_ = *std::move(held);
  bootstrap_context_ = *std::move(context);
}

// What the CA is judged with between first contact and its first trust state: the root and the
// issuer that it showed, which have passed, and no other.
absl::StatusOr<AgentCore::ContextPtr> AgentCore::BootstrapContext(
    const trust::TrustHeld& held, const std::vector<std::string>& ca_chain, absl::Time now) const {
  trust::TrustStateParts parts{.trust_domain = options_.trust_domain};
  ASSIGN_OR_RETURN(const x509::Chain chain, x509::ParseDerChain(ca_chain));
  for (const x509::Certificate& certificate : chain) {
    (certificate.IsSelfIssued() ? parts.anchors : parts.issuers).push_back(certificate);
  }
  parts.skew = options_.skew;
  if (held.cursor.version > 0) {
    const trust::v1::TrustState& message = held.message;
    ASSIGN_OR_RETURN(const trust::PinSet set,
                     trust::ParsePinSet(message.pin_sets(message.pin_sets_size() - 1).payload()));
    parts.pins = trust::Effective(set);
  } else {
    trust::TrustStateParts any = parts;
    any.pins = trust::SetZero(held.frozen_anchors, {});
    any.pins.set_any_under_anchor(true);
    trust::MtlsContextParts shown;
    ASSIGN_OR_RETURN(shown.trust[options_.trust_domain], trust::TrustState::Make(std::move(any)));
    ASSIGN_OR_RETURN(const ContextPtr context, trust::MtlsContext::Make(std::move(shown)));
    const trust::Verdict verdict = trust::Judge(ca_chain, *context, trust::Direction::kOutbound,
                                                trust::Expect::Ca(), now, nullptr);
    if (!verdict.allowed || verdict.path.size() < 2) {
      return absl::PermissionDeniedError(verdict.ToString());
    }
    parts.pins = trust::SetZero(held.frozen_anchors, {verdict.path[1].public_key().pin()});
  }
  trust::MtlsContextParts context;
  ASSIGN_OR_RETURN(context.trust[options_.trust_domain], trust::TrustState::Make(std::move(parts)));
  return trust::MtlsContext::Make(std::move(context));
}

void AgentCore::On(absl::Time now, const event::AttestDone& event, Actions* out) {
  absl::Status status = event.response.status();
  bootstrap_context_ = nullptr;  // spent: the next try looks at the CA again
  if (status.ok()) {
    CompareClocks(now, event.response->ca_time(), out);
    // Who was away is judged by, and judges with, what the CA it has just recognised says now.
    const trust::v1::TrustState& said = event.response->trust();
    const std::string& incarnation = event.response->incarnation();
    const bool away = latest_.node != nullptr && !incarnation.empty();
    if (away &&
        (said.epoch() >= latest_.trust_epoch() || incarnation != latest_.trust->incarnation)) {
      TakeTrust(now, said, incarnation, out);
    }
    TrustPtr trust = latest_.trust;
    if (latest_.node == nullptr) {
      trust::AcceptOptions at_first = Accepting(now);
      at_first.first_contact = true;
      at_first.incarnation = incarnation;
      absl::StatusOr<trust::TrustHeld> accepted =
          first_contact_.has_value()
              ? trust::AcceptTrust(*first_contact_, event.response->trust(), at_first)
              : absl::FailedPreconditionError("attested before first contact");
      status = accepted.status();
      if (accepted.ok()) {
        trust = std::make_shared<const trust::TrustHeld>(*std::move(accepted));
        AlarmWrongTwins(*trust, out);
        if (first_contact_->set_zero) NoteSigners(*trust, out);
      }
    }
    if (status.ok()) status = TakeNode(now, *latest_.node_key, *event.response, trust);
  }
  if (!status.ok()) {
    out->push_back(action::Alarm{absl::StrCat("attestation of this node: ", status.message()),
                                 "linchpin_agent_attestations_failed_total"});
    by_token_ = !by_token_ && !absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status);
    return Retry(now, status, &attest_);
  }
  // If the CA does not take the new one either, that is no reason for haste.
  if (ca_refuses_) {
    Retry(now, absl::PermissionDeniedError(""), &attest_);
  } else {
    attest_ = Attempts();
  }
  by_token_ = ca_refuses_ = false;
  first_contact_.reset();
  bootstrap_context_ = nullptr;  // made of the trust of now
  out->push_back(action::Note{absl::StrCat("this node is ", latest_.node_id),
                              "linchpin_agent_attestations_total"});
}

absl::Status AgentCore::TakeNode(absl::Time now, const x509::PrivateKey& key,
                                 const ca::v1::AttestResponse& response, const TrustPtr& trust) {
  ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::SpiffeId::Parse(response.node_id()));
  if (!id.IsNode() || id.trust_domain() != options_.trust_domain ||
      (!latest_.node_id.empty() && latest_.node_id != response.node_id())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the CA calls this node ", trust::Quoted(response.node_id()), ", expected ",
                     latest_.node_id.empty() ? "an ID under /linchpin/node/" : latest_.node_id));
  }
  absl::StatusOr<x509::Chain> chain =
      CheckIssued({.key = key, .id = id, .trust = trust->state, .now = now},
                  {response.chain().begin(), response.chain().end()});
  if (!chain.ok()) {
    return absl::Status(chain.status().code(),
                        absl::StrCat(chain.status().message(), ClockText(now)));
  }
  const absl::Time renew_at = DrawRenewal(chain->front(), now, base::RandomFraction(random_));
  latest_.node = MakeCertified(key, *chain, now - clock_ahead_, renew_at, nullptr);
  latest_.node_key = key;
  latest_.node_id = response.node_id();
  latest_.trust = trust;
  revoked_ = false;
  Changed();
  return absl::OkStatus();
}

// Revoked, or of an issuer that was dropped: another one is given for it, or for a token.
void AgentCore::HearRefusal(const absl::Status& status) {
  if (absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status)) ca_refuses_ = true;
}

void AgentCore::RenewNode(absl::Time now, Actions* out) {
  if (!options_.renewals || !HasValidNode(now) || context_in_use_ == nullptr) return;
  if (latest_.node != served_->node) return;
  if (now < RenewAt(*served_->node, latest_.trust_message())) return;
  if (!renew_node_.Ready(now)) return;
  renew_node_.under_way = true;
  out->push_back(action::RenewNode{});
}

void AgentCore::On(absl::Time now, const event::NodeRenewed& event, Actions* out) {
  absl::Status status = event.renewed.status();
  if (status.ok()) {
    CompareClocks(now, event.renewed->response.ca_time(), out);
    status = TakeNode(now, event.renewed->key, event.renewed->response, latest_.trust);
  }
  if (!status.ok()) {
    out->push_back(action::Alarm{
        absl::StrCat("the node's certificate is not renewed (it is valid until ",
                     trust::TimeText(latest_.node->expires_at), "): ", status.message()),
        "linchpin_agent_renewals_total",
        {{"result", "failed"}, {"reason", absl::StatusCodeToString(status.code())}}});
    HearRefusal(event.renewed.status());
    return Retry(now, status, &renew_node_);
  }
  renew_node_ = Attempts();
  out->push_back(action::Note{absl::StrCat("the node's certificate is renewed, valid until ",
                                           trust::TimeText(latest_.node->expires_at)),
                              "linchpin_agent_renewals_total",
                              {{"result", "ok"}, {"reason", "node"}}});
}

}  // namespace linchpin::agent
