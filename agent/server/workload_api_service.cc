// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/workload_api_service.h"

#include <memory>
#include <utility>

#include "agent/deliver/workload_messages.h"
#include "agent/server/newest_writer.h"
#include "rpc/status.h"

namespace linchpin::agent {
namespace {

constexpr char kHeader[] = "workload.spiffe.io";
constexpr char kHeaderValue[] = "true";

absl::Status CheckHeader(const grpc::CallbackServerContext& context) {
  const auto [first, last] = context.client_metadata().equal_range(kHeader);
  if (first != last && std::next(first) == last && first->second == kHeaderValue) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "the call lacks the security header: send workload.spiffe.io: true, once, with each call");
}

absl::Status NoJwt() {
  return absl::UnimplementedError(
      "this agent gives out no JWT-SVIDs: use FetchX509SVID and FetchX509Bundles");
}

template <typename Response>
class FetchCall final : public NewestWriter<Response>, public ConsumerSink {
 public:
  FetchCall(ConsumerStreams& streams, const base::Clock& clock, WorkloadStream<Response> stream)
      : streams_(streams), clock_(clock), stream_(std::move(stream)) {}

  void Begin(const grpc::CallbackServerContext& context, const std::shared_ptr<FetchCall>& self) {
    this->Keep(self);
    const absl::Status header = CheckHeader(context);
    if (!header.ok()) return this->Close(header);
    absl::StatusOr<ConsumerId> opened =
        streams_.Open(context, {ca::v1::DELIVERED, Response::descriptor()->name()}, self);
    if (!opened.ok()) return this->Close(opened.status());
    id_ = *std::move(opened);
  }
  // One at a time.
  void Send(std::shared_ptr<const v1::MtlsContexts> contexts) override {
    absl::StatusOr<std::shared_ptr<const Response>> message = stream_.Next(*contexts, clock_.Now());
    if (!message.ok()) return this->Close(message.status());
    if (*message != nullptr) this->Write(*std::move(message));
  }
  void End(const absl::Status& status) override { this->Close(status); }

 private:
  void Done() override {
    if (!id_.empty()) streams_.Close(id_);
  }

  ConsumerStreams& streams_;
  const base::Clock& clock_;
  WorkloadStream<Response> stream_;
  ConsumerId id_;  // empty: was not opened
};

// A stream that ends at once.
template <typename Response>
class Refusal final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit Refusal(const absl::Status& status) { this->Finish(rpc::ToGrpc(status)); }
  void OnDone() override { delete this; }
};

grpc::ServerUnaryReactor* RefuseJwt(grpc::CallbackServerContext* context) {
  const absl::Status header = CheckHeader(*context);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(header.ok() ? NoJwt() : header));
  return reactor;
}

}  // namespace

WorkloadApiService::WorkloadApiService(ConsumerStreams& streams, const base::Clock& clock,
                                       Options options)
    : streams_(streams), clock_(clock), options_(std::move(options)) {}

template <typename Response>
grpc::ServerWriteReactor<Response>* WorkloadApiService::Fetch(
    const grpc::CallbackServerContext& context) {
  const auto call = std::make_shared<FetchCall<Response>>(
      streams_, clock_, WorkloadStream<Response>(options_.trust_domain, options_.bundle));
  call->Begin(context, call);
  return call.get();
}

grpc::ServerWriteReactor<X509SVIDResponse>* WorkloadApiService::FetchX509SVID(
    grpc::CallbackServerContext* context, const X509SVIDRequest*) {
  return Fetch<X509SVIDResponse>(*context);
}

grpc::ServerWriteReactor<X509BundlesResponse>* WorkloadApiService::FetchX509Bundles(
    grpc::CallbackServerContext* context, const X509BundlesRequest*) {
  return Fetch<X509BundlesResponse>(*context);
}

grpc::ServerUnaryReactor* WorkloadApiService::FetchJWTSVID(grpc::CallbackServerContext* context,
                                                           const JWTSVIDRequest*,
                                                           JWTSVIDResponse*) {
  return RefuseJwt(context);
}

grpc::ServerWriteReactor<JWTBundlesResponse>* WorkloadApiService::FetchJWTBundles(
    grpc::CallbackServerContext* context, const JWTBundlesRequest*) {
  const absl::Status header = CheckHeader(*context);
  return new Refusal<JWTBundlesResponse>(header.ok() ? NoJwt() : header);
}

grpc::ServerUnaryReactor* WorkloadApiService::ValidateJWTSVID(grpc::CallbackServerContext* context,
                                                              const ValidateJWTSVIDRequest*,
                                                              ValidateJWTSVIDResponse*) {
  return RefuseJwt(context);
}

}  // namespace linchpin::agent
