// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What gRPC says inside HTTP/2: messages with their lengths, deadlines, statuses as text.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace linchpin::rpc {

// "Length-Prefixed-Message → Compressed-Flag Message-Length Message": one byte 0, and the length of
// the message as four bytes, most significant first.
inline constexpr size_t kMessageHead = 5;
std::string MessageHead(size_t size);

// The messages of a caller, however its bytes were cut into DATA frames. One thread.
class IncomingMessages {
 public:
  explicit IncomingMessages(size_t max_message = 0) : max_message_(max_message) {}

  void Add(absl::string_view bytes) { bytes_.append(bytes.data(), bytes.size()); }
  // The next one, if it is there whole. RESOURCE_EXHAUSTED: it is longer than is taken;
  // UNIMPLEMENTED: it is compressed, by the encoding that the caller names; INTERNAL: by none.
  absl::StatusOr<std::optional<std::string>> Next(absl::string_view encoding);
  // Nothing is held, not even a part.
  bool empty() const { return taken_ == bytes_.size(); }
  size_t held() const { return bytes_.size(); }  // bytes
  void Clear() {
    std::string().swap(bytes_);  // an assignment would keep the memory
    taken_ = 0;
  }

 private:
  size_t max_message_;
  std::string bytes_;
  size_t taken_ = 0;  // of them, at the front
};

// "Content-Type → "content-type" "application/grpc" [("+proto" / "+json" / {custom})]". Messages
// here are protobuf's: "+proto" or nothing.
bool IsGrpc(absl::string_view content_type);

// "Timeout → "grpc-timeout" TimeoutValue TimeoutUnit": at most eight digits, and one of H M S m u
// n.
std::optional<absl::Duration> ParseTimeout(absl::string_view text);

// "Percent-Encoded → 1*(Percent-Byte-Unencoded / Percent-Byte-Encoded)": all but space to ~,
// without
// %, as %XX.
std::string PercentEncode(absl::string_view text);

}  // namespace linchpin::rpc
