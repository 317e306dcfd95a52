// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/consumers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "trust/text.h"

namespace linchpin::agent {
namespace {

// Its identities are gone from the registry, but not from its TLS contexts.
bool HoldsOn(const Consumer& consumer) {
  return !consumer.identities.empty() && consumer.delivered != nullptr &&
         consumer.delivered->identities().empty();
}

}  // namespace

void ConsumerTable::Restarted(std::map<std::string, std::string> identities, absl::Time settled) {
  missing_ = std::move(identities);
  settled_ = settled;
}

absl::Status ConsumerTable::Open(const event::ConsumerOpened& event) {
  if (consumers_.size() >= kMaxConsumers) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", kMaxConsumers, " consumers already"));
  }
  Consumer& consumer = consumers_[event.consumer];
  consumer.process = event.process;
  consumer.selectors = {event.selectors.begin(), event.selectors.end()};
  return absl::OkStatus();
}

Consumer* ConsumerTable::Find(const ConsumerId& id) {
  const auto it = consumers_.find(id);
  return it == consumers_.end() ? nullptr : &it->second;
}

void ConsumerTable::Close(const ConsumerId& id) {
  const auto it = consumers_.find(id);
  if (it == consumers_.end()) return;
  it->second.open = false;
  if (it->second.identities.empty()) consumers_.erase(it);
}

void ConsumerTable::Exited(const ProcessId& process) {
  std::erase_if(consumers_, [&](const auto& entry) { return entry.second.process == process; });
}

void ConsumerTable::ForgetExpired(absl::Time now) {
  if (settled_ <= now) missing_.clear();
  std::erase_if(consumers_, [&](const auto& entry) {
    return !entry.second.open && entry.second.expires_at <= now;
  });
  for (auto& [id, consumer] : consumers_) {
    if (HoldsOn(consumer) && consumer.expires_at <= now) consumer.identities.clear();
  }
}

absl::Time ConsumerTable::NextExpiry() const {
  absl::Time next = missing_.empty() ? absl::InfiniteFuture() : settled_;
  for (const auto& [id, consumer] : consumers_) {
    if (!consumer.open || HoldsOn(consumer)) next = std::min(next, consumer.expires_at);
  }
  return next;
}

void ConsumerTable::Delivered(const ConsumerId& id,
                              std::shared_ptr<const agent::v1::MtlsContexts> contexts,
                              std::vector<std::pair<std::string, std::string>> identities) {
  Consumer* consumer = Find(id);
  if (consumer == nullptr) return;
  consumer->delivered = contexts;
  consumer->deliveries.emplace_back(contexts->trust_epoch(), contexts->trust_digest());
  if (consumer->deliveries.size() > kMaxDeliveries) consumer->deliveries.pop_front();
  if (identities.empty()) return;  // the process goes on with what it has until that expires
  for (const auto& [identity_id, spiffe_id] : identities) missing_.erase(identity_id);
  consumer->identities = std::move(identities);
  consumer->expires_at = absl::InfinitePast();
  for (const agent::v1::Identity& identity : contexts->identities()) {
    consumer->expires_at =
        std::max(consumer->expires_at, absl::FromUnixSeconds(identity.expires_at()));
  }
  const ProcessId process = consumer->process;
  std::erase_if(consumers_, [&](const auto& entry) {
    return !entry.second.open && entry.second.process == process;
  });
}

absl::Status ConsumerTable::Check(const agent::v1::ReportRequest& report) const {
  const auto it = consumers_.find(report.consumer_id());
  if (it == consumers_.end() || !it->second.open) {
    return absl::NotFoundError(absl::StrCat("no stream is called ",
                                            trust::Quoted(report.consumer_id()),
                                            "; open Watch and use the name that it gives"));
  }
  const std::pair<uint64_t, std::string> said(report.trust_epoch(), report.trust_digest());
  const auto& deliveries = it->second.deliveries;
  if (std::find(deliveries.begin(), deliveries.end(), said) == deliveries.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat("consumer ", report.consumer_id(), " reports trust epoch ",
                     report.trust_epoch(), " with a digest that was not delivered to it"));
  }
  return absl::OkStatus();
}

void ConsumerTable::Reported(const agent::v1::ReportRequest& report) {
  Consumer* consumer = Find(report.consumer_id());
  if (consumer == nullptr) return;
  consumer->reported = true;
  consumer->epoch = report.trust_epoch();
  consumer->digest = report.trust_digest();
}

size_t ConsumerTable::open() const {
  return static_cast<size_t>(std::count_if(consumers_.begin(), consumers_.end(),
                                           [](const auto& entry) { return entry.second.open; }));
}

std::map<std::string, ca::v1::Consumer> ConsumerTable::Rows() const {
  std::map<std::string, ca::v1::Consumer> rows;
  for (const auto& [identity_id, spiffe_id] : missing_) {
    ca::v1::Consumer& row = rows[absl::StrCat("<restart>/", identity_id)];
    row.set_consumer_id(absl::StrCat("<restart>/", identity_id));
    row.set_spiffe_id(spiffe_id);
  }
  for (const auto& [id, consumer] : consumers_) {
    for (const auto& [identity_id, spiffe_id] : consumer.identities) {
      ca::v1::Consumer row;
      row.set_consumer_id(absl::StrCat(id, "/", identity_id));
      row.set_spiffe_id(spiffe_id);
      if (consumer.reported) {
        row.set_trust_epoch(consumer.epoch);
        row.set_trust_digest(consumer.digest);
        row.set_evidence(ca::v1::IN_FORCE);
      }
      const std::string name = row.consumer_id();
      rows.emplace(name, std::move(row));
    }
  }
  return rows;
}

}  // namespace linchpin::agent
