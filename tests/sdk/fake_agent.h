// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// An agent that delivers what a test gives it, over a real Unix socket.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "linchpin/agent/v1/mtls_context.grpc.pb.h"

namespace linchpin::test {

class FakeAgent final : public agent::v1::MtlsContextService::Service {
 public:
  explicit FakeAgent(const std::string& socket) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }

  ~FakeAgent() override {
    {
      base::MutexLock lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    server_->Shutdown();
  }

  void Deliver(const agent::v1::MtlsContexts& message) {
    {
      base::MutexLock lock(mutex_);
      message_ = message;
      ++version_;
    }
    changed_.notify_all();
  }

  // False after a generous time.
  bool WaitForReport(const std::function<bool(const agent::v1::ReportRequest&)>& wanted) {
    base::MutexLock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] {
      for (const auto& report : reports_) {
        if (wanted(report)) return true;
      }
      return false;
    });
  }

  std::vector<agent::v1::ReportRequest> reports() {
    base::MutexLock lock(mutex_);
    return reports_;
  }

 private:
  grpc::Status Watch(grpc::ServerContext* context, const agent::v1::WatchRequest*,
                     grpc::ServerWriter<agent::v1::MtlsContexts>* writer) override {
    int sent = 0;
    base::MutexLock lock(mutex_);
    while (!stopping_ && !context->IsCancelled()) {
      if (version_ > sent) {
        sent = version_;
        const agent::v1::MtlsContexts message = message_;
        lock.unlock();
        if (!writer->Write(message)) return grpc::Status::OK;
        lock.lock();
        continue;
      }
      changed_.wait_for(lock, std::chrono::milliseconds(50));
    }
    return grpc::Status::OK;
  }

  grpc::Status Report(grpc::ServerContext*, const agent::v1::ReportRequest* request,
                      agent::v1::ReportResponse*) override {
    {
      base::MutexLock lock(mutex_);
      reports_.push_back(*request);
    }
    changed_.notify_all();
    return grpc::Status::OK;
  }

  base::Mutex mutex_;
  base::CondVar changed_;
  agent::v1::MtlsContexts message_;
  int version_ = 0;
  bool stopping_ = false;
  std::vector<agent::v1::ReportRequest> reports_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace linchpin::test
