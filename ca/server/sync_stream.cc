// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/sync_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "rpc/status.h"

namespace linchpin::ca {

SyncStream* SyncStream::Make(CoreDriver& driver, NodeCaller node) {
  std::shared_ptr<SyncStream> stream(new SyncStream(driver, std::move(node)));
  stream->self_ = stream;
  stream->StartRead(&stream->incoming_);
  return stream.get();
}

SyncStream* SyncStream::Refuse(CoreDriver& driver, const absl::Status& status) {
  std::shared_ptr<SyncStream> stream(new SyncStream(driver, {}));
  stream->self_ = stream;
  stream->Close(status);
  return stream.get();
}

void SyncStream::OnReadDone(bool ok) {
  if (!ok) return Close(absl::OkStatus());  // the node has said all that it wants to say
  std::shared_ptr<SyncStream> hold = self_;
  base::Work next = [hold] { hold->ReadNext(); };
  if (!session_.has_value()) {
    if (!incoming_.has_hello()) {
      return Close(absl::InvalidArgumentError("the first message of Sync must be Hello"));
    }
    session_ = driver_.NewSession();
    return driver_.OpenSession(hold, {*session_, node_, std::move(*incoming_.mutable_hello())},
                               std::move(next));
  }
  if (incoming_.has_ack()) {
    driver_.Tell(event::NodeAck{*session_, std::move(*incoming_.mutable_ack())}, std::move(next));
  } else if (incoming_.has_verdicts()) {
    driver_.Tell(event::NodeVerdicts{*session_, std::move(*incoming_.mutable_verdicts())},
                 std::move(next));
  } else {
    Close(absl::InvalidArgumentError("after Hello, Ack or VerdictReport is expected"));
  }
}

void SyncStream::ReadNext() {
  base::MutexLock lock(mutex_);
  if (!finished_) StartRead(&incoming_);
}

void SyncStream::Send(std::shared_ptr<const v1::CaMessage> message) {
  base::MutexLock lock(mutex_);
  if (finished_ || ending_.has_value()) return;
  if (queue_.size() >= kMaxQueued) {
    ending_ = absl::ResourceExhaustedError(
        absl::StrCat("the node did not read ", kMaxQueued, " messages; connect again"));
    queue_.resize(1);
    return;
  }
  queue_.push_back(std::move(message));
  if (queue_.size() == 1) WriteNext();
}

void SyncStream::WriteNext() {
  if (finished_) return;
  if (!queue_.empty()) return StartWrite(queue_.front().get());
  if (!ending_.has_value()) return;
  finished_ = true;
  Finish(rpc::ToGrpc(*ending_));
}

void SyncStream::OnWriteDone(bool ok) {
  base::MutexLock lock(mutex_);
  queue_.pop_front();
  if (!ok) {
    queue_.clear();
    if (!ending_.has_value()) ending_ = absl::CancelledError("the node is gone");
  }
  WriteNext();
}

void SyncStream::Close(const absl::Status& status) {
  base::MutexLock lock(mutex_);
  if (finished_ || ending_.has_value()) return;
  ending_ = status;
  if (queue_.empty()) WriteNext();
}

void SyncStream::OnCancel() { Close(absl::CancelledError("the node is gone")); }

void SyncStream::OnDone() {
  if (session_.has_value()) driver_.SessionGone(*session_);
  const std::shared_ptr<SyncStream> last = std::move(self_);
}

}  // namespace linchpin::ca
