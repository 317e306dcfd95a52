// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/sdk_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/backoff.h"
#include "base/status_macros.h"

namespace linchpin::tls {
namespace {

uint64_t Mix(uint64_t x) {  // SplitMix64
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// What was set at most `longest` ahead. A wall clock that was set back puts nothing off.
bool IsDue(absl::Time now, absl::Time at, absl::Duration longest) {
  return now >= at || at - now > longest;
}

using ContextPtr = std::shared_ptr<const trust::MtlsContext>;

// The same leaf, key and rules under other trust.
absl::StatusOr<ContextPtr> Under(const trust::TrustStates& trust, const trust::MtlsContext& held) {
  trust::MtlsContextParts parts;
  parts.chain = held.chain();
  parts.key = held.key();
  parts.trust = trust;
  parts.policy = held.policy();
  return trust::MtlsContext::Make(std::move(parts));
}

// Gives `decoded`, which has no identity, those that are held.
absl::Status GoOnWith(const std::vector<ContextPtr>& held, trust::DecodedContexts* decoded) {
  std::map<trust::SpiffeId, trust::PeerPolicy> policies;
  for (const ContextPtr& context : held) {
    ASSIGN_OR_RETURN(ContextPtr renewed, Under(decoded->trust, *context));
    policies.emplace(*renewed->id(), renewed->policy());
    decoded->contexts.push_back(std::move(renewed));
  }
  decoded->trust_digest = trust::TrustDigest(decoded->trust, policies);
  return absl::OkStatus();
}

}  // namespace

std::shared_ptr<const trust::MtlsContext> InForce::Find(const std::string& spiffe_id) const {
  for (const auto& context : decoded.contexts) {
    if (spiffe_id.empty() || (context->id() && context->id()->ToString() == spiffe_id)) {
      return context;
    }
  }
  return nullptr;
}

std::vector<Action> SdkCore::Step(absl::Time now, const Event& event) {
  Actions out;
  std::visit([&](const auto& e) { On(now, e, &out); }, event);
  CloseDue(now, &out);
  MaybeReport(now, &out);
  SetTimer(now, &out);
  return out;
}

void SdkCore::On(absl::Time, const event::Started&, Actions* out) {
  stream_ = Stream::kOpening;
  out->push_back(action::OpenStream{});
}

void SdkCore::On(absl::Time, const event::StreamOpened&, Actions*) { stream_ = Stream::kOpen; }

void SdkCore::On(absl::Time now, const event::StreamLost&, Actions*) {
  stream_ = Stream::kClosed;
  consumer_id_.clear();
  const double fraction = Fraction(static_cast<uint64_t>(failed_tries_));
  open_at_ =
      now + base::Backoff(failed_tries_, fraction, options_.first_retry, options_.most_retry);
  ++failed_tries_;
}

void SdkCore::On(absl::Time, const event::ContextsReceived& event, Actions* out) {
  if (stream_ != Stream::kOpen) return;  // of a stream that was given up
  absl::StatusOr<trust::DecodedContexts> decoded = trust::DecodeContexts(event.message);
  if (!decoded.ok()) {
    out->push_back(action::RefusedMessage{decoded.status()});
    return;
  }
  failed_tries_ = 0;
  if (decoded->contexts.empty()) {
    out->push_back(
        action::NoIdentity{{event.message.selectors().begin(), event.message.selectors().end()}});
    const InForce* held = pending_ != nullptr ? pending_.get() : in_force_.get();
    if (held == nullptr || decoded->trust.empty()) return;
    if (absl::Status status = GoOnWith(held->decoded.contexts, &*decoded); !status.ok()) {
      out->push_back(action::RefusedMessage{std::move(status)});
      return;
    }
  }
  consumer_id_ = event.message.consumer_id();
  auto contexts = std::make_shared<InForce>();
  contexts->generation = ++generation_;
  contexts->consumer_id = consumer_id_;
  contexts->decoded = *std::move(decoded);
  pending_ = std::move(contexts);
  out->push_back(action::Swap{pending_});
}

void SdkCore::On(absl::Time now, const event::Swapped& event, Actions*) {
  // An older swap's completion: the newer one's will come.
  if (pending_ == nullptr || event.generation != pending_->generation) return;
  in_force_ = std::move(pending_);
  pending_ = nullptr;
  for (auto& [id, live] : connections_) {
    if (live.judged_under != in_force_->decoded.trust_digest) Rejudge(now, &live);
  }
}

void SdkCore::On(absl::Time now, const event::ReportDone& event, Actions*) {
  report_under_way_ = false;
  if (event.status.ok()) {
    acknowledged_ = acknowledging_;
  } else {
    retry_at_ = now + options_.report_interval;
    // What the agent will never take must not keep back the acknowledgement that goes with it.
    if (!absl::IsInvalidArgument(event.status)) counts_.Add(counts_under_way_);
  }
  counts_under_way_ = {};
}

void SdkCore::On(absl::Time now, const event::ConnectionOpened& event, Actions*) {
  auto [it, inserted] = connections_.try_emplace(event.id);
  if (!inserted) return;
  Live& live = it->second;
  live.opened = event;
  live.judged_under = event.trust_digest;
  live.close_at = absl::InfiniteFuture();
  Schedule(&live, AgeLimit(event));
  // Allowed under contexts whose swap is not confirmed yet: nothing newer to judge it by.
  if (pending_ != nullptr && pending_->decoded.trust_digest == event.trust_digest) return;
  if (in_force_ != nullptr && in_force_->decoded.trust_digest != event.trust_digest) {
    Rejudge(now, &live);
  }
}

void SdkCore::On(absl::Time, const event::ConnectionClosed& event, Actions*) {
  auto it = connections_.find(event.id);
  if (it == connections_.end()) return;
  closings_.erase({it->second.close_at, event.id});
  connections_.erase(it);
}

void SdkCore::On(absl::Time, const event::Judged& event, Actions*) { counts_.Add(event.counts); }

void SdkCore::On(absl::Time now, const event::TimerFired&, Actions* out) {
  timer_ = absl::InfiniteFuture();
  if (stream_ == Stream::kClosed && IsDue(now, open_at_, options_.most_retry)) {
    open_at_ = absl::InfiniteFuture();
    stream_ = Stream::kOpening;
    out->push_back(action::OpenStream{});
  }
}

void SdkCore::Rejudge(absl::Time now, Live* live) {
  live->judged_under = in_force_->decoded.trust_digest;
  if (live->closing) return;
  ContextPtr context = in_force_->Find(live->opened.self_id);
  if (context != nullptr) {
    live->opened.context = context;
  } else if (live->opened.context != nullptr) {
    // The identity is gone: nothing was revoked by that, and its last rules go on.
    context = Under(in_force_->decoded.trust, *live->opened.context).value_or(nullptr);
  }
  if (context == nullptr) return;
  trust::Verdict verdict =
      trust::JudgeAgain(live->opened.chain, *context, live->opened.direction, live->opened.expect,
                        live->opened.handshake_time, now, options_.memo);
  if (verdict.allowed) {
    live->verdict.reset();
    Schedule(live, AgeLimit(live->opened));
    return;
  }
  const bool at_once = ClosesAtOnce(verdict);
  live->verdict = std::move(verdict);
  const absl::Time due =
      at_once ? now : now + Fraction(live->opened.id ^ generation_) * options_.close_spread;
  Schedule(live, std::min(due, AgeLimit(live->opened)));
}

void SdkCore::Schedule(Live* live, absl::Time close_at) {
  closings_.erase({live->close_at, live->opened.id});
  live->close_at = close_at;
  if (close_at != absl::InfiniteFuture()) closings_.insert({close_at, live->opened.id});
}

void SdkCore::CloseDue(absl::Time now, Actions* out) {
  while (!closings_.empty() && closings_.begin()->first <= now) {
    const ConnectionId id = closings_.begin()->second;
    closings_.erase(closings_.begin());
    Live& live = connections_.at(id);
    live.close_at = absl::InfiniteFuture();
    live.closing = true;
    out->push_back(action::CloseConnection{id, live.verdict});
  }
}

bool SdkCore::CanReport() const {
  return stream_ == Stream::kOpen && !report_under_way_ && in_force_ != nullptr &&
         in_force_->consumer_id == consumer_id_;
}

bool SdkCore::OwesAcknowledgement() const {
  return acknowledged_ != std::tie(in_force_->consumer_id, in_force_->decoded.trust_epoch,
                                   in_force_->decoded.trust_digest);
}

void SdkCore::MaybeReport(absl::Time now, Actions* out) {
  if (!CanReport() || !IsDue(now, retry_at_, options_.report_interval)) return;
  const bool send_counts = !counts_.empty() && IsDue(now, next_report_, options_.report_interval);
  if (!send_counts && !OwesAcknowledgement()) return;
  acknowledging_ = {in_force_->consumer_id, in_force_->decoded.trust_epoch,
                    in_force_->decoded.trust_digest};
  action::Report report;
  report.request.set_consumer_id(in_force_->consumer_id);
  report.request.set_trust_epoch(in_force_->decoded.trust_epoch);
  report.request.set_trust_digest(in_force_->decoded.trust_digest);
  if (send_counts) {
    counts_under_way_ = counts_.TakeReport();
    next_report_ = now + options_.report_interval;
  }
  for (const auto& [key, count] : counts_under_way_.by_key()) {
    agent::v1::VerdictCount* entry = report.request.add_verdicts();
    entry->set_reason(key.reason);
    entry->set_self_id(key.self_id);
    entry->set_peer_id(key.peer_id);
    entry->set_inbound(key.direction == trust::Direction::kInbound);
    entry->set_count(count);
  }
  report_under_way_ = true;
  out->push_back(std::move(report));
}

void SdkCore::SetTimer(absl::Time now, Actions* out) {
  absl::Time next = stream_ == Stream::kClosed ? open_at_ : absl::InfiniteFuture();
  if (!closings_.empty()) next = std::min(next, closings_.begin()->first);
  if (CanReport() && OwesAcknowledgement()) next = std::min(next, std::max(now, retry_at_));
  if (CanReport() && !counts_.empty()) {
    next = std::min(next, std::max({now, retry_at_, next_report_}));
  }
  if (next == timer_ || next == absl::InfiniteFuture()) return;
  timer_ = next;
  out->push_back(action::SetTimer{next});
}

absl::Time SdkCore::AgeLimit(const event::ConnectionOpened& opened) const {
  if (opened.max_age == absl::InfiniteDuration()) return absl::InfiniteFuture();
  // A little early and not all at once: connections that were made together part apart.
  const absl::Duration spread = std::min(options_.close_spread, opened.max_age / 10);
  return opened.handshake_time + opened.max_age - Fraction(opened.id) * spread;
}

bool SdkCore::ClosesAtOnce(const trust::Verdict& verdict) const {
  switch (verdict.reason()) {
    case trust::v1::REVOKED:
    case trust::v1::PEER_NOT_ALLOWED:
    case trust::v1::UNEXPECTED_PEER:
      return true;
    default:
      break;
  }
  const auto& states = in_force_->decoded.trust;
  return std::any_of(states.begin(), states.end(), [&](const auto& entry) {
    if (verdict.peer && verdict.peer->trust_domain() != entry.first) return false;
    return entry.second->pins().urgent();
  });
}

double SdkCore::Fraction(uint64_t salt) const {
  return static_cast<double>(Mix(options_.seed ^ Mix(salt)) >> 11) * 0x1.0p-53;
}

}  // namespace linchpin::tls
