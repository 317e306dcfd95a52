// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Actions that are not calls to the CA.

#include <algorithm>
#include <utility>

#include "agent/server/runtime.h"
#include "base/log.h"

namespace linchpin::agent {
namespace {

// The wall clock may be set while a timer runs by the other one: nobody waits longer in one piece.
constexpr absl::Duration kLongestWait = absl::Minutes(1);

base::Labels ToLabels(const std::vector<std::pair<std::string, std::string>>& labels) {
  return {labels.begin(), labels.end()};
}

}  // namespace

void Runtime::Do(const action::MakeNodeKey&) {
  Post(event::NodeKeyMade{x509::PrivateKey::Generate(x509::KeyType::kP256)});
}

void Runtime::Do(const action::Seal& action) {
  const absl::Status queued = worker_.loop.Post([this, action] {
    Post(event::Sealed{action.ticket, parts_.sealed.Save(*action.state)});
  });
  if (!queued.ok()) Post(event::Sealed{action.ticket, queued});
}

void Runtime::Do(const action::Deliver& action) {
  streams_->Deliver(action.consumer, action.contexts);
}

void Runtime::Do(const action::EndConsumer& action) {
  streams_->End(action.consumer, action.status);
}

void Runtime::Do(const action::SetTimer& action) {
  if (timer_.has_value()) loop_.Cancel(*timer_);
  const absl::Duration wait = std::min(action.at - parts_.clock.Now(), kLongestWait);
  timer_ = loop_.PostAfter(wait, [this] {
    timer_.reset();
    Step(event::TimerFired{});
  });
}

void Runtime::Do(const action::Alarm& action) {
  if (!action.text.empty()) base::LogWarning(action.text);
  if (!action.counter.empty()) metrics_.Add(action.counter, ToLabels(action.labels));
}

void Runtime::Do(const action::Note& action) {
  if (!action.text.empty()) base::LogInfo(action.text);
  if (!action.counter.empty()) metrics_.Add(action.counter, ToLabels(action.labels));
}

}  // namespace linchpin::agent
