// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A log as a stream: what is there, and with `follow` what comes, as long as whoever reads it may.
// Of LogEntry and of Change.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "ca/server/core_driver.h"
#include "linchpin/ca/v1/operator.pb.h"

namespace linchpin::ca {

// Owned by gRPC until OnDone(), and by the read that is under way.
template <typename Entry>
class LogStream final : public grpc::ServerWriteReactor<Entry>,
                        public std::enable_shared_from_this<LogStream<Entry>> {
 public:
  struct Parts {
    // Asks the core, before each read, whether it may be done; the answer is a ChangeSpan.
    std::function<void(CoreDriver::Answer answer)> ask;
    // Where to read next: nothing was `read` yet, or all before that index.
    std::function<uint64_t(const v1::ChangeSpan& span, std::optional<uint64_t> read)> next;
    // Entries from that index, at most so many. On the driver's slow thread.
    std::function<absl::StatusOr<std::vector<Entry>>(uint64_t from, size_t most)> read;
    bool follow = false;
  };
  static LogStream* Make(CoreDriver& driver, Parts parts);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  LogStream(CoreDriver& driver, Parts parts) : driver_(driver), parts_(std::move(parts)) {}
  void Ask();
  void Fill();
  void WriteOrAsk();
  void End(const absl::Status& status);

  CoreDriver& driver_;
  const Parts parts_;
  std::shared_ptr<LogStream> self_;
  std::optional<uint64_t> next_;
  std::deque<Entry> entries_;  // the first is being written

  base::Mutex mutex_;
  bool finished_ = false;
};

}  // namespace linchpin::ca
