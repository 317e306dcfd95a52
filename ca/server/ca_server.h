// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The CA as a running service: the node API over judged TLS, the operator's API on a Unix socket
// and, where it is wanted, over judged TLS too.
#pragma once

#include <grpcpp/server.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/attest/node_verifier.h"
#include "ca/server/admin_service.h"
#include "ca/server/core_driver.h"
#include "ca/server/node_service.h"
#include "rpc/admin_socket.h"
#include "rpc/tcp_listener.h"

namespace linchpin::ca {

struct ServerOptions {
  CoreOptions core;
  std::string listen;        // HOST:PORT; port 0: any
  std::string admin_socket;  // an absolute path
  std::string admin_listen;  // HOST:PORT for operators with certificates; empty: none
  std::vector<std::unique_ptr<NodeVerifier>> verifiers;
  // The loss of an issuance log's end with which the CA is to go on all the same (log_head.h).
  std::string accept_log_end = {};
};

class CaServer {
 public:
  // The store has been set up (authority_setup.h). Returns when both APIs are served. Everything in
  // `parts` outlives the server.
  static absl::StatusOr<std::unique_ptr<CaServer>> Start(ServerOptions options, DriverParts parts);
  ~CaServer();

  // Says goodbye to the nodes, finishes calls, ends both APIs. Once.
  void Stop();

  int port() const { return nodes_port_->port(); }
  int admin_port() const { return operators_port_ == nullptr ? 0 : operators_port_->port(); }
  rpc::TcpListener::Counts node_connections() const { return nodes_port_->counts(); }
  std::string NotReady() const { return driver_->NotReady(); }
  // On behalf of another source of the registry, from any thread, until Stop(). `answer` is called
  // once, from any thread.
  void Ask(Asker who, AdminRequest request, CoreDriver::Answer answer);

 private:
  CaServer() = default;
  absl::Status Listen(ServerOptions options);
  absl::Status ListenForOperators(const std::string& address);

  const base::Clock* clock_ = nullptr;
  std::unique_ptr<CoreDriver> driver_;
  std::unique_ptr<NodeServiceImpl> nodes_;
  std::unique_ptr<AdminServiceImpl> admin_;
  std::unique_ptr<AdminServiceImpl> operators_;  // the same for those with certificates
  std::unique_ptr<rpc::TcpListener> nodes_port_;
  std::unique_ptr<rpc::TcpListener> operators_port_;  // null: none
  std::unique_ptr<grpc::Server> node_server_;
  std::unique_ptr<grpc::Server> admin_server_;
  std::unique_ptr<grpc::Server> operator_server_;
  std::unique_ptr<rpc::AdminSocket> admin_socket_;
  bool stopped_ = false;
};

}  // namespace linchpin::ca
