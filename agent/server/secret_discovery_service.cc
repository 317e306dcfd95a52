// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/secret_discovery_service.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/deliver/secret_stream.h"
#include "base/mutex.h"
#include "envoy/service/discovery/v3/discovery.pb.h"

namespace linchpin::agent {
namespace {

// One StreamSecrets or DeltaSecrets. Reads only while nothing is being written, so that a caller
// who does not read holds no more than that, and only while the core has taken what was told last,
// so that a caller cannot fill its queue.
template <typename Dialogue>
class SecretCall final : public ConsumerSink,
                         public rpc::CallEvents,
                         public std::enable_shared_from_this<SecretCall<Dialogue>> {
 public:
  using Request = typename Dialogue::Request;
  using Response = typename Dialogue::Response;

  SecretCall(const SecretDiscoveryService::Parts& parts, rpc::CallPtr call)
      : parts_(parts), call_(std::move(call)) {}

  void Begin() {
    const auto self = this->shared_from_this();
    call_->Follow(self);
    // Until it is known what it carries it holds no trust.
    absl::StatusOr<ConsumerId> opened = parts_.streams.Open(call_->peer(), {}, self);
    if (!opened.ok()) return End(opened.status());
    base::MutexLock lock(mutex_);
    id_ = *std::move(opened);
    dialogue_.emplace(id_, parts_.bundle);
    if (contexts_ != nullptr) dialogue_->Use(parts_.clock.Now(), std::move(contexts_));
    Next();
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
    Next();
  }
  bool SendsAtOnce() const override { return false; }
  void End(const absl::Status& status) override {
    base::MutexLock lock(mutex_);
    if (!end_.has_value()) end_ = status;
    Next();
  }

 private:
  void OnMessage(absl::string_view message) override {
    Request request;
    const bool whole = request.ParseFromArray(message.data(), static_cast<int>(message.size()));
    base::MutexLock lock(mutex_);
    reading_ = false;
    if (finished_) return;
    const absl::Status taken =
        whole ? dialogue_->Take(request)
              : absl::InternalError("the request is no message of this method");
    if (!taken.ok() && !end_.has_value()) end_ = taken;
    TellNews();
    Next();
  }
  void OnSilence() override {
    base::MutexLock lock(mutex_);
    silent_ = true;
  }
  void OnWritten() override {
    base::MutexLock lock(mutex_);
    writing_ = false;
    Next();
  }
  void OnDone(bool) override {
    {
      base::MutexLock lock(mutex_);
      finished_ = true;
    }
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
    Next();
  }

  void Next() {
    if (writing_ || finished_) return;
    if (end_.has_value()) {
      finished_ = true;
      return call_->Finish(*end_);
    }
    if (!dialogue_.has_value()) return;
    if (const std::shared_ptr<const Response> response = dialogue_->Next()) {
      writing_ = true;
      call_->Write(response);
    } else if (!reading_ && !silent_ && !telling_) {
      reading_ = true;
      call_->Read();
    }
  }

  const SecretDiscoveryService::Parts& parts_;
  const rpc::CallPtr call_;
  base::Mutex mutex_;
  ConsumerId id_;  // empty: was not opened
  std::optional<Dialogue> dialogue_;
  std::shared_ptr<const v1::MtlsContexts> contexts_;  // that came before the dialogue
  bool reading_ = false;
  bool silent_ = false;  // one who says no more may still listen
  bool writing_ = false;
  std::string carries_;  // as the core was told last
  bool telling_ = false;
  std::optional<absl::Status> end_;
  bool finished_ = false;
};

// One FetchSecrets: the answer is that of a stream's first response.
class FetchCall final : public ConsumerSink, public rpc::CallEvents {
 public:
  FetchCall(const SecretDiscoveryService::Parts& parts, rpc::CallPtr call)
      : parts_(parts), call_(std::move(call)), dialogue_("fetch", parts.bundle) {}

  static void Begin(const std::shared_ptr<FetchCall>& self,
                    const discovery::DiscoveryRequest& request) {
    self->call_->Follow(self);
    const absl::Status asked = self->dialogue_.Take(request);
    if (!asked.ok()) return self->End(asked);
    absl::StatusOr<ConsumerId> opened = self->parts_.streams.Open(self->call_->peer(), {}, self);
    if (!opened.ok()) return self->End(opened.status());
    self->id_ = *std::move(opened);
  }

  void Send(std::shared_ptr<const v1::MtlsContexts> contexts) override {
    base::MutexLock lock(mutex_);
    if (std::exchange(finished_, true)) return;
    dialogue_.Use(parts_.clock.Now(), contexts);
    const std::shared_ptr<const discovery::DiscoveryResponse> whole = dialogue_.Next();
    if (whole == nullptr) {
      return call_->Finish(
          contexts->identities().empty()
              ? absl::PermissionDeniedError(
                    absl::StrCat("no identity is registered for a process with the selectors ",
                                 absl::StrJoin(contexts->selectors(), " ")))
              : absl::NotFoundError("this process has none of the secrets asked for"));
    }
    if (dialogue_.HoldsTrust()) {
      trust_ = {.trust_epoch = contexts->trust_epoch(), .trust_digest = contexts->trust_digest()};
    }
    call_->Write(WithoutNonce(*whole));
    call_->Finish(absl::OkStatus());
  }
  bool SendsAtOnce() const override { return false; }
  void End(const absl::Status& status) override {
    base::MutexLock lock(mutex_);
    if (!std::exchange(finished_, true)) call_->Finish(status);
  }

 private:
  // It holds a key: wiped when it goes.
  static std::shared_ptr<const discovery::DiscoveryResponse> WithoutNonce(
      const discovery::DiscoveryResponse& whole) {
    const std::shared_ptr<discovery::DiscoveryResponse> answer(
        new discovery::DiscoveryResponse(whole), [](discovery::DiscoveryResponse* gone) {
          Wipe(gone);
          delete gone;
        });
    answer->clear_nonce();
    return answer;
  }
  void OnDone(bool gave_up) override {
    std::optional<ConsumerStreams::News::Delivery> trust;
    {
      base::MutexLock lock(mutex_);
      finished_ = true;
      trust = trust_;
    }
    if (id_.empty()) return;
    // Nobody hears what becomes of it: what went out whole is assumed to be in use.
    if (trust.has_value() && !gave_up) {
      (void)parts_.streams.Tell(
          id_, {.holds = {{ca::v1::DELIVERED, dialogue_.Carries()}}, .accepted = trust}, nullptr);
    }
    parts_.streams.Close(id_);
  }

  const SecretDiscoveryService::Parts& parts_;
  const rpc::CallPtr call_;
  ConsumerId id_;  // of the server's thread; empty: was not opened
  base::Mutex mutex_;
  WholeSecretStream dialogue_;
  std::optional<ConsumerStreams::News::Delivery> trust_;  // in the answer
  bool finished_ = false;
};

std::string NameOf(absl::string_view method) {
  return absl::StrCat("/envoy.service.secret.v3.SecretDiscoveryService/", method);
}

}  // namespace

SecretDiscoveryService::SecretDiscoveryService(Parts parts) : parts_(std::move(parts)) {}

void SecretDiscoveryService::AddTo(rpc::LocalMethods& methods) {
  // An Envoy tells of itself and its extensions.
  const rpc::CallTerms long_ones{.most_bytes = rpc::CallTerms::kLong};
  const auto whole = [this](const rpc::CallPtr& call) {
    std::make_shared<SecretCall<WholeSecretStream>>(parts_, call)->Begin();
  };
  const auto delta = [this](const rpc::CallPtr& call) {
    std::make_shared<SecretCall<DeltaSecretStream>>(parts_, call)->Begin();
  };
  const auto fetch = [this](const rpc::CallPtr& call, const auto& request) {
    FetchCall::Begin(std::make_shared<FetchCall>(parts_, call), request);
  };
  methods.AddDialogue(NameOf("StreamSecrets"), whole, long_ones);
  methods.AddDialogue(NameOf("DeltaSecrets"), delta, long_ones);
  methods.Add<discovery::DiscoveryRequest>(NameOf("FetchSecrets"), fetch, long_ones);
}

}  // namespace linchpin::agent
