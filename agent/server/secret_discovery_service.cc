// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/secret_discovery_service.h"

#include <grpcpp/support/message_allocator.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/deliver/secret_stream.h"
#include "base/mutex.h"
#include "rpc/status.h"

namespace linchpin::agent {
namespace {

// One StreamSecrets or DeltaSecrets. Reads only while nothing is being written, so that a caller
// who does not read holds no more than that, and only while the core has taken what was told last,
// so that a caller cannot fill its queue.
template <typename Dialogue>
class SecretCall final
    : public grpc::ServerBidiReactor<typename Dialogue::Request, typename Dialogue::Response>,
      public ConsumerSink,
      public std::enable_shared_from_this<SecretCall<Dialogue>> {
 public:
  using Request = typename Dialogue::Request;
  using Response = typename Dialogue::Response;

  explicit SecretCall(const SecretDiscoveryService::Parts& parts) : parts_(parts) {}

  void Begin(const grpc::CallbackServerContext& context, const std::shared_ptr<SecretCall>& self) {
    self_ = self;
    // Until it is known what it carries it holds no trust.
    absl::StatusOr<ConsumerId> opened = parts_.streams.Open(context, {}, self);
    if (!opened.ok()) return End(opened.status());
    base::MutexLock lock(mutex_);
    id_ = *std::move(opened);
    dialogue_.emplace(id_, parts_.bundle);
    if (contexts_ != nullptr) dialogue_->Use(parts_.clock.Now(), std::move(contexts_));
    Next(lock);
  }

  void Send(std::shared_ptr<const v1::MtlsContexts> contexts) override {
    base::MutexLock lock(mutex_);
    if (!dialogue_.has_value()) {
      contexts_ = std::move(contexts);
      return;
    }
    if (finished_) return;
    dialogue_->Use(parts_.clock.Now(), std::move(contexts));
    TellNews();
    Next(lock);
  }
  bool SendsAtOnce() const override { return false; }
  void End(const absl::Status& status) override {
    base::MutexLock lock(mutex_);
    if (!end_.has_value()) end_ = status;
    Next(lock);
  }

 private:
  void OnReadDone(bool ok) override {
    base::MutexLock lock(mutex_);
    const std::unique_ptr<Request> request = std::move(request_);
    // One who says no more may still listen.
    if (!ok) {
      silent_ = true;
    } else if (!finished_) {
      const absl::Status taken = dialogue_->Take(*request);
      if (!taken.ok() && !end_.has_value()) end_ = taken;
      TellNews();
    }
    Next(lock);
  }
  void OnWriteDone(bool ok) override {
    base::MutexLock lock(mutex_);
    writing_ = nullptr;
    if (!ok && !end_.has_value()) end_ = absl::CancelledError("the reader has gone");
    Next(lock);
  }
  void OnCancel() override { End(absl::CancelledError("the reader has gone")); }
  void OnDone() override {
    const std::shared_ptr<SecretCall> self = std::move(self_);
    if (!id_.empty()) parts_.streams.Close(id_);
  }

  // Under the lock. One piece of news at a time: what changes meanwhile is told when it is taken.
  void TellNews() {
    if (const auto why = dialogue_->TakeRefusal()) parts_.refused(id_, *why);
    if (telling_ || end_.has_value()) return;
    ConsumerStreams::News news;
    std::string carries = dialogue_->Carries();
    if (carries != carries_) {
      news.holds = {carries.empty() ? ca::v1::NONE : ca::v1::ACCEPTED, carries};
      carries_ = std::move(carries);
    }
    if (auto accepted = dialogue_->TakeAccepted()) {
      news.accepted = {.trust_epoch = accepted->epoch, .trust_digest = std::move(accepted->digest)};
    }
    if (!news.holds.has_value() && !news.accepted.has_value()) return;
    telling_ = true;
    const absl::Status told =
        parts_.streams.Tell(id_, news, [self = this->shared_from_this()] { self->Told(); });
    if (!told.ok()) end_ = told;
  }
  void Told() {
    base::MutexLock lock(mutex_);
    telling_ = false;
    if (!finished_) TellNews();
    Next(lock);
  }

  void Next(base::MutexLock& lock) {
    if (writing_ != nullptr || finished_) return;
    if (end_.has_value()) {
      finished_ = true;
      const grpc::Status status = rpc::ToGrpc(*end_);
      lock.unlock();
      this->Finish(status);
      return;
    }
    if (!dialogue_.has_value()) return;
    writing_ = dialogue_->Next();
    if (writing_ != nullptr) {
      const Response* response = writing_.get();
      lock.unlock();
      this->StartWrite(response);
    } else if (request_ == nullptr && !silent_ && !telling_) {
      request_ = std::make_unique<Request>();
      Request* request = request_.get();
      lock.unlock();
      this->StartRead(request);
    }
  }

  const SecretDiscoveryService::Parts& parts_;
  std::shared_ptr<SecretCall> self_;  // until gRPC is done with it
  base::Mutex mutex_;
  ConsumerId id_;  // empty: was not opened
  std::optional<Dialogue> dialogue_;
  std::shared_ptr<const v1::MtlsContexts> contexts_;  // that came before the dialogue
  std::unique_ptr<Request> request_;                  // being read; made anew, for it may be large
  bool silent_ = false;                               // nothing more is read
  std::shared_ptr<const Response> writing_;
  std::string carries_;  // as the core was told last
  bool telling_ = false;
  std::optional<absl::Status> end_;
  bool finished_ = false;
};

// One FetchSecrets: the answer is that of a stream's first response.
class FetchCall final : public grpc::ServerUnaryReactor, public ConsumerSink {
 public:
  FetchCall(const SecretDiscoveryService::Parts& parts, const discovery::DiscoveryRequest& request,
            discovery::DiscoveryResponse* response)
      : parts_(parts), dialogue_("fetch", parts.bundle), response_(response) {
    asked_ = dialogue_.Take(request);
  }

  void Begin(const grpc::CallbackServerContext& context, const std::shared_ptr<FetchCall>& self) {
    self_ = self;
    if (!asked_.ok()) return End(asked_);
    absl::StatusOr<ConsumerId> opened = parts_.streams.Open(context, {}, self);
    if (!opened.ok()) return End(opened.status());
    id_ = *std::move(opened);
  }

  void Send(std::shared_ptr<const v1::MtlsContexts> contexts) override {
    {
      base::MutexLock lock(mutex_);
      if (finished_) return;
      dialogue_.Use(parts_.clock.Now(), contexts);
      if (const auto whole = dialogue_.Next()) {
        *response_ = *whole;
        response_->clear_nonce();
        if (dialogue_.HoldsTrust()) {
          trust_ = {.trust_epoch = contexts->trust_epoch(),
                    .trust_digest = contexts->trust_digest()};
        }
      } else {
        asked_ = contexts->identities().empty()
                     ? absl::PermissionDeniedError(absl::StrCat(
                           "no identity is registered for a process with the selectors ",
                           absl::StrJoin(contexts->selectors(), " ")))
                     : absl::NotFoundError("this process has none of the secrets asked for");
      }
    }
    End(asked_);
  }
  bool SendsAtOnce() const override { return false; }
  void End(const absl::Status& status) override {
    {
      base::MutexLock lock(mutex_);
      if (std::exchange(finished_, true)) return;
    }
    Finish(rpc::ToGrpc(status));
  }

 private:
  void OnCancel() override {
    cancelled_ = true;
    End(absl::CancelledError("the caller has gone"));
  }
  void OnDone() override {
    const std::shared_ptr<FetchCall> self = std::move(self_);
    if (id_.empty()) return;
    // Nobody hears what becomes of it: what went out whole is assumed to be in use.
    if (trust_.has_value() && !cancelled_) {
      (void)parts_.streams.Tell(
          id_, {.holds = {{ca::v1::DELIVERED, dialogue_.Carries()}}, .accepted = trust_}, nullptr);
    }
    parts_.streams.Close(id_);
  }

  const SecretDiscoveryService::Parts& parts_;
  WholeSecretStream dialogue_;
  discovery::DiscoveryResponse* const response_;
  absl::Status asked_;
  std::shared_ptr<FetchCall> self_;
  ConsumerId id_;  // of the handler, then of OnDone()
  std::atomic<bool> cancelled_ = false;
  base::Mutex mutex_;
  std::optional<ConsumerStreams::News::Delivery> trust_;  // in the answer
  bool finished_ = false;
};

// What gRPC holds a response of FetchSecrets in, so that it is wiped.
class FetchMessages final
    : public grpc::MessageHolder<discovery::DiscoveryRequest, discovery::DiscoveryResponse> {
 public:
  FetchMessages() {
    set_request(&asked_);
    set_response(&answer_);
  }
  void Release() override { delete this; }

 private:
  ~FetchMessages() override { Wipe(&answer_); }
  discovery::DiscoveryRequest asked_;
  discovery::DiscoveryResponse answer_;
};

class FetchAllocator final
    : public grpc::MessageAllocator<discovery::DiscoveryRequest, discovery::DiscoveryResponse> {
 public:
  grpc::MessageHolder<discovery::DiscoveryRequest, discovery::DiscoveryResponse>* AllocateMessages()
      override {
    return new FetchMessages();
  }
};

}  // namespace

SecretDiscoveryService::SecretDiscoveryService(Parts parts) : parts_(std::move(parts)) {
  static FetchAllocator& allocator = *new FetchAllocator();
  SetMessageAllocatorFor_FetchSecrets(&allocator);
}

grpc::ServerBidiReactor<discovery::DiscoveryRequest, discovery::DiscoveryResponse>*
SecretDiscoveryService::StreamSecrets(grpc::CallbackServerContext* context) {
  const auto call = std::make_shared<SecretCall<WholeSecretStream>>(parts_);
  call->Begin(*context, call);
  return call.get();
}

grpc::ServerBidiReactor<discovery::DeltaDiscoveryRequest, discovery::DeltaDiscoveryResponse>*
SecretDiscoveryService::DeltaSecrets(grpc::CallbackServerContext* context) {
  const auto call = std::make_shared<SecretCall<DeltaSecretStream>>(parts_);
  call->Begin(*context, call);
  return call.get();
}

grpc::ServerUnaryReactor* SecretDiscoveryService::FetchSecrets(
    grpc::CallbackServerContext* context, const discovery::DiscoveryRequest* request,
    discovery::DiscoveryResponse* response) {
  const auto call = std::make_shared<FetchCall>(parts_, *request, response);
  call->Begin(*context, call);
  return call.get();
}

}  // namespace linchpin::agent
