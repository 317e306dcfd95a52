// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Whose certificates are made next. A node that asks for more than its share waits behind itself:
// start-time fair queueing between nodes, counted in certificates, so that a flood of one delays
// another by what is under way at most. Nodes that had the same share, and the calls of one node,
// go by urgency: what a node says of how long its certificates are good still, which can win it
// nothing from nodes that had less than it. Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "ca/core/events.h"

namespace linchpin::ca {

class IssueQueue {
 public:
  static constexpr size_t kMaxUnderWay = 512;  // certificates; a call is begun below it, whole
  // What waits.
  static constexpr size_t kMaxCalls = 4096;
  // About ten seconds of work: beyond that, callers would have given up before their turn.
  static constexpr size_t kMaxCertificates = 65536;
  static constexpr size_t kMaxBytes = size_t{64} << 20;  // of requests
  static constexpr size_t kMaxCallsOfNode = 32;
  static constexpr size_t kMaxBytesOfNode = size_t{4} << 20;

  // Takes the call. Where it is beyond a bound, the least urgent call of the node that is over its
  // own, or else of the node with most calls, is put out: those are returned, perhaps this one.
  std::vector<event::IssueAsked> Add(event::IssueAsked asked);
  // The next call, to be under way from now on; nothing while enough is.
  std::optional<event::IssueAsked> Next();
  void Done(size_t certificates);  // of a call that was under way

  bool idle() const { return waiting_ == 0 && under_way_ == 0; }
  size_t calls() const { return waiting_; }
  // About how long what waits will take.
  absl::Duration Backlog() const;

 private:
  using Urgency = std::pair<absl::Time, uint64_t>;          // held until; arrival
  using Turn = std::tuple<uint64_t, Urgency, std::string>;  // start; of the first call; node
  struct Node {
    std::map<Urgency, event::IssueAsked> calls;  // the most urgent first
    size_t bytes = 0;
    uint64_t start = 0;  // of its next call, in certificates that each busy node has had
  };
  using Nodes = std::map<std::string, Node>;
  using Share = std::pair<size_t, const Nodes::value_type*>;
  struct LessShare {
    bool operator()(const Share& one, const Share& other) const {
      return std::tie(one.first, one.second->first) < std::tie(other.first, other.second->first);
    }
  };

  void List(const Nodes::value_type& node);    // a node that waits
  void Unlist(const Nodes::value_type& node);  // before anything of it changes
  event::IssueAsked Take(Nodes::iterator node, std::map<Urgency, event::IssueAsked>::iterator call);
  Nodes::iterator Greediest();

  Nodes nodes_;  // that wait, or have had more than the others
  // Of the nodes that wait.
  std::set<Turn> turns_;
  std::set<Share, LessShare> by_calls_;
  std::set<Share, LessShare> by_bytes_;
  uint64_t now_ = 0;  // start of the last call that was begun
  uint64_t arrivals_ = 0;
  size_t waiting_ = 0;
  size_t certificates_ = 0;  // that wait
  size_t bytes_ = 0;
  size_t under_way_ = 0;
};

}  // namespace linchpin::ca
