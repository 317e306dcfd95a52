// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/bench/load/fleet.h"

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "rpc/status.h"
#include "tests/bench/load/protocol.h"

namespace linchpin::bench {

std::unique_ptr<NodeStream> NodeStream::Open(const Node& node) {
  std::unique_ptr<NodeStream> stream(new NodeStream(node));
  stream->held_.set_trust_epoch(node.trust.message.epoch());
  stream->held_.set_trust_digest(node.trust.offered);
  ca::v1::Hello* hello = stream->writing_.mutable_hello();
  hello->set_trust_epoch(node.trust.message.epoch());
  hello->set_trust_digest(node.trust.offered);
  hello->set_agent_version("bench");
  stream->stub_->async()->Sync(&stream->context_, stream.get());
  stream->AddHold();  // for the writes that come later
  stream->writing_now_ = true;
  stream->StartWrite(&stream->writing_);
  stream->StartRead(&stream->reading_);
  stream->StartCall();
  return stream;
}

NodeStream::~NodeStream() {
  context_.TryCancel();
  base::MutexLock lock(mutex_);
  changed_.wait(lock, [this] { return end_.has_value(); });
}

void NodeStream::OnReadDone(bool ok) {
  base::MutexLock lock(mutex_);
  if (!ok) {
    broken_ = true;
    lock.unlock();
    return RemoveHold();
  }
  ++messages_;
  if (reading_.has_trust()) Accept(reading_.trust());
  if (reading_.complete()) held_.set_revision(reading_.revision());
  WriteNext();
  StartRead(&reading_);
}

void NodeStream::Accept(const trust::v1::TrustState& offered) {
  auto accepted = trust::AcceptTrust(
      trust_, offered, {.now = base::SystemClock().Now(), .incarnation = reading_.incarnation()});
  if (!accepted.ok()) {
    held_.set_refused(std::string(accepted.status().message()));
    return;
  }
  trust_ = *std::move(accepted);
  held_.clear_refused();
  held_.set_trust_epoch(trust_.message.epoch());
  held_.set_trust_digest(trust_.offered);
  held_.set_pin_set_version(trust_.cursor.version);
}

void NodeStream::WriteNext() {
  if (writing_now_ || broken_ || held_.revision() <= acknowledged_) return;
  writing_now_ = true;
  *writing_.mutable_ack() = held_;
  StartWrite(&writing_);
}

void NodeStream::OnWriteDone(bool ok) {
  base::MutexLock lock(mutex_);
  writing_now_ = false;
  if (!ok) return;
  if (writing_.has_ack()) {
    acknowledged_ = writing_.ack().revision();
    acknowledged_epoch_ = writing_.ack().trust_epoch();
    acknowledged_at_ = Uptime();
    changed_.notify_all();
  }
  WriteNext();
}

void NodeStream::OnDone(const grpc::Status& status) {
  base::MutexLock lock(mutex_);
  end_ = rpc::FromGrpc(status);
  changed_.notify_all();
}

absl::Status NodeStream::WaitAcknowledged(uint64_t revision, absl::Duration most) {
  return Wait(acknowledged_, revision, most);
}

absl::Status NodeStream::WaitHolds(uint64_t trust_epoch, absl::Duration most) {
  return Wait(acknowledged_epoch_, trust_epoch, most);
}

absl::Status NodeStream::Wait(const uint64_t& acknowledged, uint64_t wanted, absl::Duration most) {
  base::MutexLock lock(mutex_);
  const bool told = changed_.wait_for(lock, absl::ToChronoMilliseconds(most),
                                      [&] { return acknowledged >= wanted || end_.has_value(); });
  if (acknowledged >= wanted) return absl::OkStatus();
  if (told) return absl::UnavailableError(absl::StrCat("a stream ended: ", end_->message()));
  return absl::DeadlineExceededError(
      absl::StrCat("a node has acknowledged ", acknowledged, ", expected ", wanted,
                   held_.refused().empty() ? "" : "; it refuses: ", held_.refused()));
}

uint64_t NodeStream::messages() const {
  base::MutexLock lock(mutex_);
  return messages_;
}

trust::TrustHeld NodeStream::trust() const {
  base::MutexLock lock(mutex_);
  return trust_;
}

absl::Duration NodeStream::acknowledged_at() const {
  base::MutexLock lock(mutex_);
  return acknowledged_at_;
}

}  // namespace linchpin::bench
