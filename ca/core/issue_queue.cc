// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/issue_queue.h"

#include <algorithm>
#include <iterator>

namespace linchpin::ca {
namespace {

// A generous guess, to say when to come again.
constexpr absl::Duration kEach = absl::Microseconds(150);

size_t CostOf(const event::IssueAsked& asked) { return std::max<size_t>(asked.items.size(), 1); }

size_t BytesOf(const event::IssueAsked& asked) {
  size_t bytes = 0;
  for (const IssueAskedItem& item : asked.items) {
    bytes += item.identity_id.size() + item.request.size() + sizeof(item);
  }
  return bytes;
}

// Of the certificate that is needed first; the infinite past where the node has none.
absl::Time HeldUntil(const event::IssueAsked& asked) {
  absl::Time first = absl::InfiniteFuture();
  for (const IssueAskedItem& item : asked.items) first = std::min(first, item.held_until);
  return first;
}

}  // namespace

void IssueQueue::List(const Nodes::value_type& node) {
  const auto& [id, has] = node;
  if (has.calls.empty()) return;
  turns_.emplace(has.start, has.calls.begin()->first, id);
  by_calls_.emplace(has.calls.size(), &node);
  by_bytes_.emplace(has.bytes, &node);
}

void IssueQueue::Unlist(const Nodes::value_type& node) {
  const auto& [id, has] = node;
  if (has.calls.empty()) return;
  turns_.erase({has.start, has.calls.begin()->first, id});
  by_calls_.erase({has.calls.size(), &node});
  by_bytes_.erase({has.bytes, &node});
}

std::vector<event::IssueAsked> IssueQueue::Add(event::IssueAsked asked) {
  std::vector<event::IssueAsked> out;
  const auto it = nodes_.try_emplace(asked.caller.node_id).first;
  Node& node = it->second;
  const size_t bytes = BytesOf(asked);
  Unlist(*it);
  if (node.calls.empty()) node.start = std::max(node.start, now_);
  ++waiting_;
  certificates_ += CostOf(asked);
  bytes_ += bytes;
  node.bytes += bytes;
  const Urgency urgency{HeldUntil(asked), ++arrivals_};
  node.calls.emplace(urgency, std::move(asked));
  List(*it);
  while (node.calls.size() > kMaxCallsOfNode || node.bytes > kMaxBytesOfNode) {
    out.push_back(Take(it, std::prev(node.calls.end())));
  }
  while (waiting_ > kMaxCalls || certificates_ > kMaxCertificates || bytes_ > kMaxBytes) {
    const auto greediest = Greediest();
    out.push_back(Take(greediest, std::prev(greediest->second.calls.end())));
  }
  return out;
}

// Takes a call out of its node's.
event::IssueAsked IssueQueue::Take(Nodes::iterator node,
                                   std::map<Urgency, event::IssueAsked>::iterator call) {
  Unlist(*node);
  event::IssueAsked asked = std::move(call->second);
  node->second.calls.erase(call);
  const size_t bytes = BytesOf(asked);
  --waiting_;
  certificates_ -= CostOf(asked);
  bytes_ -= bytes;
  node->second.bytes -= bytes;
  List(*node);
  return asked;
}

// Where each node has one call, the one whose turn is last; of bytes, whoever holds most of them.
IssueQueue::Nodes::iterator IssueQueue::Greediest() {
  if (bytes_ > kMaxBytes) return nodes_.find(by_bytes_.rbegin()->second->first);
  const auto& [calls, most] = *by_calls_.rbegin();
  return nodes_.find(calls > 1 ? most->first : std::get<std::string>(*turns_.rbegin()));
}

std::optional<event::IssueAsked> IssueQueue::Next() {
  if (turns_.empty() || under_way_ >= kMaxUnderWay) return std::nullopt;
  const auto node = nodes_.find(std::get<std::string>(*turns_.begin()));
  now_ = node->second.start;
  event::IssueAsked asked = Take(node, node->second.calls.begin());
  const size_t cost = CostOf(asked);
  under_way_ += cost;
  Unlist(*node);
  node->second.start += cost;
  List(*node);
  return asked;
}

void IssueQueue::Done(size_t certificates) {
  under_way_ -= std::max<size_t>(certificates, 1);
  if (!idle()) return;
  // Nobody waits: all are equal again.
  nodes_.clear();
  now_ = 0;
}

absl::Duration IssueQueue::Backlog() const { return kEach * (certificates_ + under_way_); }

}  // namespace linchpin::ca
