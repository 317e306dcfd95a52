// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Certificates of the identities that processes on this node need.

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/core/agent_core.h"
#include "base/retry_after.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::agent {
namespace {

// The longest that a CA with much to do may put a node off.
constexpr absl::Duration kMostTold = absl::Minutes(1);

}  // namespace

void AgentCore::UpdateWanted() {
  if (wanted_of_ == latest_registrations_ && wanted_for_ == consumers_.selectors_version()) return;
  wanted_of_ = latest_registrations_;
  wanted_for_ = consumers_.selectors_version();
  std::set<std::string> wanted;
  for (const auto& [id, certified] : latest_.certificates) wanted.insert(id);
  if (latest_registrations_ != nullptr) {
    for (const auto& [selectors, streams] : consumers_.selectors()) {
      for (const ca::v1::NodeIdentity* identity : latest_registrations_->Match(selectors)) {
        wanted.insert(identity->identity_id());
      }
    }
  }
  schedule_.SetWanted(std::move(wanted));
}

void AgentCore::IssueDue(absl::Time now, Actions* out) {
  AlarmExpired(now, out);
  if (issue_ticket_ != 0 || context_in_use_ == nullptr || !HasValidNode(now)) return;
  std::vector<std::string> due =
      schedule_.Due(now, latest_.certificates, options_.renewals, latest_.trust_message());
  issuing_.clear();
  action::Issue issue;
  for (std::string& id : due) {
    const ca::v1::NodeIdentity* identity = latest_registrations_->Find(id);
    if (identity == nullptr) continue;
    issuing_[id] = *identity;
    const auto held = latest_.certificates.find(id);
    issue.held_until.push_back(held == latest_.certificates.end() ? absl::InfinitePast()
                                                                  : held->second->expires_at);
    issue.identity_ids.push_back(std::move(id));
  }
  if (issue.identity_ids.empty()) return;
  issue.ticket = issue_ticket_ = ++last_ticket_;
  out->push_back(std::move(issue));
}

void AgentCore::On(absl::Time now, const event::IssueDone& event, Actions* out) {
  if (event.ticket != issue_ticket_ || issue_ticket_ == 0) return;
  issue_ticket_ = 0;
  for (const event::IssueDone::Result& result : event.results) TakeIssued(now, result, out);
  issuing_.clear();
}

void AgentCore::TakeIssued(absl::Time now, const event::IssueDone::Result& result, Actions* out) {
  const auto asked = issuing_.find(result.identity_id);
  const ca::v1::NodeIdentity* identity = latest_registrations_->Find(result.identity_id);
  if (asked == issuing_.end() || identity == nullptr) return;  // deleted in the meantime
  const auto held = latest_.certificates.find(result.identity_id);
  const bool renewal = held != latest_.certificates.end();
  absl::Status status = result.item.status();
  absl::StatusOr<x509::Chain> chain = x509::Chain();
  if (status.ok()) {
    const absl::StatusOr<trust::SpiffeId> id = trust::SpiffeId::Parse(identity->spiffe_id());
    chain =
        id.ok()
            ? CheckIssued(
                  {.key = result.item->key, .id = *id, .trust = latest_.trust->state, .now = now},
                  result.item->chain)
            : absl::StatusOr<x509::Chain>(id.status());
    if (!chain.ok()) {
      status = absl::Status(chain.status().code(),
                            absl::StrCat(chain.status().message(), ClockText(now)));
    }
  }
  if (!status.ok()) {
    const absl::Time expires = renewal ? held->second->expires_at : absl::InfinitePast();
    const bool refused = absl::IsPermissionDenied(status) || absl::IsNotFound(status) ||
                         absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status);
    schedule_.Failed(result.identity_id, refused, now, expires - now, random_);
    if (const std::optional<absl::Duration> wait = base::RetryAfter(status)) {
      schedule_.NotBefore(result.identity_id, now + std::min(*wait, kMostTold));
    }
    for (const auto& [id, consumer] : consumers_.all()) {
      if (consumer.open && !consumer.delivered.has_value()) undelivered_.insert(id);
    }
    // A long outage is not to fill the log: the first failures, then ever rarer.
    const auto failures = static_cast<unsigned>(schedule_.failures(result.identity_id));
    const bool quiet = failures > 2 && !std::has_single_bit(failures);
    out->push_back(action::Alarm{
        quiet ? ""
              : absl::StrCat(
                    identity->spiffe_id(), renewal ? " is not renewed" : " is not issued",
                    renewal ? absl::StrCat(" (valid until ", trust::TimeText(expires), ")") : "",
                    ": ", status.message()),
        "linchpin_agent_renewals_total",
        {{"result", "failed"}, {"reason", absl::StatusCodeToString(status.code())}}});
    return;
  }
  const absl::Time renew_at = DrawRenewal(chain->front(), now, base::RandomFraction(random_));
  const Certified* like = latest_.certificates.empty() ? latest_.node.get()
                                                       : latest_.certificates.begin()->second.get();
  CertifiedPtr certified =
      MakeCertified(result.item->key, *chain, now - clock_ahead_, renew_at, like);
  out->push_back(
      action::Note{absl::StrCat(identity->spiffe_id(), renewal ? " is renewed" : " is issued",
                                ", valid until ", trust::TimeText(certified->expires_at),
                                ", to be renewed at ", trust::TimeText(renew_at)),
                   "linchpin_agent_renewals_total",
                   {{"result", "ok"}, {"reason", renewal ? "due" : "first"}}});
  latest_.certificates[result.identity_id] = std::move(certified);
  expired_alarmed_.erase(result.identity_id);
  schedule_.Succeeded(result.identity_id);
  // Asked for under another registration: good while it lasts, but to be replaced.
  if (!Registrations::SameCertificate(asked->second, *identity)) {
    schedule_.Hasten(result.identity_id, now);
  }
  Changed();
}

void AgentCore::AlarmExpired(absl::Time now, Actions* out) {
  if (now < expiry_alarm_at_) return;
  expiry_alarm_at_ = absl::InfiniteFuture();
  std::erase_if(expired_alarmed_,
                [&](const std::string& id) { return !served_->certificates.contains(id); });
  for (const auto& [id, certified] : served_->certificates) {
    if (certified->expires_at > now) {
      expiry_alarm_at_ = std::min(expiry_alarm_at_, certified->expires_at);
      continue;
    }
    if (!expired_alarmed_.insert(id).second) continue;
    const ca::v1::NodeIdentity* identity = registrations_->Find(id);
    out->push_back(
        action::Alarm{absl::StrCat(identity == nullptr ? id : identity->spiffe_id(), " expired at ",
                                   trust::TimeText(certified->expires_at),
                                   " and could not be renewed; renewal is tried on"),
                      "linchpin_agent_expired_total"});
  }
}

}  // namespace linchpin::agent
