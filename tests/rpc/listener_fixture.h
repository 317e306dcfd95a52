// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A listener with a real gRPC server behind it.
#pragma once

#include <grpcpp/server_builder.h>
#include <poll.h>

#include <memory>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "gtest/gtest.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/unix_listener.h"
#include "tests/rpc/callers.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::rpc {

// Keeps who called.
class Service final : public ca::v1::NodeService::CallbackService {
 public:
  explicit Service(UnixListener** listener) : listener_(listener) {}

  std::shared_ptr<const UnixPeer> last() const {
    base::MutexLock lock(mutex_);
    return last_;
  }
  std::set<std::string> names() const {
    base::MutexLock lock(mutex_);
    return names_;
  }

 private:
  grpc::ServerUnaryReactor* GetTrust(grpc::CallbackServerContext* context,
                                     const ca::v1::GetTrustRequest*,
                                     ca::v1::GetTrustResponse*) override {
    {
      base::MutexLock lock(mutex_);
      last_ = (*listener_)->PeerOf(*context);
      names_.insert(context->peer());
    }
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  UnixListener** const listener_;
  mutable base::Mutex mutex_;
  std::shared_ptr<const UnixPeer> last_;
  std::set<std::string> names_;
};

class UnixListenerTest : public ::testing::Test {
 protected:
  UnixListenerTest() : UnixListenerTest(SocketLimits::ForOpenFiles(1024)) {}
  explicit UnixListenerTest(const SocketLimits& limits)
      : path_(dir_.Join("agent.sock")), service_(&raw_) {
    auto listener = UnixListener::Bind(path_, 0666, limits);
    EXPECT_OK(listener);
    listener_ = *std::move(listener);
    raw_ = listener_.get();
  }
  ~UnixListenerTest() override {
    if (server_ == nullptr) return;
    server_->Shutdown(absl::ToChronoTime(base::SystemClock().Now()));
    listener_.reset();
    server_->Wait();
  }
  // After a test has made its child processes: threads begin here.
  void Serve(int idle_milliseconds = 1'000) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, idle_milliseconds);
    server_ = builder.BuildAndStart();
    listener_->Start(server_.get());
  }

  test::TempDir dir_;
  const std::string path_;
  std::unique_ptr<UnixListener> listener_;
  UnixListener* raw_ = nullptr;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace linchpin::rpc
