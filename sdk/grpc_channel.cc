// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_interceptor.h>

#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "rpc/channel.h"
#include "rpc/sent_chain.h"
#include "sdk/grpc_credentials.h"
#include "sdk/internal/call_guard.h"

namespace linchpin::tls {
namespace {

using grpc::experimental::ClientInterceptorFactoryInterface;
using grpc::experimental::ClientRpcInfo;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;

class GuardedCall final : public Interceptor {
 public:
  GuardedCall(std::shared_ptr<CallGuard> guard, grpc::ClientContext* context)
      : guard_(std::move(guard)), context_(context) {}
  ~GuardedCall() override {
    if (id_) guard_->End(*id_);
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      if (!id_ && context_->c_call() != nullptr) id_ = guard_->Begin(context_->c_call());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      Bind();
    }
    methods->Proceed();
  }

 private:
  void Bind() {
    if (!id_) return;
    const auto chain = rpc::PeerChain(context_->c_call(), trust::Direction::kOutbound);
    if (chain.ok() && !chain->empty()) guard_->Bind(*id_, *chain);
  }

  const std::shared_ptr<CallGuard> guard_;
  grpc::ClientContext* const context_;
  std::optional<CallId> id_;
};

class GuardFactory final : public ClientInterceptorFactoryInterface {
 public:
  explicit GuardFactory(std::shared_ptr<CallGuard> guard) : guard_(std::move(guard)) {}
  Interceptor* CreateClientInterceptor(ClientRpcInfo* info) override {
    return new GuardedCall(guard_, info->client_context());
  }

 private:
  const std::shared_ptr<CallGuard> guard_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<ChannelFactory>> ChannelFactory::Make(
    const std::shared_ptr<ContextSource>& source, Options options) {
  if (!options.identity.empty()) {
    RETURN_IF_ERROR(trust::SpiffeId::Parse(options.identity).status());
  }
  if (options.most_channels == 0) {
    return absl::InvalidArgumentError("most_channels is 0; expected at least 1");
  }
  return std::shared_ptr<ChannelFactory>(new ChannelFactory(source, std::move(options)));
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ChannelFactory::Channel(
    const std::string& address, const std::string& expected_id) {
  const std::shared_ptr<Runtime>& runtime = source_->runtime();
  const auto contexts = runtime->Snapshot();
  const auto context = contexts == nullptr ? nullptr : contexts->Find(options_.identity);
  if (context == nullptr || !context->has_certificate()) {
    return absl::UnavailableError(
        absl::StrCat("NO_CONTEXT: the agent has delivered no identity ", options_.identity));
  }
  if (context->expires_at() <= runtime->Now()) {
    return absl::UnavailableError(absl::StrCat(
        "NO_CONTEXT: our own certificate ", context->id()->ToString(), " expired at ",
        absl::FormatTime(absl::RFC3339_sec, context->expires_at(), absl::UTCTimeZone()),
        " and the agent has delivered no newer one"));
  }
  const Key key(address, expected_id);
  std::vector<std::shared_ptr<grpc::Channel>> dropped;  // let go of outside the mutex
  base::MutexLock lock(mutex_);
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    Entry& entry = *found->second;
    if (entry.context_digest != context->context_digest()) {
      ASSIGN_OR_RETURN(auto channel, Connect(key, context));
      dropped.push_back(std::exchange(entry.channel, std::move(channel)));
      entry.context_digest = context->context_digest();
    }
    entries_.splice(entries_.begin(), entries_, found->second);
    return entry.channel;
  }
  ASSIGN_OR_RETURN(auto channel, Connect(key, context));
  entries_.push_front({key, context->context_digest(), channel});
  by_key_[key] = entries_.begin();
  while (entries_.size() > options_.most_channels) {
    dropped.push_back(std::move(entries_.back().channel));
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return channel;
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ChannelFactory::Connect(
    const Key& key, std::shared_ptr<const trust::MtlsContext> context) const {
  const auto& [address, expected_id] = key;
  RETURN_IF_ERROR(rpc::CheckAddress(address));
  ASSIGN_OR_RETURN(trust::SpiffeId id, trust::SpiffeId::Parse(expected_id));
  auto guard = std::make_shared<CallGuard>(
      CallGuard::Options{LentRuntime(source_->runtime()), options_.identity,
                         trust::Direction::kOutbound, trust::Expect::Id(std::move(id))});
  rpc::ChannelParts parts;
  parts.address = address;
  parts.shown = std::move(context);
  parts.check = guard->Meeter();
  parts.adjust = [this](grpc::ChannelArguments* arguments) {
    // The first of a name counts. Whether a quiet connection may be pinged is for the server to
    // say.
    if (options_.adjust != nullptr) options_.adjust(arguments);
    arguments->SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, std::numeric_limits<int>::max());
  };
  parts.interceptors.push_back(std::make_unique<GuardFactory>(std::move(guard)));
  return rpc::CheckedChannel(std::move(parts));
}

}  // namespace linchpin::tls
