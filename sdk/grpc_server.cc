// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <grpcpp/server_context.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "rpc/sent_chain.h"
#include "rpc/server_credentials.h"
#include "sdk/grpc_credentials.h"
#include "sdk/internal/call_guard.h"

namespace linchpin::tls {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerInterceptorFactoryInterface;
using grpc::experimental::ServerRpcInfo;

constexpr absl::Duration kAgeGrace = absl::Minutes(1);

class GuardedCall final : public Interceptor {
 public:
  GuardedCall(std::shared_ptr<CallGuard> guard, grpc::ServerContextBase* context)
      : guard_(std::move(guard)), context_(context) {}
  ~GuardedCall() override {
    if (id_) guard_->End(*id_);
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      Begin();
    }
    methods->Proceed();
  }

 private:
  void Begin() {
    grpc_call* const call = context_->c_call();
    if (id_ || call == nullptr) return;
    const auto chain = rpc::PeerChain(call, trust::Direction::kInbound);
    if (!chain.ok() || chain->empty()) return;  // let in without a certificate, or not let in
    id_ = guard_->Begin(call);
    guard_->Bind(*id_, *chain);
  }

  const std::shared_ptr<CallGuard> guard_;
  grpc::ServerContextBase* const context_;
  std::optional<CallId> id_;
};

class GuardFactory final : public ServerInterceptorFactoryInterface {
 public:
  explicit GuardFactory(std::shared_ptr<CallGuard> guard) : guard_(std::move(guard)) {}
  Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new GuardedCall(guard_, info->server_context());
  }

 private:
  const std::shared_ptr<CallGuard> guard_;
};

absl::Status CheckIdentity(const std::string& identity) {
  return identity.empty() ? absl::OkStatus() : trust::SpiffeId::Parse(identity).status();
}

// Counts each verdict for the agent, and puts refusals into the service's log.
rpc::JudgedCaller Recorder(std::weak_ptr<Runtime> weak) {
  return
      [weak = std::move(weak)](const trust::Verdict& verdict, const trust::MtlsContext& context) {
        const LentRuntime runtime(weak.lock());
        if (!runtime) return;
        runtime->Judged({.reason = verdict.reason(),
                         .self_id = context.id() ? context.id()->ToString() : "",
                         .peer_id = verdict.peer ? verdict.peer->ToString() : "",
                         .direction = trust::Direction::kInbound});
        if (verdict.allowed) return;
        runtime->NotifyRefused(trust::Direction::kInbound, ToPeerVerdict(verdict));
      };
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(
    const std::shared_ptr<ContextSource>& source, const TlsOptions& options) {
  RETURN_IF_ERROR(CheckIdentity(options.identity));
  const std::shared_ptr<Runtime> runtime = source->runtime();
  rpc::ServerPolicy policy;
  policy.judged = Recorder(runtime);
  // gRPC lets go of credentials when it sees fit, on a thread that must not wait for the source.
  rpc::CurrentContext current = [weak = std::weak_ptr<Runtime>(runtime),
                                 identity = options.identity] {
    const LentRuntime locked(weak.lock());
    const auto contexts = locked ? locked->Snapshot() : nullptr;
    return contexts == nullptr ? nullptr : contexts->Find(identity);
  };
  return rpc::JudgedServerCredentials(std::move(current), std::move(policy), runtime->clock());
}

absl::StatusOr<std::unique_ptr<ServerInterceptorFactoryInterface>> RunningCallGuard(
    const std::shared_ptr<ContextSource>& source, const TlsOptions& options) {
  RETURN_IF_ERROR(CheckIdentity(options.identity));
  return std::make_unique<GuardFactory>(std::make_shared<CallGuard>(
      CallGuard::Options{.runtime = LentRuntime(source->runtime()), .identity = options.identity}));
}

absl::Status AddListeningPort(grpc::ServerBuilder* builder, const std::string& address,
                              const std::shared_ptr<ContextSource>& source,
                              const TlsOptions& options, int* bound) {
  if (options.max_connection_age <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat("max_connection_age is ",
                                                   absl::FormatDuration(options.max_connection_age),
                                                   "; expected more than nothing"));
  }
  ASSIGN_OR_RETURN(auto credentials, ServerCredentials(source, options));
  std::vector<std::unique_ptr<ServerInterceptorFactoryInterface>> interceptors(1);
  ASSIGN_OR_RETURN(interceptors[0], RunningCallGuard(source, options));
  if (options.max_connection_age != absl::InfiniteDuration()) {
    const int64_t age = std::clamp<int64_t>(absl::ToInt64Milliseconds(options.max_connection_age),
                                            1, std::numeric_limits<int>::max());
    builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, static_cast<int>(age));
    builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                                static_cast<int>(absl::ToInt64Milliseconds(kAgeGrace)));
  }
  builder->AddListeningPort(address, std::move(credentials), bound);
  builder->experimental().SetInterceptorCreators(std::move(interceptors));
  return absl::OkStatus();
}

std::string CallerId(const grpc::ServerContextBase& context) {
  const std::optional<trust::SpiffeId> id = rpc::PeerId(context);
  return id ? id->ToString() : "";
}

}  // namespace linchpin::tls
