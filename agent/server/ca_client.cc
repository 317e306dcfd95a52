// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/ca_client.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rpc/channel.h"
#include "rpc/status.h"
#include "x509/certificate_request.h"

namespace linchpin::agent {
namespace {

constexpr absl::Duration kDeadline = absl::Seconds(20);
// So many keys are made at once, in the core's thread: a tenth of a millisecond each, less than
// waiting behind a state that is being sealed.
constexpr size_t kFew = 8;

struct Requested {
  x509::PrivateKey key;
  std::string request;
};

absl::StatusOr<Requested> MakeRequest() {
  absl::StatusOr<x509::PrivateKey> key = x509::PrivateKey::Generate(x509::KeyType::kP256);
  if (!key.ok()) return key.status();
  absl::StatusOr<std::string> request = x509::MakeCertificateRequest(*key);
  if (!request.ok()) return request.status();
  return Requested{*std::move(key), *std::move(request)};
}

std::shared_ptr<ca::v1::NodeService::Stub> StubOver(std::shared_ptr<grpc::Channel> channel) {
  return ca::v1::NodeService::NewStub(std::move(channel));
}

event::IssueDone::Result ResultOf(const std::string& identity_id, const x509::PrivateKey& key,
                                  const ca::v1::IssueResult& result) {
  if (result.code() == 0) {
    return {identity_id, IssuedItem{key, {result.chain().begin(), result.chain().end()}}};
  }
  return {identity_id,
          absl::Status(static_cast<absl::StatusCode>(result.code()), result.message())};
}

event::IssueDone FailedIssue(const action::Issue& action, const absl::Status& status) {
  event::IssueDone done{.ticket = action.ticket};
  for (const std::string& id : action.identity_ids) done.results.push_back({id, status});
  return done;
}

}  // namespace

template <typename Request, typename Response>
struct CaClient::Call {
  StubPtr stub;
  grpc::ClientContext context;
  Response response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader;
  rpc::CallQueue::Told told;  // holds the call until it is over
};

CaClient::~CaClient() {
  if (stream_ != nullptr) stream_->Cancel();
  base::MutexLock lock(mutex_);
  closing_ = true;
  for (grpc::ClientContext* call : calls_) call->TryCancel();
  ended_.wait(lock, [this] { return under_way_ == 0; });
}

void CaClient::Begun(grpc::ClientContext* context) {
  base::MutexLock lock(mutex_);
  ++under_way_;
  if (context == nullptr) return;
  calls_.insert(context);
  if (closing_) context->TryCancel();
}

void CaClient::Ended(grpc::ClientContext* context) {
  base::MutexLock lock(mutex_);
  calls_.erase(context);
  --under_way_;
  ended_.notify_all();
}

template <typename Request, typename Response, typename Method>
void CaClient::Start(const StubPtr& stub, Method method, const Request& request,
                     std::function<void(absl::StatusOr<Response>)> done) {
  auto call = std::make_shared<Call<Request, Response>>();
  call->stub = stub;
  call->context.set_deadline(absl::ToChronoTime(parts_.clock.Now() + kDeadline));
  call->told = [this, call, done = std::move(done)](bool) {
    call->told = nullptr;
    if (call->status.ok()) {
      done(std::move(call->response));
    } else {
      done(rpc::FromGrpc(call->status));
    }
    Ended(&call->context);
  };
  Begun(&call->context);
  call->reader = method(*call->stub, &call->context, request, queue_.get());
  call->reader->StartCall();
  call->reader->Finish(&call->response, &call->status, &call->told);
}

void CaClient::Work(base::Work work, std::function<void(const absl::Status&)> otherwise) {
  const absl::Status queued = parts_.worker.Post(std::move(work));
  if (!queued.ok()) otherwise(queued);
}

void CaClient::Do(const action::FirstContact& action) {
  struct Seen {
    base::Mutex mutex;
    std::vector<std::string> chain;
  };
  auto seen = std::make_shared<Seen>();
  const StubPtr stub = StubOver(
      rpc::FirstContactChannel(parts_.address, [seen](const std::vector<std::string>& chain) {
        base::MutexLock lock(seen->mutex);
        seen->chain = chain;
        return absl::OkStatus();
      }));
  Start<ca::v1::GetTrustRequest, ca::v1::GetTrustResponse>(
      stub, [](auto& to, auto&&... with) { return to.PrepareAsyncGetTrust(with...); },
      action.request,
      [this, seen](absl::StatusOr<ca::v1::GetTrustResponse> response) {
        if (!response.ok()) return Post(event::FirstContactDone{response.status()});
        base::MutexLock lock(seen->mutex);
        Shown shown{.chain = seen->chain,
                    .pin_sets = {response->pin_sets().begin(), response->pin_sets().end()}};
        if (response->has_relax()) shown.relax = response->relax();
        if (response->has_freshness()) shown.freshness = response->freshness();
        Post(event::FirstContactDone{std::move(shown)});
      });
}

void CaClient::Do(const action::Attest& action) {
  const auto failed = [this](const absl::Status& status) { Post(event::AttestDone{status}); };
  ca::v1::AttestRequest request;
  if (!action.expired_certificate.empty()) {
    request.set_expired_certificate(action.expired_certificate);
  } else {
    const absl::Status added = parts_.evidence(&request);
    if (!added.ok()) return failed(added);
  }
  absl::StatusOr<std::string> proof = x509::MakeCertificateRequest(action.key);
  if (!proof.ok()) return failed(proof.status());
  request.set_certificate_request(*std::move(proof));
  const StubPtr stub = StubOver(
      rpc::JudgedChannel(parts_.address, action.context, trust::Expect::Ca(), parts_.clock));
  Start<ca::v1::AttestRequest, ca::v1::AttestResponse>(
      stub, [](auto& to, auto&&... with) { return to.PrepareAsyncAttest(with...); }, request,
      [this](absl::StatusOr<ca::v1::AttestResponse> response) {
        Post(event::AttestDone{std::move(response)});
      });
}

void CaClient::Do(const action::RenewNode&) {
  const auto failed = [this](const absl::Status& status) { Post(event::NodeRenewed{status}); };
  Work(
      [this, stub = stub_, failed] {
        absl::StatusOr<Requested> made = MakeRequest();
        if (!made.ok()) return failed(made.status());
        ca::v1::RenewNodeRequest request;
        request.set_certificate_request(made->request);
        Start<ca::v1::RenewNodeRequest, ca::v1::AttestResponse>(
            stub, [](auto& to, auto&&... with) { return to.PrepareAsyncRenewNode(with...); },
            request,
            [this, failed, key = made->key](absl::StatusOr<ca::v1::AttestResponse> response) {
              if (!response.ok()) return failed(response.status());
              Post(event::NodeRenewed{RenewedNode{key, *std::move(response)}});
            });
      },
      failed);
}

void CaClient::Do(const action::UseNodeIdentity& action) {
  stub_ = StubOver(
      rpc::JudgedChannel(parts_.address, action.context, trust::Expect::Ca(), parts_.clock));
  Post(event::IdentityInUse{action.generation});
}

void CaClient::Do(const action::Issue& action) {
  const auto failed = [this, action](const absl::Status& status) {
    Post(FailedIssue(action, status));
  };
  const auto issue = [this, stub = stub_, failed, action] {
    ca::v1::IssueRequest request;
    std::vector<x509::PrivateKey> keys;
    for (size_t i = 0; i < action.identity_ids.size(); ++i) {
      absl::StatusOr<Requested> made = MakeRequest();
      if (!made.ok()) return failed(made.status());
      ca::v1::IssueItem* item = request.add_items();
      item->set_identity_id(action.identity_ids[i]);
      item->set_certificate_request(made->request);
      if (action.held_until[i] != absl::InfinitePast()) {
        item->set_held_until(absl::ToUnixSeconds(action.held_until[i]));
      }
      keys.push_back(made->key);
    }
    Start<ca::v1::IssueRequest, ca::v1::IssueResponse>(
        stub, [](auto& to, auto&&... with) { return to.PrepareAsyncIssue(with...); }, request,
        [this, failed, action, keys](const absl::StatusOr<ca::v1::IssueResponse>& response) {
          if (!response.ok()) return failed(response.status());
          if (response->results_size() != static_cast<int>(keys.size())) {
            return failed(absl::InternalError(absl::StrCat(
                "the CA answered ", response->results_size(), " of ", keys.size(), " requests")));
          }
          event::IssueDone done{.ticket = action.ticket};
          for (size_t i = 0; i < keys.size(); ++i) {
            done.results.push_back(
                ResultOf(action.identity_ids[i], keys[i], response->results(static_cast<int>(i))));
          }
          Post(std::move(done));
        });
  };
  if (action.identity_ids.size() <= kFew) return issue();
  Work(issue, failed);
}

void CaClient::Do(const action::OpenSync& action) {
  Begun(nullptr);
  stream_ticket_ = action.stream;
  stream_ = SyncStream::Start({stub_, queue_, parts_.post, [this] { Ended(nullptr); }}, action);
}

void CaClient::Do(const action::CloseSync& action) {
  if (stream_ != nullptr && stream_ticket_ == action.stream) stream_->Cancel();
}

void CaClient::Do(const action::SendAck& action) {
  if (stream_ == nullptr || stream_ticket_ != action.stream) return;
  ca::v1::NodeMessage message;
  *message.mutable_ack() = action.ack;
  stream_->Send(std::move(message));
}

void CaClient::Do(const action::SendVerdicts& action) {
  if (stream_ == nullptr || stream_ticket_ != action.stream) return;
  ca::v1::NodeMessage message;
  *message.mutable_verdicts() = action.report;
  stream_->Send(std::move(message));
}

}  // namespace linchpin::agent
