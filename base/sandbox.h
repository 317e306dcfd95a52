// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a program gives up once it knows what it is told to do, so that whoever takes it over gets
// little with it: capabilities and dangerous system calls.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/capabilities.h"

namespace linchpin::base {

enum class SandboxMode {
  kOn,        // gives up what the kernel lets it give up, and warns of the rest
  kRequired,  // does not start without all of it
  kOff,       // for kernels and debuggers that it gets in the way of
};

// "on" (also for an empty text), "required" or "off"; else INVALID_ARGUMENT.
absl::StatusOr<SandboxMode> ParseSandboxMode(absl::string_view text);

struct Sandbox {
  bool entered = false;         // all of it
  Capabilities capabilities{};  // that are left
  std::string missing;          // what the kernel refused, or that it is off
};

// Before there is a second thread. The error, in mode kRequired alone, says what is missing. Logs
// nothing: a start that fails later is to end with one line.
absl::StatusOr<Sandbox> EnterSandbox(SandboxMode mode, Capabilities keep);
void LogSandbox(const Sandbox& sandbox);

// CAP_NET_BIND_SERVICE if `address`, HOST:PORT, has a port that needs it.
Capabilities CapabilityToListenOn(absl::string_view address);

}  // namespace linchpin::base
