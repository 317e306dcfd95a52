// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/log_stream.h"

#include <utility>

#include "rpc/status.h"

namespace linchpin::ca {
namespace {

constexpr size_t kBatch = 256;
constexpr absl::Duration kFollowEvery = absl::Milliseconds(200);

}  // namespace

LogStream* LogStream::Make(CoreDriver& driver, const v1::ReadLogRequest& request,
                           const absl::Status& allowed) {
  std::shared_ptr<LogStream> stream(new LogStream(driver));
  stream->self_ = stream;
  stream->next_ = request.from_index();
  stream->follow_ = request.follow();
  if (allowed.ok()) {
    stream->WriteOrFill();
  } else {
    stream->End(allowed);
  }
  return stream.get();
}

void LogStream::WriteOrFill() {
  if (!entries_.empty()) {
    base::MutexLock lock(mutex_);
    if (!finished_) StartWrite(&entries_.front());
    return;
  }
  const absl::Status posted = driver_.RunSlowly([stream = shared_from_this()] { stream->Fill(); });
  if (!posted.ok()) End(posted);
}

void LogStream::Fill() {
  {
    base::MutexLock lock(mutex_);
    if (finished_) return;  // else a follower that left would look for entries for ever
  }
  absl::StatusOr<std::vector<v1::LogEntry>> read = driver_.log().Read(next_, kBatch);
  if (!read.ok()) return End(read.status());
  if (!read->empty()) {
    next_ = read->back().index() + 1;
    for (v1::LogEntry& entry : *read) entries_.push_back(std::move(entry));
    return WriteOrFill();
  }
  if (!follow_) return End(absl::OkStatus());
  driver_.RunSlowlyAfter(kFollowEvery, [stream = shared_from_this()] { stream->Fill(); });
}

void LogStream::OnWriteDone(bool ok) {
  entries_.pop_front();
  if (!ok) return End(absl::CancelledError("the operator is gone"));
  WriteOrFill();
}

void LogStream::End(const absl::Status& status) {
  base::MutexLock lock(mutex_);
  if (finished_) return;
  finished_ = true;
  Finish(rpc::ToGrpc(status));
}

void LogStream::OnCancel() { End(absl::CancelledError("the operator is gone")); }

void LogStream::OnDone() { const std::shared_ptr<LogStream> last = std::move(self_); }

}  // namespace linchpin::ca
