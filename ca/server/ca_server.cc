// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/ca_server.h"

#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/server/log_at_start.h"
#include "rpc/server_credentials.h"

namespace linchpin::ca {
namespace {

constexpr int kMaxMessageBytes = 4 * 1024 * 1024;
constexpr size_t kMaxMemoryBytes = size_t{1} << 30;          // for nodes
constexpr size_t kMaxMemoryOfOperators = size_t{256} << 20;  // over the network
constexpr int kMaxConcurrentStreams = 128;                   // of a connection
constexpr int kKeepaliveMs = 30'000;  // a dead node is noticed within 45 s; a live one pings first
constexpr int kKeepaliveTimeoutMs = 15'000;
constexpr int kConnectionAgeMs = 3'600'000;  // then a node shows its certificate again
constexpr int kConnectionGraceMs = 10'000;
constexpr int kIdleMs = 60'000;  // of a connection without a call; a node has its stream
constexpr int kHandshakeMs = 10'000;
constexpr absl::Duration kDrain = absl::Seconds(10);
constexpr absl::Duration kShutdown = absl::Seconds(2);

// Behind a TcpListener.
std::unique_ptr<grpc::Server> BuildTlsServer(
    const std::vector<grpc::Service*>& services, size_t memory,
    std::shared_ptr<grpc::ServerCredentials> credentials,
    std::unique_ptr<rpc::TcpListener::Acceptor>* acceptor) {
  grpc::ResourceQuota quota("linchpin-ca");
  quota.Resize(memory);
  grpc::ServerBuilder builder;
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConcurrentStreams);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kConnectionAgeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, kConnectionGraceMs);
  // Nodes and operators compress nothing, and nobody looks at gRPC's own counters.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  using Builder = grpc::ServerBuilder::experimental_type;
  *acceptor = builder.experimental().AddExternalConnectionAcceptor(
      Builder::ExternalConnectionType::FROM_FD, std::move(credentials));
  for (grpc::Service* service : services) builder.RegisterService(service);
  return builder.BuildAndStart();
}

// What the store has, and a log that is held to it.
absl::StatusOr<std::unique_ptr<CaCore>> MakeCore(const ServerOptions& options,
                                                 const DriverParts& parts) {
  while (true) {
    ASSIGN_OR_RETURN(const Store::Listing listing, parts.store.List(""));
    ASSIGN_OR_RETURN(std::unique_ptr<CaCore> core,
                     CaCore::Make(options.core, listing, base::SystemRandom()));
    ASSIGN_OR_RETURN(const bool changed,
                     HoldLog(parts.store, parts.log, *core, options.core.profile,
                             options.accept_log_end, parts.clock.Now()));
    if (!changed) return core;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<CaServer>> CaServer::Start(ServerOptions options,
                                                          DriverParts parts) {
  ASSIGN_OR_RETURN(std::unique_ptr<CaCore> core, MakeCore(options, parts));
  ASSIGN_OR_RETURN(Outstanding outstanding,
                   OutstandingOf(parts.log, *core, options.core.profile, parts.clock.Now()));
  std::unique_ptr<CaServer> server(new CaServer());
  server->clock_ = &parts.clock;
  server->driver_ = std::make_unique<CoreDriver>(std::move(core), parts);
  server->driver_->Start(std::move(outstanding));
  RETURN_IF_ERROR(server->driver_->WaitReady(kDrain));
  RETURN_IF_ERROR(server->Listen(std::move(options)));
  return server;
}

absl::Status CaServer::Listen(ServerOptions options) {
  // First the socket: a second CA on the same directory must not disturb the first.
  ASSIGN_OR_RETURN(admin_socket_, rpc::AdminSocket::Bind(options.admin_socket));
  nodes_ = std::make_unique<NodeServiceImpl>(*driver_, std::move(options.verifiers));
  ASSIGN_OR_RETURN(nodes_port_, rpc::TcpListener::Bind(options.listen));
  std::unique_ptr<rpc::TcpListener::Acceptor> acceptor;
  node_server_ =
      BuildTlsServer({nodes_.get()}, kMaxMemoryBytes,
                     rpc::JudgedServerCredentials(
                         driver_->identity(),
                         {.open_methods = OpenMethods(), .expect = trust::Expect::Node()}, *clock_),
                     &acceptor);
  if (node_server_ == nullptr) return absl::InternalError("the node API cannot be started");
  nodes_port_->Start(std::move(acceptor));
  admin_ = std::make_unique<AdminServiceImpl>(*driver_, AskersOnSocket(*admin_socket_));
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
  builder.RegisterService(admin_.get());
  admin_server_ = builder.BuildAndStart();
  if (admin_server_ == nullptr) return absl::InternalError("the admin API cannot be started");
  admin_socket_->Start(admin_server_.get());
  return options.admin_listen.empty() ? absl::OkStatus() : ListenForOperators(options.admin_listen);
}

absl::Status CaServer::ListenForOperators(const std::string& address) {
  ASSIGN_OR_RETURN(operators_port_, rpc::TcpListener::Bind(address));
  operators_ = std::make_unique<AdminServiceImpl>(*driver_, AskersByCertificate());
  std::unique_ptr<rpc::TcpListener::Acceptor> acceptor;
  // The node API is there for GetTrust, by which an operator that has the signers' keys knows the
  // CA; its other methods take node certificates only, and none passes here.
  operator_server_ = BuildTlsServer(
      {operators_.get(), nodes_.get()}, kMaxMemoryOfOperators,
      rpc::JudgedServerCredentials(driver_->identity(),
                                   {.open_methods = {"/linchpin.ca.v1.NodeService/GetTrust"},
                                    .expect = trust::Expect::Operator(),
                                    .judged = nullptr},
                                   *clock_),
      &acceptor);
  if (operator_server_ == nullptr) {
    return absl::InternalError("the admin API cannot be started on the network");
  }
  operators_port_->Start(std::move(acceptor));
  return absl::OkStatus();
}

void CaServer::Ask(Asker who, AdminRequest request, CoreDriver::Answer answer) {
  driver_->Ask(
      [who = std::move(who), request = std::move(request)](CallId call) mutable {
        return event::AdminAsked{call, std::move(who), std::move(request)};
      },
      std::move(answer));
}

void CaServer::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (admin_socket_ != nullptr) admin_socket_->Stop();
  if (driver_ != nullptr) driver_->Drain(kDrain);
  if (nodes_port_ != nullptr) nodes_port_->Stop();
  if (operators_port_ != nullptr) operators_port_->Stop();
  const auto deadline = absl::ToChronoTime(clock_->Now() + kShutdown);
  if (node_server_ != nullptr) node_server_->Shutdown(deadline);
  if (admin_server_ != nullptr) admin_server_->Shutdown(deadline);
  if (operator_server_ != nullptr) operator_server_->Shutdown(deadline);
}

CaServer::~CaServer() {
  Stop();
  admin_socket_.reset();
  nodes_port_.reset();
  operators_port_.reset();
  operator_server_.reset();
  node_server_.reset();
  admin_server_.reset();
}

}  // namespace linchpin::ca
