// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/waiting_server.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "ca/server/askers.h"
#include "rpc/admin_socket.h"
#include "rpc/status.h"

namespace linchpin::ca {
namespace {

constexpr char kList[] = "/linchpin.ca.v1.AdminService/ListAwaited";
constexpr char kImport[] = "/linchpin.ca.v1.AdminService/ImportCertificates";
constexpr char kWaits[] =
    "the CA waits for the certificates of its issuers, by a root that is kept offline: linchpin ca "
    "csr prints the requests, linchpin ca import FILE... takes what was made of them";
constexpr int kMaxMessageBytes = 512 * 1024;
constexpr int kIdleMs = 60'000;
constexpr absl::Duration kShutdown = absl::Seconds(5);

using Call = std::function<absl::StatusOr<grpc::ByteBuffer>(grpc::ByteBuffer*)>;

template <typename Message>
absl::StatusOr<Message> Parse(grpc::ByteBuffer* bytes) {
  Message message;
  const grpc::Status parsed = grpc::SerializationTraits<Message>::Deserialize(bytes, &message);
  if (!parsed.ok()) return absl::InvalidArgumentError("the request cannot be parsed");
  return message;
}

template <typename Message>
absl::StatusOr<grpc::ByteBuffer> Encode(const Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  const grpc::Status encoded = grpc::SerializationTraits<Message>::Serialize(message, &bytes, &own);
  if (!encoded.ok()) return absl::InternalError("the answer cannot be encoded");
  return bytes;
}

// One request, one answer.
class Reactor final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Reactor(Call call) : call_(std::move(call)) { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(rpc::ToGrpc(absl::InvalidArgumentError("a request is expected")));
    absl::StatusOr<grpc::ByteBuffer> answer = call_(&request_);
    if (!answer.ok()) return Finish(rpc::ToGrpc(answer.status()));
    answer_ = *std::move(answer);
    StartWriteAndFinish(&answer_, grpc::WriteOptions(), grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  const Call call_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer answer_;
};

}  // namespace

struct WaitingServer::Impl final : grpc::CallbackGenericService {
  Impl(AuthoritySetup own_setup, WaitingParts own_parts, std::function<void()> when_imported)
      : setup(std::move(own_setup)), parts(own_parts), imported(std::move(when_imported)) {}

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    const std::string method = context->method();
    return new Reactor([this, who = asker_of(*context), method](grpc::ByteBuffer* request) {
      return Answer(who, method, request);
    });
  }

  absl::StatusOr<grpc::ByteBuffer> Answer(const absl::StatusOr<Asker>& who,
                                          const std::string& method, grpc::ByteBuffer* request) {
    RETURN_IF_ERROR(who.status());
    if (method == kList) return List();
    if (method != kImport) return absl::FailedPreconditionError(kWaits);
    ASSIGN_OR_RETURN(auto asked, Parse<v1::ImportCertificatesRequest>(request));
    return Import(*who, std::move(asked));
  }

  absl::StatusOr<grpc::ByteBuffer> List() {
    base::MutexLock lock(mutex);
    ASSIGN_OR_RETURN(const AwaitedRows awaited, AwaitedAtStart(parts.store));
    return Encode(DescribeFirstAwaited(setup.profile, awaited));
  }

  absl::StatusOr<grpc::ByteBuffer> Import(const Asker& who, v1::ImportCertificatesRequest asked) {
    base::MutexLock lock(mutex);
    const FirstImport import{std::move(asked), {who.name, "admin", who.from, "ImportCertificates"}};
    const absl::StatusOr<v1::ImportedCertificates> done =
        ImportAtStart(parts.store, parts.keys, setup, import, parts.clock.Now());
    // Where a commit's answer was uncertain, the certificates may be here although it was an error.
    const absl::StatusOr<AwaitedRows> awaited = AwaitedAtStart(parts.store);
    if (awaited.ok() && awaited->empty() && !std::exchange(has_told, true)) imported();
    if (!done.ok()) {
      base::LogWarning("certificates are not taken",
                       {{"who", who.name}, {"error", std::string(done.status().message())}});
      return done.status();
    }
    base::LogInfo("the root's certificates were imported", {{"who", who.name}});
    return Encode(*done);
  }

  const AuthoritySetup setup;
  const WaitingParts parts;
  const std::function<void()> imported;
  base::Mutex mutex;  // one at a time
  bool has_told = false;
  std::unique_ptr<rpc::AdminSocket> socket;
  AskerLookup asker_of;
  std::unique_ptr<grpc::Server> server;
};

WaitingServer::WaitingServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

WaitingServer::~WaitingServer() {
  impl_->socket->Stop();
  impl_->server->Shutdown(absl::ToChronoTime(impl_->parts.clock.Now() + kShutdown));
  impl_->socket.reset();
  impl_->server.reset();
}

std::string WaitingServer::WaitsFor() { return kWaits; }

absl::StatusOr<std::unique_ptr<WaitingServer>> WaitingServer::Start(
    const std::string& admin_socket, const AuthoritySetup& setup, WaitingParts parts,
    std::function<void()> imported) {
  auto impl = std::make_unique<Impl>(setup, parts, std::move(imported));
  ASSIGN_OR_RETURN(impl->socket, rpc::AdminSocket::Bind(admin_socket));
  impl->asker_of = AskersOnSocket(*impl->socket);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
  builder.RegisterCallbackGenericService(impl.get());
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr) return absl::InternalError("the admin API cannot be started");
  impl->socket->Start(impl->server.get());
  return std::unique_ptr<WaitingServer>(new WaitingServer(std::move(impl)));
}

}  // namespace linchpin::ca
