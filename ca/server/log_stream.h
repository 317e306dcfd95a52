// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A log as a stream: what is there, and with `follow` what comes. Of LogEntry and of Change.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "ca/server/core_driver.h"

namespace linchpin::ca {

// Owned by gRPC until OnDone(), and by the read that is under way.
template <typename Entry>
class LogStream final : public grpc::ServerWriteReactor<Entry>,
                        public std::enable_shared_from_this<LogStream<Entry>> {
 public:
  // Entries from that index, at most so many. On the driver's slow thread.
  using Read = std::function<absl::StatusOr<std::vector<Entry>>(uint64_t from, size_t most)>;

  // Nothing is read before Begin(), or End() in its place; once.
  static std::shared_ptr<LogStream> Make(CoreDriver& driver, Read read, bool follow);
  void Begin(uint64_t from);
  void End(const absl::Status& status);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  LogStream(CoreDriver& driver, Read read, bool follow)
      : driver_(driver), read_(std::move(read)), follow_(follow) {}
  void Fill();
  void WriteOrFill();

  CoreDriver& driver_;
  const Read read_;
  const bool follow_;
  std::shared_ptr<LogStream> self_;
  uint64_t next_ = 0;
  std::deque<Entry> entries_;  // the first is being written

  base::Mutex mutex_;
  bool finished_ = false;
};

}  // namespace linchpin::ca
