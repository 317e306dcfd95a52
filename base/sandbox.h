// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a program gives up once it knows what it is told to do, so that whoever takes it over gets
// little with it: capabilities and dangerous system calls.
#pragma once

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

// Before there is a second thread. Logs what is given up. True if all of it is; the error, in mode
// kRequired alone, says what is not.
absl::StatusOr<bool> EnterSandbox(SandboxMode mode, Capabilities keep);

// CAP_NET_BIND_SERVICE if `address`, HOST:PORT, has a port that needs it.
Capabilities CapabilityToListenOn(absl::string_view address);

}  // namespace linchpin::base
