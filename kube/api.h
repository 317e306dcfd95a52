// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The API server of a Kubernetes cluster, as far as Linchpin asks it. A test stands in for it.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace linchpin::kube {

struct Request {
  std::string method = "GET";
  std::string path;               // with its query, from "/"
  std::string body;               // JSON; empty: none
  std::string content_type;       // of the body; empty: application/json
  std::string accept;             // empty: application/json
  std::function<bool()> stopped;  // looked at every second at least; nothing: it is not to be ended
};

// Safe for concurrent use. Calls block.
class Api {
 public:
  // An object is kept in at most 1.5 MiB, of which JSON can be more than six times as much: it
  // escapes '<', '>', '&'.
  static constexpr size_t kMaxReply = size_t{16} << 20;
  static constexpr size_t kMaxLine = size_t{16} << 20;  // of a stream

  virtual ~Api() = default;
  // The body of an answer of class 2xx. Other answers are errors with the server's own message:
  // NOT_FOUND 404, ALREADY_EXISTS 409, OUT_OF_RANGE 410 (a version that it has no more),
  // PERMISSION_DENIED 401 and 403, INVALID_ARGUMENT other 4xx. RESOURCE_EXHAUSTED: the answer is
  // too long to be read. UNAVAILABLE: no answer, 429 or 5xx.
  virtual absl::StatusOr<std::string> Call(const Request& request) = 0;
  // A GET whose answer is lines without an end of its own. OK: it ended, or `on_line` (called in
  // this thread) gave false. `stopped` is looked at every second at least.
  virtual absl::Status Stream(const std::string& path, absl::Duration most,
                              const std::function<bool(absl::string_view)>& on_line,
                              const std::function<bool()>& stopped) = 0;
};

}  // namespace linchpin::kube
