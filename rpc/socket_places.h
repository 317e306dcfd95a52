// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who may stay on a crowded socket, and who has to go: decides, does nothing. One thread.
//
// The measure is a place: about one file descriptor. A parked connection (no byte of a request yet)
// takes one, a served one three, and the handle by which its process is watched one more, for as
// long as anybody holds it. Where places run out the user that holds most gives up some, what is
// parked first and longest, then what is served newest; so a user that holds little gets in however
// many others fill the rest. Every decision costs O(log n).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"

namespace linchpin::rpc {

using ConnectionId = uint64_t;  // never used twice; a later connection has a higher one

struct SocketLimits {
  size_t places = 0;                            // in all
  size_t places_of_user = 0;                    // of one
  size_t kept = 0;                              // of `places`, for the trusted users alone
  absl::Duration patience = absl::Seconds(10);  // with a parked connection

  // What is left when the process has kept its own from so many open files.
  static SocketLimits ForOpenFiles(uint64_t open_files);
};

class SocketPlaces {
 public:
  static constexpr size_t kParked = 1;
  static constexpr size_t kServed = 3;
  static constexpr size_t kHandle = 1;

  SocketPlaces(const SocketLimits& limits, std::set<uid_t> trusted);

  struct Decision {
    bool admitted = false;
    // Have to go, whether or not it was admitted. Parked ones have gone with this answer; served
    // ones keep their places until Leave().
    std::vector<ConnectionId> evicted;
  };
  // `now` never goes back.
  Decision Park(ConnectionId id, uid_t uid, absl::Duration now);
  // A parked one has begun to speak: serve it, and take its process's handle. It has gone if it is
  // not admitted.
  Decision Serve(ConnectionId id);
  // A served one is being closed: it is evicted no more.
  void Close(ConnectionId id);
  void Leave(ConnectionId id);
  void ReleaseHandle(uid_t uid);

  // The connection that was parked for longest, once patience with it has ended: to Leave().
  std::optional<ConnectionId> Overdue(absl::Duration now) const;
  std::optional<absl::Duration> NextOverdue() const;

  bool Trusts(uid_t uid) const { return trusted_.contains(uid); }
  size_t parked() const { return parked_.size(); }
  size_t served() const { return connections_.size() - parked_.size(); }  // or being closed
  size_t taken() const { return taken_; }                                 // places
  size_t TakenBy(uid_t uid) const;

 private:
  enum class State : uint8_t { kParked, kServed, kClosing };
  struct Connection {
    uid_t uid;
    State state;
    absl::Duration since;  // parked
  };
  // Its places, the youth of its oldest connection, itself: the last one is to give.
  using Rank = std::tuple<size_t, ConnectionId, uid_t>;
  struct User {
    size_t taken = 0;
    size_t closing = 0;  // of `taken`
    std::set<ConnectionId> parked;
    std::set<ConnectionId> served;
    std::optional<Rank> rank;  // none: nothing to evict
  };

  // Room for so many more places of this user, at the cost of anything but its connection `keep`.
  bool MakeRoom(uid_t uid, size_t places, ConnectionId keep, Decision& decision);
  bool FitsUser(uid_t uid, size_t places, ConnectionId keep, Decision& decision);
  bool EvictParked(uid_t uid, ConnectionId keep, Decision& decision);
  bool EvictServed(uid_t uid, Decision& decision);
  size_t Weight(uid_t uid) const;
  size_t PlacesOf(State state) const { return state == State::kParked ? kParked : kServed; }
  void Take(uid_t uid, size_t places);
  void Give(uid_t uid, size_t places);
  void Rerank(uid_t uid);

  const SocketLimits limits_;
  const std::set<uid_t> trusted_;
  absl::flat_hash_map<ConnectionId, Connection> connections_;
  std::set<ConnectionId> parked_;
  absl::flat_hash_map<uid_t, User> users_;
  std::set<Rank> ranks_;
  size_t taken_ = 0;
  size_t taken_by_trusted_ = 0;
  size_t closing_ = 0;  // of `taken_`
};

}  // namespace linchpin::rpc
