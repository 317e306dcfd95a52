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

template <typename Entry>
LogStream<Entry>* LogStream<Entry>::Make(CoreDriver& driver, Parts parts) {
  std::shared_ptr<LogStream> stream(new LogStream(driver, std::move(parts)));
  stream->self_ = stream;
  stream->Ask();
  return stream.get();
}

template <typename Entry>
void LogStream<Entry>::Ask() {
  {
    base::MutexLock lock(mutex_);
    if (finished_) return;
  }
  parts_.ask([stream = this->shared_from_this()](const absl::Status& allowed,
                                                 const google::protobuf::Message* message) {
    if (!allowed.ok()) return stream->End(allowed);
    stream->next_ =
        stream->parts_.next(static_cast<const v1::ChangeSpan&>(*message), stream->next_);
    const absl::Status posted = stream->driver_.RunSlowly([stream] { stream->Fill(); });
    if (!posted.ok()) stream->End(posted);
  });
}

template <typename Entry>
void LogStream<Entry>::WriteOrAsk() {
  if (entries_.empty()) return Ask();
  base::MutexLock lock(mutex_);
  if (!finished_) this->StartWrite(&entries_.front());
}

template <typename Entry>
void LogStream<Entry>::Fill() {
  {
    base::MutexLock lock(mutex_);
    if (finished_) return;  // else one that left would look for entries for ever
  }
  absl::StatusOr<std::vector<Entry>> read = parts_.read(*next_, kBatch);
  if (!read.ok()) return End(read.status());
  if (!read->empty()) {
    next_ = read->back().index() + 1;
    for (Entry& entry : *read) entries_.push_back(std::move(entry));
    return WriteOrAsk();
  }
  if (!parts_.follow) return End(absl::OkStatus());
  driver_.RunSlowlyAfter(kFollowEvery, [stream = this->shared_from_this()] { stream->Ask(); });
}

template <typename Entry>
void LogStream<Entry>::OnWriteDone(bool ok) {
  entries_.pop_front();
  if (!ok) return End(absl::CancelledError("the operator is gone"));
  WriteOrAsk();
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
