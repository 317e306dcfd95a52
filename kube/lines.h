// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Lines out of pieces. Pure.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace linchpin::kube {

class Lines {
 public:
  explicit Lines(size_t longest) : longest_(longest) {}
  // Calls `on_line` for each line that is complete, without its end, until that gives false.
  // RESOURCE_EXHAUSTED: a line that is longer than the longest.
  absl::Status Add(absl::string_view piece, const std::function<bool(absl::string_view)>& on_line);

 private:
  const size_t longest_;
  std::string begun_;
};

}  // namespace linchpin::kube
