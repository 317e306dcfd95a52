// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A real gRPC server on loopback that says who called.
#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/server_credentials.h"

namespace linchpin::test {

// GetTrust and Issue answer; what the callers were is kept.
class NodeServer final : public ca::v1::NodeService::CallbackService {
 public:
  // With GetTrust as an open method. `address` 127.0.0.1:0 unless given.
  NodeServer(std::shared_ptr<const rpc::OwnIdentity> identity, trust::Expect expect,
             const base::Clock& clock);
  ~NodeServer() override;

  std::string address() const;
  int calls() const;
  std::string last_caller() const;  // "" for none
  std::string last_leaf() const;
  bool last_resumed() const;  // the call came over a resumed TLS session

 private:
  grpc::ServerUnaryReactor* GetTrust(grpc::CallbackServerContext* context,
                                     const ca::v1::GetTrustRequest*,
                                     ca::v1::GetTrustResponse*) override;
  grpc::ServerUnaryReactor* Issue(grpc::CallbackServerContext* context, const ca::v1::IssueRequest*,
                                  ca::v1::IssueResponse*) override;
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context);

  mutable base::Mutex mutex_;
  int calls_ = 0;
  std::string last_caller_;
  std::string last_leaf_;
  bool last_resumed_ = false;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// One call each, with a generous deadline.
absl::Status CallIssue(const std::shared_ptr<grpc::Channel>& channel);
absl::Status CallGetTrust(const std::shared_ptr<grpc::Channel>& channel);

}  // namespace linchpin::test
