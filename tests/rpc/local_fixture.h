// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A local server with a method that keeps who called, and one whose calls a test answers.
#pragma once

#include <poll.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "gtest/gtest.h"
#include "linchpin/ca/v1/node.pb.h"
#include "rpc/local_server.h"
#include "tests/rpc/callers.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::rpc {

// What becomes of a call.
class Followed final : public CallEvents {
 public:
  void OnDone(bool gave_up) override {
    base::MutexLock lock(mutex_);
    done_ = true;
    gave_up_ = gave_up;
    changed_.notify_all();
  }
  // Whether it was given up; waits for its end.
  bool AwaitGaveUp() {
    base::MutexLock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [this] { return done_; }));
    return gave_up_;
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  bool done_ = false;
  bool gave_up_ = false;
};

class LocalServerTest : public ::testing::Test {
 protected:
  LocalServerTest() : LocalServerTest(SocketLimits::ForOpenFiles(1024)) {}
  explicit LocalServerTest(const SocketLimits& limits)
      : path_(dir_.Join("agent.sock")), limits_(limits) {
    Bind(absl::Seconds(60));
  }

  void Bind(absl::Duration idle) {
    server_.reset();
    auto server = LocalServer::Bind(path_, 0666, {.limits = limits_, .idle = idle});
    EXPECT_OK(server);
    server_ = *std::move(server);
  }
  // After a test has made its child processes: a thread begins here.
  void Serve() {
    LocalMethods methods;
    methods.Add<ca::v1::GetTrustRequest>(
        "/linchpin.ca.v1.NodeService/GetTrust", [this](const CallPtr& call, const auto&) {
          Keep(call, nullptr);
          call->Write(std::make_shared<ca::v1::GetTrustResponse>());
          call->Finish(absl::OkStatus());
        });
    methods.Add<ca::v1::AttestRequest>("/linchpin.ca.v1.NodeService/Attest",
                                       [this](const CallPtr& call, const auto&) {
                                         const auto followed = std::make_shared<Followed>();
                                         call->Follow(followed);
                                         Keep(call, followed);
                                       });
    server_->Start(std::move(methods));
  }
  void Keep(const CallPtr& call, const std::shared_ptr<Followed>& followed) {
    base::MutexLock lock(mutex_);
    last_ = call->peer();
    if (followed == nullptr) return;
    waiting_.emplace_back(call, followed);
    changed_.notify_all();
  }
  std::shared_ptr<const UnixPeer> last() {
    base::MutexLock lock(mutex_);
    return last_;
  }
  std::pair<CallPtr, std::shared_ptr<Followed>> AwaitCall() {
    base::MutexLock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(60), [this] { return !waiting_.empty(); }));
    auto call = std::move(waiting_.back());
    waiting_.pop_back();
    return call;
  }

  test::TempDir dir_;
  const std::string path_;
  const SocketLimits limits_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::shared_ptr<const UnixPeer> last_;
  std::vector<std::pair<CallPtr, std::shared_ptr<Followed>>> waiting_;
  std::unique_ptr<LocalServer> server_;
};

}  // namespace linchpin::rpc
