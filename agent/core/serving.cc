// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What each process of the node is given, and what it says of it.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/core/agent_core.h"
#include "trust/text.h"
#include "trust/trust_codec.h"
#include "x509/digest.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {
namespace {

constexpr size_t kMaxIdentities = 1024;  // of one process
constexpr size_t kMaxNamed = 8;          // processes in one line of the log

using Twins = std::vector<absl::string_view>;  // DER

// What clients that cannot pin are anchored at: no part of the trust digest.
Twins TwinsAt(const trust::TrustHeld& held, absl::Time now) {
  Twins twins;
  for (const trust::Twin& twin : held.twins.twins) {
    if (twin.not_after > now) twins.push_back(twin.der);
  }
  return twins;
}

// What a process compares: not the keys, which change only with their certificates.
std::string ContentsDigest(const Selectors& selectors,
                           const std::vector<std::pair<std::string, std::string>>& identities,
                           const Twins& twins) {
  x509::FieldHasher hasher("linchpin delivery v1");
  hasher.Add(selectors.size());
  for (const std::string& selector : selectors) hasher.Add(selector);
  for (const auto& [context_digest, hint] : identities) hasher.Add(context_digest).Add(hint);
  hasher.Add(twins.size());
  for (const absl::string_view der : twins) hasher.Add(der);
  return hasher.Finish();
}

std::string LateText(const std::vector<ProcessId>& late) {
  const size_t named = std::min(late.size(), kMaxNamed);
  return absl::StrCat(
      "who was served before this agent's restart and still runs has not come back (PID.START): ",
      absl::StrJoin(late.begin(), late.begin() + static_cast<ptrdiff_t>(named), ", "),
      late.size() > named ? absl::StrCat(" and ", late.size() - named, " more") : "",
      "; gates wait until they come back, end, or their certificates expire");
}

// `missing` is registered for the process, if any is.
std::string WhyNoneYet(const Model& served, const ca::v1::NodeIdentity* missing, bool expired) {
  if (served.trust == nullptr || served.revision == 0) {
    return "the agent has not joined its CA yet";
  }
  if (missing == nullptr) return "";
  return absl::StrCat(
      "the certificate of ", missing->spiffe_id(),
      expired ? " has expired and could not be renewed" : " could not be had of the CA yet",
      "; the agent goes on trying (its log says why)");
}

}  // namespace

void AgentCore::On(absl::Time, const event::ConsumerOpened& event, Actions* out) {
  const absl::Status status = consumers_.Open(event);
  if (!status.ok()) {
    out->push_back(action::Alarm{std::string(status.message())});
    out->push_back(action::EndConsumer{event.consumer, status});
    return;
  }
  undelivered_.insert(event.consumer);
  UpdateWanted();
}

void AgentCore::On(absl::Time, const event::ConsumerChanged& event, Actions*) {
  Consumer* consumer = consumers_.Find(event.consumer);
  if (consumer == nullptr) return;
  consumers_.Select(consumer, event.selectors);
  undelivered_.insert(event.consumer);
  UpdateWanted();
}

void AgentCore::On(absl::Time, const event::ConsumerHolds& event, Actions*) {
  consumers_.Holds(event);
}

void AgentCore::On(absl::Time, const event::ConsumerClosed& event, Actions*) {
  consumers_.Close(event.consumer);
  undelivered_.erase(event.consumer);
  UpdateWanted();
}

void AgentCore::On(absl::Time, const event::ProcessExited& event, Actions*) {
  consumers_.Exited(event.process);
  UpdateWanted();
}

void AgentCore::On(absl::Time, const event::ConsumerReported& event, Actions* out) {
  const Consumer* consumer = consumers_.Find(event.report.consumer_id());
  if (consumer == nullptr) return;
  if (!event.report.trust_digest().empty()) {
    const absl::Status status = consumers_.Check(event.report);
    if (status.ok()) {
      consumers_.Reported(event.report);
    } else {
      // The caller is told, and counted; it is not to fill the log.
      out->push_back(action::Alarm{"", "linchpin_agent_bad_reports_total"});
    }
  }
  for (const agent::v1::VerdictCount& count : event.report.verdicts()) {
    const bool own =
        std::any_of(consumer->identities.begin(), consumer->identities.end(),
                    [&](const auto& identity) { return identity.second == count.self_id(); });
    // Nobody speaks for an identity that it was not given.
    if (own && count.peer_id().size() <= trust::SpiffeId::kMaxLength) refusals_.Add(count);
  }
}

const Offer* AgentCore::OfferOf(const ca::v1::NodeIdentity& identity) {
  const auto it = served_->certificates.find(identity.identity_id());
  if (it == served_->certificates.end() || served_->trust == nullptr) return nullptr;
  Offer& offer = offers_[identity.identity_id()];
  if (offer.certified != it->second || offer.trust != served_->trust ||
      offer.projection != served_->projection) {
    offer = {it->second, served_->trust, served_->projection};
    const absl::StatusOr<trust::SpiffeId> id = trust::SpiffeId::Parse(identity.spiffe_id());
    if (!id.ok()) return nullptr;
    absl::StatusOr<trust::PeerPolicy> policy =
        trust::PeerPolicy::ForIdentity(*id, registrations_->RulesOf(identity.spiffe_id()));
    if (!policy.ok()) return nullptr;
    offer.policy = *std::move(policy);
    std::vector<absl::string_view> chain;
    for (const auto& der : offer.certified->chain) chain.push_back(*der);
    offer.context_digest = trust::ContextDigest(
        trust::TrustDigest({{options_.trust_domain, served_->trust->state}}, {{*id, offer.policy}}),
        chain);
    offer.id = *id;
  }
  return offer.id.has_value() ? &offer : nullptr;
}

void AgentCore::DeliverChanged(absl::Time now, Actions* out) {
  consumers_.ForgetExpired(now, time_.times(now).agreed);
  if (const std::vector<ProcessId> late = consumers_.TakeLate(now); !late.empty()) {
    out->push_back(action::Alarm{LateText(late)});
  }
  for (const ConsumerId& id : std::exchange(undelivered_, {})) {
    Consumer* consumer = consumers_.Find(id);
    if (consumer != nullptr && consumer->open && !consumer->ending) Deliver(now, id, consumer, out);
  }
  if (consumers_.Look(now) && !options_.boot_id.empty()) Changed();
}

void AgentCore::Deliver(absl::Time now, const ConsumerId& id, Consumer* consumer, Actions* out) {
  Matched matched;
  bool awaited = false;
  bool expired = false;
  const ca::v1::NodeIdentity* missing = nullptr;
  if (registrations_ != nullptr) {
    for (const ca::v1::NodeIdentity* identity : registrations_->Match(*consumer->selectors)) {
      if (matched.size() >= kMaxIdentities) break;
      const Offer* offer = OfferOf(*identity);
      if (offer == nullptr || offer->certified->expires_at <= now) missing = identity;
      if (offer == nullptr) {
        awaited =
            awaited || (HasValidNode(now) && schedule_.failures(identity->identity_id()) == 0);
      } else if (offer->certified->expires_at <= now) {
        expired = true;
      } else {
        matched.emplace_back(identity, offer);
      }
    }
  }
  // The first message is complete, or says that there is nothing.
  if (awaited && !consumer->delivered.has_value()) return;
  std::vector<std::pair<std::string, std::string>> identities;
  std::vector<std::pair<std::string, std::string>> contents;
  std::map<trust::SpiffeId, trust::PeerPolicy> policies;
  absl::Time expires_at = absl::InfinitePast();
  for (const auto& [identity, offer] : matched) {
    identities.emplace_back(identity->identity_id(), identity->spiffe_id());
    contents.emplace_back(offer->context_digest, identity->hint());
    policies.emplace(*offer->id, offer->policy);
    expires_at = std::max(expires_at, offer->certified->expires_at);
  }
  if (!matched.empty()) consumer->policies = std::move(policies);
  Twins twins;
  Delivered next{.epoch = served_->trust_epoch(), .has_identities = !matched.empty()};
  if (matched.empty()) next.unavailable = WhyNoneYet(*served_, missing, expired);
  // A process whose identities were withdrawn goes on with its last leaf and rules, but under the
  // trust of now: what it is told then has no identity.
  if (!consumer->policies.empty()) {
    next.trust_digest =
        trust::TrustDigest({{options_.trust_domain, served_->trust->state}}, consumer->policies);
    next.policy_digest = trust::TrustDigest({}, consumer->policies);
    twins = TwinsAt(*served_->trust, now);
  }
  next.contents = ContentsDigest(*consumer->selectors, contents, twins);
  // It knows when its certificate ends; that nothing follows yet is no news, newer trust is.
  const bool same_trust = consumer->delivered.has_value() &&
                          consumer->delivered->epoch == next.epoch &&
                          consumer->delivered->trust_digest == next.trust_digest;
  if (same_trust && expired && matched.empty()) return;
  if (same_trust && *consumer->delivered == next) return;
  if (ConsumerTable::WasToldBefore(*consumer, next)) {
    consumer->ending = true;
    out->push_back(action::EndConsumer{
        id, absl::UnavailableError("trust epochs count anew: open another stream")});
    return;
  }
  auto message = MessageFor(id, *consumer, next, matched);
  for (const absl::string_view der : twins) {
    message->mutable_trust_domains(0)->add_twins(std::string(der));
  }
  out->push_back(action::Deliver{id, std::move(message)});
  consumers_.Deliver(id, std::move(next), std::move(identities), expires_at);
}

std::shared_ptr<agent::v1::MtlsContexts> AgentCore::MessageFor(const ConsumerId& id,
                                                               const Consumer& consumer,
                                                               const Delivered& delivered,
                                                               const Matched& matched) const {
  auto message = x509::ShareWiped(agent::v1::MtlsContexts(), trust::WipeKeys);
  for (const auto& [identity, offer] : matched) {
    agent::v1::Identity& one = *message->add_identities();
    one.set_spiffe_id(identity->spiffe_id());
    one.set_hint(identity->hint());
    for (const auto& der : offer->certified->chain) one.add_chain(*der);
    one.set_private_key(std::string(offer->certified->key.Reveal()));
    one.set_expires_at(absl::ToUnixSeconds(offer->certified->expires_at));
    one.set_context_digest(offer->context_digest);
    for (trust::v1::PeerRule& rule : offer->policy.rules(*offer->id)) {
      *one.add_rules() = std::move(rule);
    }
  }
  for (const std::string& selector : *consumer.selectors) message->add_selectors(selector);
  message->set_consumer_id(id);
  message->set_trust_epoch(delivered.epoch);
  message->set_unavailable(delivered.unavailable);
  if (!delivered.trust_digest.empty()) {
    *message->add_trust_domains() = trust::EncodeTrustState(*served_->trust->state);
    message->set_trust_digest(delivered.trust_digest);
  }
  return message;
}

}  // namespace linchpin::agent
