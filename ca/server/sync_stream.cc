// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/sync_stream.h"

#include <grpcpp/server_context.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "rpc/status.h"

namespace linchpin::ca {

SyncStream* SyncStream::Make(CoreDriver& driver, grpc::CallbackServerContext* context,
                             NodeCaller node) {
  std::shared_ptr<SyncStream> stream(new SyncStream(driver, context, std::move(node)));
  stream->self_ = stream;
  stream->StartRead(&stream->incoming_);
  return stream.get();
}

SyncStream* SyncStream::Refuse(CoreDriver& driver, grpc::CallbackServerContext* context,
                               const absl::Status& status) {
  std::shared_ptr<SyncStream> stream(new SyncStream(driver, context, {}));
  stream->self_ = stream;
  stream->Close(status);
  return stream.get();
}

void SyncStream::OnReadDone(bool ok) {
  // gRPC does not tell the one from the other.
  if (!ok) {
    return Close(absl::CancelledError(
        "the node ended its side of the stream, or sent what is no NodeMessage"));
  }
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
  const size_t bytes = message->ByteSizeLong();
  if (queue_.size() >= kMaxQueued || queued_bytes_ + bytes > kMaxQueuedBytes) {
    base::LogWarning("a node does not read; its stream is cut off", {{"node", node_.node_id}});
    End(absl::ResourceExhaustedError(
            absl::StrCat("the node did not read ", queue_.size(), " messages; connect again")),
        0);
    return CutOff();
  }
  queued_bytes_ += bytes;
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
  queued_bytes_ -= queue_.front()->ByteSizeLong();
  queue_.pop_front();
  if (!ok) {
    queue_.clear();
    if (!ending_.has_value()) ending_ = absl::CancelledError("the node is gone");
  }
  WriteNext();
}

// Nothing is queued from now on. Of what is, the one that is being written stays and the last
// `most_words`: a change of which a part is missing is refused by the node, and asked for again.
void SyncStream::End(const absl::Status& status, size_t most_words) {
  ending_ = status;
  if (queue_.size() > most_words + 1) {
    queue_.erase(queue_.begin() + 1, queue_.end() - static_cast<ptrdiff_t>(most_words));
  }
}

// Ends a write that waits for the node.
void SyncStream::CutOff() {
  if (!done_ && !queue_.empty()) context_->TryCancel();
}

void SyncStream::Close(const absl::Status& status, bool at_once) {
  base::MutexLock lock(mutex_);
  if (finished_ || ending_.has_value()) return;
  End(status, at_once ? 0 : kMaxLastWords);
  if (queue_.empty()) return WriteNext();
  if (at_once) return CutOff();
  std::weak_ptr<SyncStream> self = self_;
  driver_.RunSlowlyAfter(kLastWords, [self] {
    const std::shared_ptr<SyncStream> stream = self.lock();
    if (stream == nullptr) return;
    base::MutexLock then(stream->mutex_);
    stream->CutOff();
  });
}

void SyncStream::OnCancel() { Close(absl::CancelledError("the node is gone")); }

void SyncStream::OnDone() {
  if (session_.has_value()) driver_.SessionGone(*session_);
  std::shared_ptr<SyncStream> last;
  base::MutexLock lock(mutex_);
  done_ = true;
  last = std::move(self_);
  lock.unlock();
}

}  // namespace linchpin::ca
