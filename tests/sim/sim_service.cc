// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/sim_service.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "tests/sim/sim_node.h"

namespace linchpin::sim {
namespace {

constexpr uint64_t kBusyOneIn = 20;

}  // namespace

SimService::SimService(World& world, SimNode& node, std::string selector)
    : world_(world), node_(node), selector_(std::move(selector)) {}

void SimService::Start() {
  ++life_;
  core_ = std::make_unique<tls::SdkCore>(
      tls::CoreOptions{.seed = world_.random().Next(), .memo = &node_.memo()});
  Step(tls::event::Started{});
}

void SimService::Crash() {
  ++life_;
  core_.reset();
  stream_ = 0;
  in_force_.reset();
  reported_.reset();
  most_in_force_ = 0;
  live_.clear();
  made_at_.clear();
}

std::string SimService::process() const { return absl::StrCat(selector_, "#", life_); }

absl::Time SimService::clock() const { return node_.clock(); }

x509::PathMemo* SimService::memo() const { return &node_.memo(); }

void SimService::Receive(uint64_t stream, agent::v1::MtlsContexts message, ca::Revision made_at) {
  if (core_ == nullptr || stream != stream_) return;
  // A message without identities brings trust alone: the rules stay those of an earlier one.
  if (!message.identities().empty()) receiving_ = made_at;
  Step(tls::event::ContextsReceived{std::move(message)});
}

void SimService::StreamEnded(uint64_t stream) {
  if (core_ == nullptr || stream != stream_) return;
  stream_ = 0;
  Step(tls::event::StreamLost{absl::UnavailableError("the agent is gone")});
}

bool SimService::UsesItsStream() const {
  return stream_ != 0 && in_force_ && in_force_->contexts->consumer_id == absl::StrCat(stream_);
}

void SimService::Opened(tls::event::ConnectionOpened connection) {
  live_[connection.id] = connection;
  Step(std::move(connection));
}

void SimService::Closed(tls::ConnectionId id) {
  if (live_.erase(id) > 0) Step(tls::event::ConnectionClosed{id});
}

void SimService::Step(tls::Event event) {
  for (const tls::Action& action : core_->Step(clock(), event)) {
    std::visit([&](const auto& a) { Do(a); }, action);
    if (world_.broken()) return;
  }
}

void SimService::Later(absl::Duration most, std::function<void()> work) {
  world_.After(world_.UpTo(most), [this, life = life_, work = std::move(work)] {
    if (life == life_) work();
  });
}

void SimService::Do(const tls::action::OpenStream&) {
  Later(absl::Milliseconds(2), [this] {
    stream_ = node_.OpenConsumer(this);
    if (stream_ == 0) return Step(tls::event::StreamLost{absl::UnavailableError("no agent")});
    Step(tls::event::StreamOpened{});
  });
}

void SimService::Do(const tls::action::Swap& action) {
  made_at_[action.contexts->generation] = receiving_;
  // Handshakes go on with the old contexts until this has run, which may take a busy service long.
  const bool busy = world_.OneIn(kBusyOneIn);
  Later(busy ? absl::Seconds(20) : absl::Milliseconds(30), [this, contexts = action.contexts] {
    if (in_force_ && in_force_->contexts->generation >= contexts->generation) return;
    in_force_ = Swapped{contexts, made_at_[contexts->generation]};
    most_in_force_ = std::max(most_in_force_, in_force_->epoch());
    made_at_.erase(made_at_.begin(), made_at_.upper_bound(contexts->generation));
    Step(tls::event::Swapped{contexts->generation});
  });
}

void SimService::Do(const tls::action::Report& action) {
  Later(absl::Milliseconds(2),
        [this, request = action.request, said = in_force_ ? in_force_->contexts : nullptr] {
          const absl::Status status = node_.Reported(request);
          if (status.ok()) reported_ = said;
          // A newer context may be in force by now.
          if (status.ok() && most_in_force_ < request.trust_epoch()) {
            return world_.Broken("acknowledged after the swap",
                                 absl::StrCat(process(), " acknowledged epoch ",
                                              request.trust_epoch(), " before it was in force"));
          }
          Step(tls::event::ReportDone{status});
        });
}

void SimService::Do(const tls::action::CloseConnection& action) {
  // The other end sees the connection end as well.
  Later(absl::Milliseconds(1), [this, id = action.id] { node_.EndConnection(id); });
}

void SimService::Do(const tls::action::RefusedMessage& action) {
  world_.Broken("the agent's messages are well-formed", action.status.ToString());
}

void SimService::Do(const tls::action::NoIdentity&) {
  world_.Say(absl::StrCat(process(), ": no identity"));
}

void SimService::Do(const tls::action::SetTimer& action) {
  const absl::Duration wait = std::max(absl::ZeroDuration(), action.at - clock());
  world_.After(wait, [this, life = life_, timer = ++timer_] {
    if (life == life_ && timer == timer_) Step(tls::event::TimerFired{});
  });
}

}  // namespace linchpin::sim
