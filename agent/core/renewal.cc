// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/renewal.h"

#include <algorithm>
#include <utility>

#include "base/backoff.h"

namespace linchpin::agent {
namespace {

constexpr absl::Duration kFirst = absl::Milliseconds(200);
constexpr absl::Duration kMost = absl::Seconds(5);
constexpr absl::Duration kMostRefused = absl::Seconds(30);
constexpr absl::Duration kLeast = absl::Milliseconds(500);

}  // namespace

absl::Duration RetryDelay(int failures, bool refused, absl::Duration left, double fraction) {
  absl::Duration most = refused ? kMostRefused : kMost;
  if (left > absl::ZeroDuration()) most = std::max(kLeast, std::min(most, left / 8));
  return base::Backoff(failures, fraction, kFirst, most);
}

void RenewalSchedule::SetWanted(std::set<std::string> identity_ids) {
  wanted_ = std::move(identity_ids);
  std::erase_if(tries_, [&](const auto& entry) { return !wanted_.contains(entry.first); });
}

absl::Time RenewalSchedule::DueAt(const std::string& identity_id, const CertifiedPtr* certified,
                                  bool renewals, const trust::v1::TrustState& trust) const {
  if (certified != nullptr && !renewals) return absl::InfiniteFuture();
  const auto it = tries_.find(identity_id);
  if (it != tries_.end()) return it->second.at;
  return certified == nullptr ? absl::InfinitePast() : RenewAt(**certified, trust);
}

std::vector<std::string> RenewalSchedule::Due(
    absl::Time now, const std::map<std::string, CertifiedPtr>& certificates, bool renewals,
    const trust::v1::TrustState& trust) const {
  std::vector<std::pair<absl::Time, std::string>> due;
  for (const std::string& id : wanted_) {
    const auto it = certificates.find(id);
    const CertifiedPtr* certified = it == certificates.end() ? nullptr : &it->second;
    if (DueAt(id, certified, renewals, trust) > now) continue;
    due.emplace_back(certified == nullptr ? absl::InfinitePast() : (*certified)->expires_at, id);
  }
  std::sort(due.begin(), due.end());
  if (due.size() > kMaxBatch) due.resize(kMaxBatch);
  std::vector<std::string> ids;
  for (auto& [expires, id] : due) ids.push_back(std::move(id));
  return ids;
}

absl::Time RenewalSchedule::Next(const std::map<std::string, CertifiedPtr>& certificates,
                                 bool renewals, const trust::v1::TrustState& trust) const {
  absl::Time next = absl::InfiniteFuture();
  for (const std::string& id : wanted_) {
    const auto it = certificates.find(id);
    next = std::min(next,
                    DueAt(id, it == certificates.end() ? nullptr : &it->second, renewals, trust));
  }
  return next;
}

void RenewalSchedule::Failed(const std::string& identity_id, bool refused, absl::Time now,
                             absl::Duration left, base::Random& random) {
  Try& tried = tries_[identity_id];
  tried.at = now + RetryDelay(tried.failures, refused, left, base::RandomFraction(random));
  ++tried.failures;
}

void RenewalSchedule::NotBefore(const std::string& identity_id, absl::Time at) {
  const auto it = tries_.find(identity_id);
  if (it != tries_.end()) it->second.at = std::max(it->second.at, at);
}

void RenewalSchedule::Hasten(const std::string& identity_id, absl::Time now) {
  if (!wanted_.contains(identity_id)) return;
  Try& tried = tries_.try_emplace(identity_id, Try{.at = now}).first->second;
  tried.at = std::min(tried.at, now);
}

void RenewalSchedule::RetryAll(absl::Time now) {
  for (auto& [id, tried] : tries_) tried.at = std::min(tried.at, now);
}

int RenewalSchedule::failures(const std::string& identity_id) const {
  const auto it = tries_.find(identity_id);
  return it == tries_.end() ? 0 : it->second.failures;
}

}  // namespace linchpin::agent
