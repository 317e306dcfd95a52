// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The issuance log as a stream: what is there, and with `follow` what comes.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "ca/server/core_driver.h"
#include "linchpin/ca/v1/admin.pb.h"

namespace linchpin::ca {

// Owned by gRPC until OnDone(), and by the read that is under way.
class LogStream final : public grpc::ServerWriteReactor<v1::LogEntry>,
                        public std::enable_shared_from_this<LogStream> {
 public:
  static LogStream* Make(CoreDriver& driver, const v1::ReadLogRequest& request,
                         const absl::Status& allowed);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  explicit LogStream(CoreDriver& driver) : driver_(driver) {}
  void Fill();  // reads on the driver's slow thread
  void WriteOrFill();
  void End(const absl::Status& status);

  CoreDriver& driver_;
  std::shared_ptr<LogStream> self_;
  uint64_t next_ = 0;
  bool follow_ = false;
  std::deque<v1::LogEntry> entries_;  // the first is being written

  base::Mutex mutex_;
  bool finished_ = false;
};

}  // namespace linchpin::ca
