// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Another program, run to its end. No shell.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace linchpin::base {

// The words of a command line, at spaces; single and double quotes keep spaces, and nothing else
// has a meaning. INVALID_ARGUMENT: none, or a quote that does not end.
absl::StatusOr<std::vector<std::string>> SplitCommand(absl::string_view command);

// Runs words[0], found on PATH, with nothing to read and its output on our standard error, and
// waits. OK: it exited with 0. ABORTED: with another code, or by a signal. DEADLINE_EXCEEDED: it
// took longer; it and what it started in its process group are killed. NOT_FOUND,
// PERMISSION_DENIED: it could not be started. Blocks; any thread.
absl::Status RunProgram(const std::vector<std::string>& words, absl::Duration timeout);

}  // namespace linchpin::base
