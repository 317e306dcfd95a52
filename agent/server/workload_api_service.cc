// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/workload_api_service.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/deliver/workload_messages.h"
#include "spiffe/workloadapi.pb.h"

namespace linchpin::agent {
namespace {

constexpr char kHeader[] = "workload.spiffe.io";
constexpr char kHeaderValue[] = "true";

absl::Status CheckHeader(const rpc::LocalCall& call) {
  const std::vector<absl::string_view> values = call.ValuesOf(kHeader);
  if (values.size() == 1 && values[0] == kHeaderValue) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the call lacks the security header: send workload.spiffe.io: true, once, with each call");
}

absl::Status NoJwt() {
  return absl::UnimplementedError(
      "this agent gives out no JWT-SVIDs: use FetchX509SVID and FetchX509Bundles");
}

std::string NameOf(absl::string_view method) { return absl::StrCat("/SpiffeWorkloadAPI/", method); }

template <typename Response>
class FetchCall final : public ConsumerSink, public rpc::CallEvents {
 public:
  FetchCall(ConsumerStreams& streams, const base::Clock& clock, WorkloadStream<Response> stream,
            rpc::CallPtr call)
      : streams_(streams), clock_(clock), stream_(std::move(stream)), call_(std::move(call)) {}

  static void Begin(const std::shared_ptr<FetchCall>& self) {
    self->call_->Follow(self);
    absl::StatusOr<ConsumerId> opened = self->streams_.Open(
        self->call_->peer(), {ca::v1::DELIVERED, Response::descriptor()->name()}, self);
    if (!opened.ok()) return self->End(opened.status());
    self->id_ = *std::move(opened);
  }
  // One at a time.
  void Send(std::shared_ptr<const v1::MtlsContexts> contexts) override {
    absl::StatusOr<std::shared_ptr<const Response>> message = stream_.Next(*contexts, clock_.Now());
    if (!message.ok()) return End(message.status());
    if (*message != nullptr) call_->Write(*std::move(message));
  }
  void End(const absl::Status& status) override { call_->Finish(status); }

 private:
  void OnDone(bool) override {
    if (!id_.empty()) streams_.Close(id_);
  }

  ConsumerStreams& streams_;
  const base::Clock& clock_;
  WorkloadStream<Response> stream_;
  const rpc::CallPtr call_;
  ConsumerId id_;  // of the server's thread; empty: was not opened
};

template <typename Request>
void AddRefused(const std::string& method, rpc::LocalMethods& methods) {
  methods.Add<Request>(NameOf(method),
                       [](const rpc::CallPtr& call, const Request&) { call->Finish(NoJwt()); },
                       {.admit = CheckHeader});
}

}  // namespace

WorkloadApiService::WorkloadApiService(ConsumerStreams& streams, const base::Clock& clock,
                                       Options options)
    : streams_(streams), clock_(clock), options_(std::move(options)) {}

template <typename Request, typename Response>
void WorkloadApiService::AddFetch(const std::string& method, rpc::LocalMethods& methods) {
  const auto fetch = [this](const rpc::CallPtr& call, const Request&) {
    FetchCall<Response>::Begin(std::make_shared<FetchCall<Response>>(
        streams_, clock_, WorkloadStream<Response>(options_.trust_domain, options_.bundle), call));
  };
  methods.Add<Request>(NameOf(method), fetch, {.admit = CheckHeader});
}

void WorkloadApiService::AddTo(rpc::LocalMethods& methods) {
  AddFetch<X509SVIDRequest, X509SVIDResponse>("FetchX509SVID", methods);
  AddFetch<X509BundlesRequest, X509BundlesResponse>("FetchX509Bundles", methods);
  AddRefused<JWTSVIDRequest>("FetchJWTSVID", methods);
  AddRefused<JWTBundlesRequest>("FetchJWTBundles", methods);
  AddRefused<ValidateJWTSVIDRequest>("ValidateJWTSVID", methods);
}

}  // namespace linchpin::agent
