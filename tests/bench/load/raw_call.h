// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One gRPC call at a time on a connection of its own to a Unix socket, in bare HTTP/2: what a call
// costs the server is to be seen, and gRPC's client costs more than what is seen.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::bench {

struct RawRequest {
  std::string path;           // "/package.Service/Method"
  std::string message;        // serialised; the only one
  std::string header, value;  // one more, if its name is not empty
};

class RawCall {
 public:
  // Connects and asks. UNAVAILABLE: nobody listens (yet).
  static absl::StatusOr<RawCall> Start(const std::string& socket, const RawRequest& request);
  RawCall(RawCall&& other) noexcept;
  RawCall& operator=(RawCall&&) = delete;
  ~RawCall();  // closes the connection

  // Cancels the call and asks again, on the same connection.
  absl::Status Again(const RawRequest& request);

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
  uint32_t stream_ = 1;
};

}  // namespace linchpin::bench
