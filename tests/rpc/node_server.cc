// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/rpc/node_server.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/client_context.h>
#include <grpcpp/server_builder.h>

#include "absl/strings/str_cat.h"
#include "rpc/status.h"

namespace linchpin::test {
namespace {

void GiveTime(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(base::SystemClock().Now() + absl::Seconds(30)));
}

}  // namespace

NodeServer::NodeServer(std::shared_ptr<const rpc::OwnIdentity> identity, trust::Expect expect,
                       const base::Clock& clock) {
  rpc::ServerPolicy policy{.open_methods = {"/linchpin.ca.v1.NodeService/GetTrust"},
                           .expect = std::move(expect)};
  grpc::ServerBuilder builder;
  builder.AddListeningPort(
      "127.0.0.1:0", rpc::JudgedServerCredentials(std::move(identity), std::move(policy), clock),
      &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

NodeServer::~NodeServer() {
  server_->Shutdown(absl::ToChronoTime(base::SystemClock().Now()));
  server_->Wait();
}

std::string NodeServer::address() const { return absl::StrCat("127.0.0.1:", port_); }

int NodeServer::calls() const {
  base::MutexLock lock(mutex_);
  return calls_;
}

std::string NodeServer::last_caller() const {
  base::MutexLock lock(mutex_);
  return last_caller_;
}

std::string NodeServer::last_leaf() const {
  base::MutexLock lock(mutex_);
  return last_leaf_;
}

bool NodeServer::last_resumed() const {
  base::MutexLock lock(mutex_);
  return last_resumed_;
}

grpc::ServerUnaryReactor* NodeServer::GetTrust(grpc::CallbackServerContext* context,
                                               const ca::v1::GetTrustRequest*,
                                               ca::v1::GetTrustResponse*) {
  return Answer(context);
}

grpc::ServerUnaryReactor* NodeServer::Issue(grpc::CallbackServerContext* context,
                                            const ca::v1::IssueRequest*, ca::v1::IssueResponse*) {
  return Answer(context);
}

grpc::ServerUnaryReactor* NodeServer::Answer(grpc::CallbackServerContext* context) {
  {
    base::MutexLock lock(mutex_);
    ++calls_;
    const auto caller = rpc::PeerId(*context);
    last_caller_ = caller ? caller->ToString() : "";
    last_leaf_ = rpc::PeerLeaf(*context).value_or("");
    const auto resumed =
        context->auth_context()->FindPropertyValues(GRPC_SSL_SESSION_REUSED_PROPERTY);
    last_resumed_ = !resumed.empty() && resumed[0] == "true";
  }
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

absl::Status CallIssue(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  GiveTime(&context);
  ca::v1::IssueResponse response;
  return rpc::FromGrpc(ca::v1::NodeService::NewStub(channel)->Issue(&context, {}, &response));
}

absl::Status CallGetTrust(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  GiveTime(&context);
  ca::v1::GetTrustResponse response;
  return rpc::FromGrpc(ca::v1::NodeService::NewStub(channel)->GetTrust(&context, {}, &response));
}

}  // namespace linchpin::test
