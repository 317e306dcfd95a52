// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/bench/load/fleet.h"

#include "absl/strings/str_cat.h"
#include "rpc/status.h"
#include "tests/bench/load/protocol.h"

namespace linchpin::bench {

std::unique_ptr<NodeStream> NodeStream::Open(const Node& node) {
  std::unique_ptr<NodeStream> stream(new NodeStream(node.stub));
  stream->held_.set_trust_epoch(node.trust_epoch);
  ca::v1::Hello* hello = stream->writing_.mutable_hello();
  hello->set_trust_epoch(node.trust_epoch);
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
  if (reading_.has_trust()) held_.set_trust_epoch(reading_.trust().epoch());
  if (reading_.complete()) held_.set_revision(reading_.revision());
  WriteNext();
  StartRead(&reading_);
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
  base::MutexLock lock(mutex_);
  const bool told = changed_.wait_for(lock, absl::ToChronoMilliseconds(most), [&] {
    return acknowledged_ >= revision || end_.has_value();
  });
  if (acknowledged_ >= revision) return absl::OkStatus();
  if (told) return absl::UnavailableError(absl::StrCat("a stream ended: ", end_->message()));
  return absl::DeadlineExceededError(
      absl::StrCat("a node holds revision ", acknowledged_, ", expected ", revision));
}

absl::Duration NodeStream::acknowledged_at() const {
  base::MutexLock lock(mutex_);
  return acknowledged_at_;
}

}  // namespace linchpin::bench
