// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/log_stream.h"

#include <utility>

#include "linchpin/ca/v1/admin.pb.h"
#include "linchpin/ca/v1/operator.pb.h"
#include "rpc/status.h"

namespace linchpin::ca {
namespace {

constexpr size_t kBatch = 256;
constexpr absl::Duration kFollowEvery = absl::Milliseconds(200);

}  // namespace

template <typename Entry>
std::shared_ptr<LogStream<Entry>> LogStream<Entry>::Make(CoreDriver& driver, Read read,
                                                         bool follow) {
  std::shared_ptr<LogStream> stream(new LogStream(driver, std::move(read), follow));
  stream->self_ = stream;
  return stream;
}

template <typename Entry>
void LogStream<Entry>::Begin(uint64_t from) {
  next_ = from;
  WriteOrFill();
}

template <typename Entry>
void LogStream<Entry>::WriteOrFill() {
  if (!entries_.empty()) {
    base::MutexLock lock(mutex_);
    if (!finished_) this->StartWrite(&entries_.front());
    return;
  }
  const absl::Status posted =
      driver_.RunSlowly([stream = this->shared_from_this()] { stream->Fill(); });
  if (!posted.ok()) End(posted);
}

template <typename Entry>
void LogStream<Entry>::Fill() {
  {
    base::MutexLock lock(mutex_);
    if (finished_) return;  // else a follower that left would look for entries for ever
  }
  absl::StatusOr<std::vector<Entry>> read = read_(next_, kBatch);
  if (!read.ok()) return End(read.status());
  if (!read->empty()) {
    next_ = read->back().index() + 1;
    for (Entry& entry : *read) entries_.push_back(std::move(entry));
    return WriteOrFill();
  }
  if (!follow_) return End(absl::OkStatus());
  driver_.RunSlowlyAfter(kFollowEvery, [stream = this->shared_from_this()] { stream->Fill(); });
}

template <typename Entry>
void LogStream<Entry>::OnWriteDone(bool ok) {
  entries_.pop_front();
  if (!ok) return End(absl::CancelledError("the operator is gone"));
  WriteOrFill();
}

template <typename Entry>
void LogStream<Entry>::End(const absl::Status& status) {
  base::MutexLock lock(mutex_);
  if (finished_) return;
  finished_ = true;
  this->Finish(rpc::ToGrpc(status));
}

template <typename Entry>
void LogStream<Entry>::OnCancel() {
  End(absl::CancelledError("the operator is gone"));
}

template <typename Entry>
void LogStream<Entry>::OnDone() {
  const std::shared_ptr<LogStream> last = std::move(self_);
}

template class LogStream<v1::LogEntry>;
template class LogStream<v1::Change>;

}  // namespace linchpin::ca
