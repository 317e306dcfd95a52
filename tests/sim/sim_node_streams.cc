// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/sim/sim_node.h"

namespace linchpin::sim {

void SimNode::Arrive(agent::Ticket stream, agent::Event event) {
  last_arrival_ = std::max(last_arrival_, world_.now() + world_.UpTo(absl::Milliseconds(20)));
  world_.After(last_arrival_ - world_.now(),
               [this, life = life_, stream, event = std::move(event)] {
                 if (life != life_ || stream != stream_) return;
                 const auto* received = std::get_if<agent::event::SyncReceived>(&event);
                 if (received != nullptr) witness_.Heard(received->message.ca_time());
                 Step(event);
               });
}

void SimNode::StreamBroke(agent::Ticket stream, const absl::Status& status) {
  Later(absl::Milliseconds(1), [this, stream, status] {
    if (stream != stream_) return;
    stream_ = 0;
    session_ = 0;
    Step(agent::event::SyncClosed{stream, status});
  });
}

void SimNode::Do(const agent::action::OpenSync& action) {
  stream_ = action.stream;
  Later(absl::Milliseconds(20), [this, action] {
    if (stream_ != action.stream) return;
    const absl::Status connected =
        context() == nullptr ? absl::UnavailableError("no identity") : Handshake(*context());
    if (!connected.ok()) return StreamBroke(action.stream, connected);
    Arrive(action.stream, agent::event::SyncOpened{action.stream, ca_.shown()});
    auto push = [this, life = life_, stream = action.stream, ended = std::make_shared<bool>(false)](
                    std::shared_ptr<const ca::v1::CaMessage> message) {
      if (*ended || life != life_ || stream != stream_ || partitioned_) return;
      // A stream loses nothing in its middle: it ends.
      *ended = faulty_ && world_.OneIn(100);
      if (!*ended) return Arrive(stream, agent::event::SyncReceived{stream, *message});
      Later(absl::ZeroDuration(), [this, stream] {
        if (stream != stream_) return;
        if (session_ != 0) ca_.Leave(std::exchange(session_, 0));
        StreamBroke(stream, absl::UnavailableError("connection reset"));
      });
    };
    auto closed = [this, life = life_, stream = action.stream](absl::Status status) {
      if (life == life_) StreamBroke(stream, status);
    };
    session_ = ca_.OpenSession(Caller(), action.hello, {push, closed});
  });
}

void SimNode::Do(const agent::action::CloseSync& action) {
  if (session_ != 0) ca_.Leave(std::exchange(session_, 0));
  StreamBroke(action.stream, absl::CancelledError("closed by the agent"));
}

// Epochs go back only where the CA says that its store begins another life.
void SimNode::FollowIncarnation() {
  const auto& trust = core_->model().trust;
  if (trust == nullptr || trust->incarnation == incarnation_) return;
  incarnation_ = trust->incarnation;
  acknowledged_epoch_ = 0;
}

void SimNode::Do(const agent::action::SendAck& action) {
  const uint64_t epoch = action.ack.trust_epoch();
  // Until what another life of the CA's store says is in use, what was sealed before is named, with
  // its digest: by that the CA knows that it is not its own.
  if (most_sealed_ < epoch) {
    world_.Broken("what is acknowledged is sealed",
                  absl::StrCat(name(), " acknowledged epoch ", epoch, ", sealed ", most_sealed_));
  }
  FollowIncarnation();
  const bool of_this_life = disk_.has_value() && disk_->trust_incarnation() == incarnation_;
  if (of_this_life && epoch <= sealed_epoch()) {
    acknowledged_epoch_ = std::max(acknowledged_epoch_, epoch);
  }
  const int copies = faulty_ && world_.OneIn(20) ? 2 : 1;
  // A stream keeps the order of what it carries.
  last_ack_ = std::max(last_ack_, world_.now() + world_.UpTo(absl::Milliseconds(20)));
  for (int i = 0; i < copies; ++i) {
    world_.After(last_ack_ - world_.now(),
                 [this, life = life_, session = session_, ack = action.ack] {
                   if (life != life_) return;
                   if (session != 0 && session == session_)
                     ca_.Tell(ca::event::NodeAck{session, ack});
                 });
  }
}

void SimNode::Do(const agent::action::SendVerdicts& action) {
  Later(absl::Milliseconds(20), [this, session = session_, report = action.report] {
    if (session != 0 && session == session_) ca_.Tell(ca::event::NodeVerdicts{session, report});
  });
}

void SimNode::Do(const agent::action::Deliver& action) {
  auto consumer = consumers_.find(action.consumer);
  if (consumer == consumers_.end()) return;
  FollowIncarnation();
  if (action.contexts->identities_size() > 0 &&
      action.contexts->trust_epoch() < acknowledged_epoch_) {
    world_.Broken("a holder of an epoch delivers nothing older",
                  absl::StrCat(name(), " holds ", acknowledged_epoch_, " and delivered ",
                               action.contexts->trust_epoch()));
  }
  // Latest only, as the adaptor does: an older one that still waits arrives before it.
  Later(absl::ZeroDuration(), [this, service = consumer->second, id = action.consumer,
                               contexts = action.contexts, made_at = core_->model().revision] {
    if (consumers_.contains(id)) service->Receive(std::stoull(id), *contexts, made_at);
  });
}

void SimNode::Do(const agent::action::SetTimer& action) {
  const absl::Duration wait = std::max(absl::ZeroDuration(), action.at - clock());
  world_.After(wait, [this, life = life_, timer = ++timer_] {
    if (life == life_ && timer == timer_) Step(agent::event::TimerFired{});
  });
}

void SimNode::Do(const agent::action::Alarm& action) {
  world_.Say(absl::StrCat(name(), ": ", action.text));
}

void SimNode::Do(const agent::action::EndConsumer& action) {
  Later(absl::Milliseconds(1), [this, id = action.consumer] {
    const auto consumer = consumers_.extract(id);
    if (consumer.empty()) return;
    Step(agent::event::ConsumerClosed{id});
    consumer.mapped()->StreamEnded(std::stoull(id));
  });
}

void SimNode::Do(const agent::action::Note&) {}

}  // namespace linchpin::sim
