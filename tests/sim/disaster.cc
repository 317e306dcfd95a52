// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/disaster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace linchpin::sim {
namespace {

constexpr size_t kCopies = 6;
constexpr absl::Duration kUntilSaid = absl::Minutes(3);
constexpr absl::Duration kBetweenTokens = absl::Seconds(4);
// The lives of certificates in these stories, and what clocks may differ.
constexpr absl::Duration kTaken = absl::Minutes(12);
constexpr absl::Duration kUnknown = absl::Minutes(14);

}  // namespace

void Disaster::MakeCopy() {
  if (!ca_.up() || ca_.lies() || untold_ || operator_.busy()) return;
  copies_.push_back({world_.now(), ca_.MakeCopy(), operator_.Remember()});
  if (copies_.size() > kCopies) copies_.pop_front();
}

bool Disaster::Strike(bool take_renewed_nodes) {
  if (!ca_.up() || ca_.lies() || untold_) return false;
  const auto copy = std::find_if(copies_.begin(), copies_.end(),
                                 [&](const Copy& one) { return ca_.MayPutBack(one.store); });
  if (copy == copies_.end()) return false;
  ca_.Crash();
  operator_.CaDied();
  world_.Say(absl::StrCat("the CA's disk is lost; there is a copy of ",
                          absl::FormatDuration(world_.now() - copy->made_at), " ago"));
  ca_.PutBack(copy->store);
  operator_.Recall(copy->answered);
  copies_.clear();  // of another past, some of them
  untold_ = true;
  ++count_;
  unknown_until_ = absl::InfiniteFuture();
  world_.After(world_.UpTo(kUntilSaid),
               [this, take_renewed_nodes] { Declare(take_renewed_nodes); });
  return true;
}

void Disaster::Declare(bool take_renewed_nodes) {
  if (!untold_) return;
  if (ca_.up() && !operator_.busy()) {
    operator_.DeclareRestored(take_renewed_nodes, [this, take_renewed_nodes] {
      untold_ = false;
      takes_until_ = take_renewed_nodes ? world_.now() + kTaken : absl::InfinitePast();
      unknown_until_ = world_.now() + kUnknown;
      if (std::exchange(hands_tokens_, true)) return;
      HandTokens();
    });
  }
  world_.After(absl::Seconds(3), [this, take_renewed_nodes] { Declare(take_renewed_nodes); });
}

void Disaster::DeclareAgain(std::function<void()> done) {
  if (!ca_.up() || operator_.busy()) return;
  operator_.DeclareRestored(false, [this, done = std::move(done)] {
    takes_until_ = absl::InfinitePast();
    done();
  });
}

bool Disaster::NeedsToken(const SimNode& node) const {
  if (!node.up() || node.core().connected()) return false;
  return world_.now() >= takes_until_ || node.has_expired();
}

bool Disaster::needs_time() const {
  return untold_ || std::any_of(nodes_.begin(), nodes_.end(),
                                [this](const auto& node) { return NeedsToken(*node); });
}

// To one after another, as long as somebody needs one.
void Disaster::HandTokens() {
  std::vector<SimNode*> need;
  for (const auto& node : nodes_) {
    if (NeedsToken(*node)) need.push_back(node.get());
  }
  const bool may_ask = ca_.up() && !ca_.lies() && !untold_ && !operator_.busy();
  if (!need.empty() && may_ask) {
    SimNode* node = need[world_.random().Below(need.size())];
    operator_.MakeToken(node->name(), [node](const std::string& token) { node->TakeToken(token); });
  }
  world_.After(kBetweenTokens, [this] { HandTokens(); });
}

}  // namespace linchpin::sim
