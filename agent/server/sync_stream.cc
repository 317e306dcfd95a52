// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/sync_stream.h"

#include <utility>
#include <vector>

#include "rpc/sent_chain.h"
#include "rpc/status.h"

namespace linchpin::agent {

std::shared_ptr<SyncStream> SyncStream::Start(std::shared_ptr<ca::v1::NodeService::Stub> stub,
                                              const action::OpenSync& open, PostThen post,
                                              Done done) {
  std::shared_ptr<SyncStream> stream(new SyncStream(std::move(stub), open.stream));
  stream->post_ = std::move(post);
  stream->done_ = std::move(done);
  stream->self_ = stream;
  stream->stub_->async()->Sync(&stream->context_, stream.get());
  ca::v1::NodeMessage hello;
  *hello.mutable_hello() = open.hello;
  stream->AddHold();  // for the writes that come later
  stream->Send(std::move(hello));
  stream->StartRead(&stream->reading_);
  stream->StartCall();
  return stream;
}

void SyncStream::Send(ca::v1::NodeMessage message) {
  base::MutexLock lock(mutex_);
  if (broken_) return;
  if (queue_.size() >= kMaxQueued) {
    context_.TryCancel();
    return;
  }
  queue_.push_back(std::move(message));
  if (queue_.size() == 1) StartWrite(&queue_.front());
}

void SyncStream::OnWriteDone(bool ok) {
  base::MutexLock lock(mutex_);
  queue_.pop_front();
  if (!ok || broken_) {
    queue_.clear();
    return;
  }
  if (!queue_.empty()) StartWrite(&queue_.front());
}

void SyncStream::Opened() {
  {
    base::MutexLock lock(mutex_);
    if (opened_) return;
  }
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
  // Two threads may come here. Whoever finds it opened may tell what was received: so the opening
  // is told before the lock is let go.
  base::MutexLock lock(mutex_);
  if (!std::exchange(opened_, true)) (void)post_(std::move(event), nullptr);
}

void SyncStream::OnReadInitialMetadataDone(bool ok) {
  if (ok) Opened();
}

void SyncStream::OnReadDone(bool ok) {
  if (!ok) {
    // The call is over: a write under way ends with it, and no other begins.
    base::MutexLock lock(mutex_);
    if (std::exchange(broken_, true)) return;
    lock.unlock();
    RemoveHold();
    return;
  }
  Opened();
  const absl::Status taken =
      post_(event::SyncReceived{stream_, reading_}, [stream = self_] { stream->ReadNext(); });
  if (taken.ok()) return;
  context_.TryCancel();  // the next stream's Hello asks for what is missing
  ReadNext();            // which tells of the end
}

void SyncStream::ReadNext() {
  base::MutexLock lock(mutex_);
  if (!broken_) StartRead(&reading_);
}

void SyncStream::OnDone(const grpc::Status& status) {
  (void)post_(event::SyncClosed{stream_, rpc::FromGrpc(status)}, nullptr);
  const Done done = std::move(done_);
  done(std::move(self_));
}

}  // namespace linchpin::agent
