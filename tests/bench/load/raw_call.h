// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One gRPC call on a connection of its own to a Unix socket, spoken in bare HTTP/2 frames: what a
// new connection costs the server is to be seen, and gRPC's client costs more than what is seen.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::bench {

class RawCall {
 public:
  // Connects and sends `message` (serialised; the only one). UNAVAILABLE: nobody listens (yet).
  static absl::StatusOr<RawCall> Start(const std::string& socket, absl::string_view path,
                                       absl::string_view message);
  RawCall(RawCall&& other) noexcept;
  RawCall& operator=(RawCall&&) = delete;
  ~RawCall();  // closes the connection

  // The next message of the server; waits at most 30 s. UNAVAILABLE: the call or the connection is
  // over; DEADLINE_EXCEEDED.
  absl::StatusOr<std::string> Read();

 private:
  struct Frame;
  explicit RawCall(int fd) : fd_(fd) {}
  absl::Status Send(absl::string_view bytes);
  absl::Status Fill(size_t least);
  absl::StatusOr<Frame> ReadFrame();

  int fd_;
  std::string incoming_;  // bytes of frames
  std::string data_;      // of the call: messages, each behind its five bytes
};

}  // namespace linchpin::bench
