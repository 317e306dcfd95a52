// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/consumers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "trust/text.h"

namespace linchpin::agent {
namespace {

constexpr char kMissing[] = "<restart>";  // the process that those of before count as

// Its identities are gone from the registry, but not from its TLS contexts.
bool HoldsOn(const Consumer& consumer) {
  return !consumer.identities.empty() && consumer.delivered.has_value() &&
         !consumer.delivered->has_identities;
}

bool CanExpire(const Consumer& consumer) { return !consumer.open || HoldsOn(consumer); }

// Stands for the readers of files whose writer has exited.
ProcessId FilesOf(const Consumer& consumer) {
  return absl::StrCat("<files ", consumer.identities.front().first, ">");
}

// The digest of the rules that the open ones of these streams were told last; none: of none is it
// known what it would have been told.
std::optional<std::string> ToldLast(const std::vector<const Consumer*>& streams) {
  std::optional<std::string> told;
  for (const Consumer* stream : streams) {
    if (stream->open && stream->delivered.has_value()) told = stream->delivered->policy_digest;
  }
  return told;
}

// What one stream shows, into the row that speaks for all of its process.
void Fold(const Consumer& consumer, const std::optional<std::string>& told, bool first,
          ca::v1::Consumer* row) {
  if (first || !consumer.shown || consumer.epoch < row->trust_epoch()) {
    row->set_trust_epoch(consumer.epoch);
    row->set_trust_digest(consumer.policy_digest);
  } else if (consumer.epoch == row->trust_epoch() &&
             consumer.policy_digest != row->trust_digest()) {
    if (!told.has_value()) row->clear_trust_digest();
    if (row->trust_digest() == told) row->set_trust_digest(consumer.policy_digest);
  }
  const ca::v1::Evidence evidence = consumer.shown ? consumer.evidence : ca::v1::NONE;
  row->set_evidence(first ? evidence : std::min(row->evidence(), evidence));
}

}  // namespace

void ConsumerTable::Restarted(std::map<std::string, Before> identities, absl::Time settled,
                              ServedProcesses alive) {
  list_.Restore(alive);
  before_.Begin(std::move(identities), std::move(alive), settled);
  MayExpire(before_.NextExpiry());
  touched_.insert(kMissing);
}

void ConsumerTable::ClockSetBack(absl::Time now, absl::Time settled) {
  before_.SettleBy(settled);
  list_.ClockSetBack(now);
}

void ConsumerTable::EndBefore(const ProcessId& process) {
  if (before_.End(process)) touched_.insert(kMissing);
}

bool ConsumerTable::Look(absl::Time now) {
  return list_.Look(now, [this](const ProcessId& process) { return ServedTo(process); });
}

ServedProcess ConsumerTable::ServedTo(const ProcessId& process) const {
  const ServedProcess* before = before_.Find(process);
  ServedProcess served = before == nullptr ? ServedProcess() : *before;
  const auto found = of_process_.find(process);
  if (found == of_process_.end()) return served;
  for (const ConsumerId& id : found->second) {
    const Consumer& consumer = consumers_.find(id)->second;
    if (consumer.evidence == ca::v1::NONE || consumer.identities.empty()) continue;
    served.identities.insert(consumer.identities.begin(), consumer.identities.end());
    served.expires_at = std::max(served.expires_at, consumer.expires_at);
  }
  return served;
}

ServedProcesses ConsumerTable::Served() const {
  ServedProcesses all;
  for (const auto& [process, identities] : list_.listed()) {
    ServedProcess served = ServedTo(process);
    if (!served.identities.empty()) all[process] = std::move(served);
  }
  return all;
}

const Selectors* ConsumerTable::Keep(const std::vector<std::string>& selectors) {
  const auto [it, fresh] = selectors_.try_emplace({selectors.begin(), selectors.end()}, 0);
  if (fresh) ++selectors_version_;
  ++it->second;
  return &it->first;
}

void ConsumerTable::LetGo(const Selectors* selectors) {
  const auto it = selectors_.find(*selectors);
  if (--it->second > 0) return;
  selectors_.erase(it);
  ++selectors_version_;
}

absl::Status ConsumerTable::Open(const event::ConsumerOpened& event) {
  if (open_ >= kMaxConsumers) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", kMaxConsumers, " consumers already"));
  }
  const auto [it, fresh] = consumers_.try_emplace(event.consumer);
  if (!fresh)
    return absl::AlreadyExistsError(absl::StrCat("a stream ", event.consumer, " is open"));
  it->second.process = event.process;
  it->second.evidence = event.evidence;
  it->second.carries = event.carries;
  it->second.selectors = Keep(event.selectors);
  of_process_[event.process].insert(event.consumer);
  ++open_;
  return absl::OkStatus();
}

Consumer* ConsumerTable::Find(const ConsumerId& id) {
  const auto it = consumers_.find(id);
  return it == consumers_.end() ? nullptr : &it->second;
}

void ConsumerTable::Select(Consumer* consumer, const std::vector<std::string>& selectors) {
  if (!consumer->open) return;
  const Selectors* before = std::exchange(consumer->selectors, Keep(selectors));
  LetGo(before);
}

void ConsumerTable::Erase(Entry entry) {
  if (entry->second.open) {
    LetGo(entry->second.selectors);
    --open_;
  }
  Leave(entry);
  consumers_.erase(entry);
}

void ConsumerTable::Leave(Entry entry) {
  const auto process = of_process_.find(entry->second.process);
  process->second.erase(entry->first);
  if (process->second.empty()) of_process_.erase(process);
  Touch(entry->second);
}

void ConsumerTable::Close(const ConsumerId& id) {
  const auto it = consumers_.find(id);
  if (it == consumers_.end() || !it->second.open) return;
  if (it->second.identities.empty() || it->second.evidence == ca::v1::NONE) return Erase(it);
  End(it);
}

void ConsumerTable::End(Entry entry) {
  if (entry->second.open) {
    LetGo(std::exchange(entry->second.selectors, nullptr));
    entry->second.open = false;
    --open_;
    Touch(entry->second);
  }
  MayExpire(entry->second.expires_at);
  // Who fills the table loses what it says of itself, and keeps nobody else out.
  const EndedOf ended = Ended(entry->second.process);
  const bool full = consumers_.size() - open_ > kMaxConsumers;
  if (full || ended.size() > kMaxEnded) EraseNewest(ended);
}

void ConsumerTable::Exited(const ProcessId& process) {
  EndBefore(process);
  list_.Exited(process);
  const auto found = of_process_.find(process);
  if (found == of_process_.end()) return;
  const std::set<ConsumerId> ids = found->second;
  for (const ConsumerId& id : ids) {
    const auto it = consumers_.find(id);
    Consumer& consumer = it->second;
    if (consumer.evidence != ca::v1::RELOADED || consumer.identities.empty()) {
      Erase(it);
      continue;
    }
    Leave(it);
    consumer.process = FilesOf(consumer);
    of_process_[consumer.process].insert(id);
    Touch(consumer);
    End(it);
  }
}

void ConsumerTable::ForgetExpired(absl::Time now, absl::Time agreed) {
  if (before_.Forget(now, agreed)) touched_.insert(kMissing);
  if (agreed < soonest_) return;
  soonest_ = absl::InfiniteFuture();
  MayExpire(before_.NextExpiry());
  for (auto it = consumers_.begin(); it != consumers_.end();) {
    const auto entry = it++;
    Consumer& consumer = entry->second;
    if (!CanExpire(consumer)) continue;
    if (consumer.expires_at > agreed) {
      MayExpire(consumer.expires_at);
    } else if (!consumer.open) {
      Erase(entry);
    } else {
      consumer.identities.clear();
      Touch(consumer);
    }
  }
}

void ConsumerTable::Deliver(const ConsumerId& id, Delivered delivered,
                            std::vector<std::pair<std::string, std::string>> identities,
                            absl::Time expires_at) {
  Consumer* consumer = Find(id);
  if (consumer == nullptr) return;
  consumer->deliveries.push_back(
      {delivered.epoch, delivered.trust_digest, delivered.policy_digest});
  if (consumer->deliveries.size() > kMaxDeliveries) {
    consumer->deliveries.erase(consumer->deliveries.begin());
  }
  if (consumer->evidence == ca::v1::DELIVERED) {
    consumer->Show(delivered.epoch, delivered.policy_digest);
  }
  consumer->delivered = std::move(delivered);
  Touch(*consumer);
  if (identities.empty()) {  // the process goes on with what it has until that expires
    if (CanExpire(*consumer)) MayExpire(consumer->expires_at);
    return;
  }
  consumer->identities = std::move(identities);
  consumer->expires_at = expires_at;
  CameBack(consumer);
}

void ConsumerTable::CameBack(Consumer* consumer) {
  if (consumer->evidence == ca::v1::NONE || consumer->identities.empty()) return;
  list_.Served(consumer->process, consumer->identities);
  const bool files = consumer->evidence == ca::v1::RELOADED;
  if (files && !consumer->shown) return;  // the old ones are still in use
  EndBefore(consumer->process);
  if (std::exchange(consumer->came_back, true)) return;
  EndedOf ended = Ended(consumer->process);
  if (files) {
    for (const Entry before : Ended(FilesOf(*consumer))) ended.push_back(before);
  }
  std::erase_if(ended, [consumer](Entry before) {
    return before->second.evidence != consumer->evidence ||
           before->second.carries != consumer->carries;
  });
  if (!ended.empty()) EraseNewest(ended);
}

ConsumerTable::EndedOf ConsumerTable::Ended(const ProcessId& process) {
  EndedOf ended;
  const auto found = of_process_.find(process);
  if (found == of_process_.end()) return ended;
  for (const ConsumerId& id : found->second) {
    const auto it = consumers_.find(id);
    if (!it->second.open) ended.push_back(it);
  }
  return ended;
}

void ConsumerTable::EraseNewest(const EndedOf& ended) {
  Erase(*std::max_element(ended.begin(), ended.end(), [](Entry one, Entry other) {
    return one->second.epoch < other->second.epoch;
  }));
}

void ConsumerTable::Holds(const event::ConsumerHolds& event) {
  Consumer* consumer = Find(event.consumer);
  if (consumer == nullptr || !consumer->open) return;
  if (consumer->evidence == event.evidence && consumer->carries == event.carries) return;
  consumer->evidence = event.evidence;
  consumer->carries = event.carries;
  consumer->came_back = false;
  Touch(*consumer);
  CameBack(consumer);
}

void ConsumerTable::CountAnew() {
  for (auto& [id, consumer] : consumers_) {
    for (Consumer::Delivery& delivery : consumer.deliveries) delivery.of_before = true;
    consumer.epoch = 0;
    if (consumer.delivered.has_value()) consumer.delivered->epoch = 0;  // so that it is told anew
    Touch(consumer);
  }
}

bool ConsumerTable::WasToldBefore(const Consumer& consumer, const Delivered& next) {
  if (consumer.evidence == ca::v1::DELIVERED) return false;  // nothing is asked of it
  return std::any_of(consumer.deliveries.begin(), consumer.deliveries.end(),
                     [&](const Consumer::Delivery& before) {
                       return before.of_before && before.epoch == next.epoch &&
                              before.digest == next.trust_digest;
                     });
}

// The newest, where two say the same.
const Consumer::Delivery* ConsumerTable::Find(const Consumer& consumer,
                                              const agent::v1::ReportRequest& report) {
  for (auto it = consumer.deliveries.rbegin(); it != consumer.deliveries.rend(); ++it) {
    if (it->epoch == report.trust_epoch() && it->digest == report.trust_digest()) return &*it;
  }
  return nullptr;
}

absl::Status ConsumerTable::Check(const agent::v1::ReportRequest& report) const {
  const auto it = consumers_.find(report.consumer_id());
  if (it == consumers_.end() || !it->second.open) {
    return absl::NotFoundError(absl::StrCat("no stream is called ",
                                            trust::Quoted(report.consumer_id()),
                                            "; open Watch and use the name that it gives"));
  }
  if (Find(it->second, report) == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("consumer ", report.consumer_id(), " reports trust epoch ",
                     report.trust_epoch(), " with a digest that was not delivered to it"));
  }
  return absl::OkStatus();
}

void ConsumerTable::Reported(const agent::v1::ReportRequest& report) {
  Consumer* consumer = Find(report.consumer_id());
  if (consumer == nullptr) return;
  const Consumer::Delivery* of = Find(*consumer, report);
  Touch(*consumer);
  if (of == nullptr) return;
  consumer->Show(of->of_before ? 0 : of->epoch, of->policy_digest);
  CameBack(consumer);
}

ConsumerTable::Rows ConsumerTable::RowsOf(const ProcessId& process) const {
  Rows rows;
  if (process == kMissing) {
    for (const auto& [identity_id, spiffe_id] : before_.WaitedFor()) {
      const std::string name = absl::StrCat(kMissing, "/", identity_id);
      rows[name].set_consumer_id(name);
      rows[name].set_spiffe_id(spiffe_id);
    }
    return rows;
  }
  const auto found = of_process_.find(process);
  if (found == of_process_.end()) return rows;
  std::vector<const Consumer*> streams;
  for (const ConsumerId& id : found->second) {
    const Consumer& consumer = consumers_.find(id)->second;
    if (consumer.evidence != ca::v1::NONE) streams.push_back(&consumer);
  }
  const std::optional<std::string> told = ToldLast(streams);
  for (const Consumer* consumer : streams) {
    for (const auto& [identity_id, spiffe_id] : consumer->identities) {
      const std::string name = absl::StrCat(process, "/", identity_id);
      const auto [row, first] = rows.try_emplace(name);
      row->second.set_consumer_id(name);
      row->second.set_spiffe_id(spiffe_id);
      Fold(*consumer, told, first, &row->second);
    }
  }
  return rows;
}

std::set<ProcessId> ConsumerTable::TakeTouched() { return std::exchange(touched_, {}); }

void ConsumerTable::TouchAll() {
  touched_.insert(kMissing);
  for (const auto& [process, consumers] : of_process_) touched_.insert(process);
}

}  // namespace linchpin::agent
