// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/served_processes.h"

#include <algorithm>
#include <utility>

#include "trust/spiffe_id.h"

namespace linchpin::agent {
namespace {

constexpr size_t kMaxName = 128;  // of a process, of an identity id

bool MakesSense(const state::v1::ServedProcess& one) {
  if (one.process().empty() || one.process().size() > kMaxName || one.identities().empty()) {
    return false;
  }
  return std::all_of(one.identities().begin(), one.identities().end(), [](const auto& identity) {
    return !identity.first.empty() && identity.first.size() <= kMaxName &&
           trust::SpiffeId::Parse(identity.second).ok();
  });
}

}  // namespace

state::v1::ServedProcesses EncodeServed(const ServedProcesses& served, const std::string& boot_id) {
  state::v1::ServedProcesses sealed;
  if (boot_id.empty()) return sealed;
  sealed.set_boot_id(boot_id);
  size_t identities = 0;
  for (const auto& [process, one] : served) {
    identities += one.identities.size();
    const auto count = static_cast<size_t>(sealed.processes_size());
    if (count >= kMaxServedSealed || identities > kMaxServedIdentitiesSealed) break;
    state::v1::ServedProcess& message = *sealed.add_processes();
    message.set_process(process);
    message.mutable_identities()->insert(one.identities.begin(), one.identities.end());
    message.set_expires_at(absl::ToUnixSeconds(one.expires_at));
  }
  return sealed;
}

ServedProcesses DecodeServed(const state::v1::ServedProcesses& sealed) {
  ServedProcesses served;
  size_t identities = 0;
  for (const state::v1::ServedProcess& one : sealed.processes()) {
    if (!MakesSense(one)) continue;
    identities += one.identities().size();
    if (served.size() >= kMaxServedSealed || identities > kMaxServedIdentitiesSealed) break;
    served[one.process()] = {{one.identities().begin(), one.identities().end()},
                             absl::FromUnixSeconds(one.expires_at())};
  }
  return served;
}

void ServedList::Restore(const ServedProcesses& alive) {
  for (const auto& [process, one] : alive) {
    for (const auto& [identity_id, spiffe_id] : one.identities) {
      listed_[process].insert(identity_id);
    }
  }
}

void ServedList::Served(const ProcessId& process,
                        const std::vector<std::pair<std::string, std::string>>& identities) {
  const auto known = listed_.find(process);
  const bool all = known != listed_.end() &&
                   std::all_of(identities.begin(), identities.end(), [&](const auto& identity) {
                     return known->second.contains(identity.first);
                   });
  if (!all) arrived_.insert(process);
}

void ServedList::Exited(const ProcessId& process) {
  listed_.erase(process);
  arrived_.erase(process);
  fresh_.erase(process);
}

bool ServedList::Look(absl::Time now, absl::FunctionRef<ServedProcess(const ProcessId&)> served) {
  if (!arrived_.empty()) look_at_ = std::min(look_at_, now + kStays);
  for (const ProcessId& process : std::exchange(arrived_, {})) fresh_.try_emplace(process, now);
  if (now < look_at_) return false;
  std::erase_if(listed_, [&](const auto& one) { return served(one.first).identities.empty(); });
  bool joined = false;
  bool full = false;
  for (auto it = fresh_.begin(); it != fresh_.end();) {
    const auto& [process, since] = *it;
    const ServedProcess is = served(process);
    const bool listed = listed_.contains(process);
    full = full || (!listed && listed_.size() >= kMaxServedSealed);
    if (!is.identities.empty() && (now < since + kStays || (full && !listed))) {
      ++it;
      continue;
    }
    for (const auto& [identity_id, spiffe_id] : is.identities) {
      joined = listed_[process].insert(identity_id).second || joined;
    }
    it = fresh_.erase(it);
  }
  look_at_ = fresh_.empty() ? absl::InfiniteFuture() : now + (full ? kWhileFull : kStays);
  return joined;
}

void ServedList::ClockSetBack(absl::Time now) {
  for (auto& [process, since] : fresh_) since = std::min(since, now);
  if (!fresh_.empty()) look_at_ = std::min(look_at_, now + kStays);
}

void ServedBefore::Begin(std::map<std::string, Identity> identities, ServedProcesses alive,
                         absl::Time settled) {
  identities_ = std::move(identities);
  alive_ = std::move(alive);
  settled_ = settled;
  told_ = alive_.empty();
}

void ServedBefore::SettleBy(absl::Time latest) { settled_ = std::min(settled_, latest); }

bool ServedBefore::End(const ProcessId& process) { return alive_.erase(process) > 0; }

bool ServedBefore::Forget(absl::Time now, absl::Time agreed) {
  const size_t settled = std::erase_if(identities_, [&](const auto& entry) {
    return entry.second.expires_at <= agreed || settled_ <= now;
  });
  const size_t expired =
      std::erase_if(alive_, [&](const auto& entry) { return entry.second.expires_at <= agreed; });
  return settled + expired > 0;
}

absl::Time ServedBefore::NextExpiry() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [id, identity] : identities_) next = std::min(next, identity.expires_at);
  for (const auto& [id, process] : alive_) next = std::min(next, process.expires_at);
  return next;
}

absl::Time ServedBefore::NextSettling() const {
  return identities_.empty() && told_ ? absl::InfiniteFuture() : settled_;
}

std::map<std::string, std::string> ServedBefore::WaitedFor() const {
  std::map<std::string, std::string> all;
  for (const auto& [id, identity] : identities_) all[id] = identity.spiffe_id;
  for (const auto& [name, process] : alive_) {
    all.insert(process.identities.begin(), process.identities.end());
  }
  return all;
}

const ServedProcess* ServedBefore::Find(const ProcessId& process) const {
  const auto it = alive_.find(process);
  return it == alive_.end() ? nullptr : &it->second;
}

std::vector<ProcessId> ServedBefore::TakeLate(absl::Time now) {
  std::vector<ProcessId> late;
  if (told_ || now < settled_) return late;
  told_ = true;
  for (const auto& [name, process] : alive_) late.push_back(name);
  return late;
}

}  // namespace linchpin::agent
