// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What each process of the node is given, and what it says of it.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/core/agent_core.h"
#include "trust/text.h"
#include "trust/trust_codec.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {
namespace {

constexpr size_t kMaxIdentities = 1024;  // of one process

bool SameTrust(const agent::v1::MtlsContexts& a, const agent::v1::MtlsContexts& b) {
  return a.trust_epoch() == b.trust_epoch() && a.trust_digest() == b.trust_digest();
}

bool SameContents(const agent::v1::MtlsContexts& a, const agent::v1::MtlsContexts& b) {
  if (!SameTrust(a, b)) return false;
  const auto same_identity = [](const agent::v1::Identity& x, const agent::v1::Identity& y) {
    return x.context_digest() == y.context_digest() && x.hint() == y.hint();
  };
  return std::equal(a.identities().begin(), a.identities().end(), b.identities().begin(),
                    b.identities().end(), same_identity) &&
         std::equal(a.selectors().begin(), a.selectors().end(), b.selectors().begin(),
                    b.selectors().end());
}

}  // namespace

void AgentCore::On(absl::Time, const event::ConsumerOpened& event, Actions* out) {
  const absl::Status status = consumers_.Open(event);
  if (!status.ok()) {
    out->push_back(action::Alarm{std::string(status.message())});
    return;
  }
  undelivered_.insert(event.consumer);
  UpdateWanted();
}

void AgentCore::On(absl::Time, const event::ConsumerChanged& event, Actions*) {
  Consumer* consumer = consumers_.Find(event.consumer);
  if (consumer == nullptr) return;
  consumer->selectors = {event.selectors.begin(), event.selectors.end()};
  undelivered_.insert(event.consumer);
  UpdateWanted();
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

AgentCore::ContextPtr AgentCore::ContextOf(const ca::v1::NodeIdentity& identity) {
  const auto it = served_->certificates.find(identity.identity_id());
  if (it == served_->certificates.end() || served_->trust == nullptr) return nullptr;
  CachedContext& cached = contexts_[identity.identity_id()];
  if (cached.certified == it->second && cached.trust == served_->trust &&
      cached.projection == served_->projection) {
    return cached.context;
  }
  cached = {it->second, served_->trust, served_->projection, nullptr};
  const absl::StatusOr<trust::SpiffeId> id = trust::SpiffeId::Parse(identity.spiffe_id());
  if (!id.ok()) return nullptr;
  absl::StatusOr<trust::PeerPolicy> policy =
      trust::PeerPolicy::ForIdentity(*id, registrations_->RulesOf(identity.spiffe_id()));
  if (!policy.ok()) return nullptr;
  trust::MtlsContextParts parts;
  parts.chain = it->second->chain;
  parts.key = it->second->key;
  parts.trust.emplace(options_.trust_domain, served_->trust->state);
  parts.policy = *std::move(policy);
  absl::StatusOr<ContextPtr> context = trust::MtlsContext::Make(std::move(parts));
  if (context.ok() && (*context)->id() == *id) cached.context = *std::move(context);
  return cached.context;
}

void AgentCore::DeliverChanged(absl::Time now, Actions* out) {
  consumers_.ForgetExpired(now);
  for (const ConsumerId& id : std::exchange(undelivered_, {})) {
    Consumer* consumer = consumers_.Find(id);
    if (consumer != nullptr && consumer->open) Deliver(now, id, consumer, out);
  }
}

void AgentCore::Deliver(absl::Time now, const ConsumerId& id, Consumer* consumer, Actions* out) {
  auto contexts = x509::ShareWiped(agent::v1::MtlsContexts(), trust::WipeKeys);
  std::vector<std::pair<std::string, std::string>> identities;
  std::map<trust::SpiffeId, trust::PeerPolicy> policies;
  bool awaited = false;
  bool expired = false;
  if (registrations_.has_value()) {
    for (const ca::v1::NodeIdentity* identity : registrations_->Match(consumer->selectors)) {
      if (identities.size() >= kMaxIdentities) break;
      const ContextPtr context = ContextOf(*identity);
      if (context == nullptr) {
        awaited =
            awaited || (HasValidNode(now) && schedule_.failures(identity->identity_id()) == 0);
        continue;
      }
      if (context->expires_at() <= now) {
        expired = true;
        continue;
      }
      *contexts->add_identities() = trust::EncodeIdentity(*context, identity->hint());
      identities.emplace_back(identity->identity_id(), identity->spiffe_id());
      policies.emplace(*context->id(), context->policy());
    }
  }
  // The first message is complete, or says that there is nothing.
  if (awaited && consumer->delivered == nullptr) return;
  for (const std::string& selector : consumer->selectors) contexts->add_selectors(selector);
  contexts->set_consumer_id(id);
  contexts->set_trust_epoch(served_->trust_epoch());
  if (!identities.empty()) consumer->policies = std::move(policies);
  // A process whose identities were withdrawn goes on with its last leaf and rules, but under the
  // trust of now: what it is told then has no identity.
  if (!consumer->policies.empty()) {
    trust::TrustStates trust = {{options_.trust_domain, served_->trust->state}};
    *contexts->add_trust_domains() = trust::EncodeTrustState(*served_->trust->state);
    contexts->set_trust_digest(trust::TrustDigest(trust, consumer->policies));
  }
  // It knows when its certificate ends; that nothing follows yet is no news, newer trust is.
  if (expired && identities.empty() && consumer->delivered != nullptr &&
      SameTrust(*consumer->delivered, *contexts)) {
    return;
  }
  if (consumer->delivered != nullptr && SameContents(*consumer->delivered, *contexts)) return;
  out->push_back(action::Deliver{id, contexts});
  consumers_.Delivered(id, std::move(contexts), std::move(identities));
}

}  // namespace linchpin::agent
