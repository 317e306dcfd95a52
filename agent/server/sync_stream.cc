// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/sync_stream.h"

#include "rpc/sent_chain.h"
#include "rpc/status.h"

namespace linchpin::agent {

rpc::CallQueue::Told SyncStream::Then(void (SyncStream::*told)(bool ok)) {
  return [this, told](bool ok) { (this->*told)(ok); };
}

std::shared_ptr<SyncStream> SyncStream::Start(Parts parts, const action::OpenSync& open) {
  std::shared_ptr<SyncStream> stream(new SyncStream(std::move(parts), open.stream));
  stream->self_ = stream;
  ca::v1::NodeMessage hello;
  *hello.mutable_hello() = open.hello;
  stream->Send(std::move(hello));
  stream->call_ =
      stream->parts_.stub->PrepareAsyncSync(&stream->context_, stream->parts_.queue.get());
  stream->call_->StartCall(&stream->on_started_);
  return stream;
}

void SyncStream::OnStarted(bool ok) {
  if (!ok) return Break();
  base::MutexLock lock(mutex_);
  started_ = true;
  call_->ReadInitialMetadata(&on_opened_);
  WriteNext();
}

void SyncStream::Send(ca::v1::NodeMessage message) {
  base::MutexLock lock(mutex_);
  if (broken_) return;
  if (queue_.size() >= kMaxQueued) {
    context_.TryCancel();
    return;
  }
  queue_.push_back(std::move(message));
  if (started_ && !writing_) WriteNext();
}

void SyncStream::WriteNext() {
  writing_ = !queue_.empty();
  if (writing_) call_->Write(queue_.front(), &on_written_);
}

void SyncStream::OnWritten(bool ok) {
  base::MutexLock lock(mutex_);
  queue_.pop_front();
  if (!ok || broken_) queue_.clear();
  WriteNext();
  if (broken_) call_->Finish(&status_, &on_end_);
}

void SyncStream::OnOpened(bool ok) {
  if (!ok) return Break();
  TellOpened();
  ReadNext();
}

void SyncStream::TellOpened() {
  event::SyncOpened event{.stream = stream_};
  const auto authentication = context_.auth_context();
  if (authentication != nullptr) {
    auto sent = authentication->FindPropertyValues("x509_pem_cert_chain");
    if (sent.empty()) sent = authentication->FindPropertyValues("x509_pem_cert");
    if (!sent.empty()) {
      const absl::string_view pem(sent[0].data(), sent[0].size());
      if (!rpc::AppendSentChain(pem, &event.ca_chain).ok()) event.ca_chain.clear();
    }
  }
  (void)parts_.post(std::move(event), nullptr);
}

void SyncStream::ReadNext() { call_->Read(&reading_, &on_read_); }

void SyncStream::OnRead(bool ok) {
  if (!ok) return Break();
  const absl::Status taken =
      parts_.post(event::SyncReceived{stream_, reading_}, [stream = self_] { stream->ReadNext(); });
  if (taken.ok()) return;
  context_.TryCancel();  // the next stream's Hello asks for what is missing
  ReadNext();            // which tells of the end
}

// The call is over: a write under way ends with it, and no other begins.
void SyncStream::Break() {
  base::MutexLock lock(mutex_);
  broken_ = true;
  if (!writing_) call_->Finish(&status_, &on_end_);
}

void SyncStream::OnEnd(bool) {
  (void)parts_.post(event::SyncClosed{stream_, rpc::FromGrpc(status_)}, nullptr);
  const std::shared_ptr<SyncStream> last = std::move(self_);
  last->parts_.done();
}

}  // namespace linchpin::agent
