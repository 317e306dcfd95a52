// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/socket_places.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace linchpin::rpc {
namespace {

constexpr uint64_t kMostPlaces = 32768;
constexpr uint64_t kLeastKeptFiles = 64;
constexpr uint64_t kMostKeptFiles = 1024;
// Of all places: how many more may be taken while connections that were evicted are being closed.
constexpr size_t kClosingPart = 64;

}  // namespace

SocketLimits SocketLimits::ForOpenFiles(uint64_t open_files) {
  const uint64_t own = std::clamp(open_files / 8, kLeastKeptFiles, kMostKeptFiles);
  const uint64_t places = open_files <= own ? 0 : std::min(open_files - own, kMostPlaces);
  return {.places = places, .places_of_user = places / 4, .kept = places / 16};
}

SocketPlaces::SocketPlaces(const SocketLimits& limits, std::set<uid_t> trusted)
    : limits_(limits), trusted_(std::move(trusted)) {}

SocketPlaces::Decision SocketPlaces::Park(ConnectionId id, uid_t uid, absl::Duration now) {
  Decision decision;
  decision.admitted = MakeRoom(uid, kParked, id, decision);
  if (!decision.admitted) return decision;
  connections_[id] = {uid, State::kParked, now};
  parked_.insert(id);
  users_[uid].parked.insert(id);
  Take(uid, kParked);
  return decision;
}

SocketPlaces::Decision SocketPlaces::Serve(ConnectionId id) {
  Decision decision;
  const auto found = connections_.find(id);
  if (found == connections_.end() || found->second.state != State::kParked) return decision;
  const uid_t uid = found->second.uid;
  constexpr size_t kMore = kServed - kParked + kHandle;
  decision.admitted = MakeRoom(uid, kMore, id, decision);
  if (!decision.admitted) {
    Leave(id);
    return decision;
  }
  connections_.find(id)->second.state = State::kServed;
  parked_.erase(id);
  User& user = users_[uid];
  user.parked.erase(id);
  user.served.insert(id);
  Take(uid, kMore);
  return decision;
}

void SocketPlaces::Close(ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end() || found->second.state != State::kServed) return;
  found->second.state = State::kClosing;
  User& user = users_[found->second.uid];
  user.served.erase(id);
  user.closing += kServed;
  closing_ += kServed;
  Rerank(found->second.uid);
}

void SocketPlaces::Leave(ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  if (found->second.state == State::kServed) Close(id);
  const auto [uid, state, since] = found->second;
  connections_.erase(found);
  User& user = users_[uid];
  if (state == State::kParked) {
    parked_.erase(id);
    user.parked.erase(id);
  } else {
    user.closing -= kServed;
    closing_ -= kServed;
  }
  Give(uid, PlacesOf(state));
}

void SocketPlaces::ReleaseHandle(uid_t uid) { Give(uid, kHandle); }

std::optional<ConnectionId> SocketPlaces::Overdue(absl::Duration now) const {
  const std::optional<absl::Duration> due = NextOverdue();
  if (!due.has_value() || *due > now) return std::nullopt;
  return *parked_.begin();
}

std::optional<absl::Duration> SocketPlaces::NextOverdue() const {
  if (parked_.empty()) return std::nullopt;
  return connections_.find(*parked_.begin())->second.since + limits_.patience;
}

size_t SocketPlaces::TakenBy(uid_t uid) const {
  const auto found = users_.find(uid);
  return found == users_.end() ? 0 : found->second.taken;
}

size_t SocketPlaces::Weight(uid_t uid) const {
  const auto found = users_.find(uid);
  if (found == users_.end()) return 0;
  const size_t weight = found->second.taken - found->second.closing;
  if (!Trusts(uid)) return weight;
  return weight <= limits_.kept ? 0 : weight - limits_.kept;
}

bool SocketPlaces::MakeRoom(uid_t uid, size_t places, ConnectionId keep, Decision& decision) {
  if (!FitsUser(uid, places, keep, decision)) return false;
  const size_t kept = Trusts(uid) ? 0 : limits_.kept - std::min(limits_.kept, taken_by_trusted_);
  while (taken_ - closing_ + places + kept > limits_.places) {
    if (ranks_.empty()) return false;
    const uid_t largest = std::get<uid_t>(*ranks_.rbegin());
    if (EvictParked(largest, keep, decision)) continue;
    // One that is served goes only to somebody who holds less even with what he asks for.
    if (Weight(largest) <= Weight(uid) + places || closing_ > limits_.places / kClosingPart ||
        !EvictServed(largest, decision)) {
      return false;
    }
  }
  return taken_ + places + kept <= limits_.places + limits_.places / kClosingPart;
}

bool SocketPlaces::FitsUser(uid_t uid, size_t places, ConnectionId keep, Decision& decision) {
  const size_t most = limits_.places_of_user + (Trusts(uid) ? limits_.kept : 0);
  while (TakenBy(uid) + places > most) {
    if (!EvictParked(uid, keep, decision)) return false;
  }
  return true;
}

bool SocketPlaces::EvictParked(uid_t uid, ConnectionId keep, Decision& decision) {
  const auto user = users_.find(uid);
  if (user == users_.end()) return false;
  const std::set<ConnectionId>& parked = user->second.parked;
  auto oldest = parked.begin();
  if (oldest != parked.end() && *oldest == keep) ++oldest;
  if (oldest == parked.end()) return false;
  const ConnectionId id = *oldest;
  Leave(id);
  decision.evicted.push_back(id);
  return true;
}

bool SocketPlaces::EvictServed(uid_t uid, Decision& decision) {
  const auto user = users_.find(uid);
  if (user == users_.end() || user->second.served.empty()) return false;
  const ConnectionId id = *user->second.served.rbegin();
  Close(id);
  decision.evicted.push_back(id);
  return true;
}

void SocketPlaces::Take(uid_t uid, size_t places) {
  users_[uid].taken += places;
  taken_ += places;
  if (Trusts(uid)) taken_by_trusted_ += places;
  Rerank(uid);
}

void SocketPlaces::Give(uid_t uid, size_t places) {
  users_[uid].taken -= places;
  taken_ -= places;
  if (Trusts(uid)) taken_by_trusted_ -= places;
  Rerank(uid);
}

void SocketPlaces::Rerank(uid_t uid) {
  const auto found = users_.find(uid);
  User& user = found->second;
  if (user.rank.has_value()) ranks_.erase(*user.rank);
  user.rank.reset();
  if (user.taken == 0) {
    users_.erase(found);
    return;
  }
  const std::set<ConnectionId>& oldest = user.parked.empty() ? user.served : user.parked;
  if (oldest.empty()) return;
  const ConnectionId youth = std::numeric_limits<ConnectionId>::max() - *oldest.begin();
  user.rank = Rank{Weight(uid), youth, uid};
  ranks_.insert(*user.rank);
}

}  // namespace linchpin::rpc
