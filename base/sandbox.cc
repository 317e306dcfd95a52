// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/sandbox.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/syscall_filter.h"

namespace linchpin::base {
namespace {

constexpr int kFirstUnprivilegedPort = 1024;

}  // namespace

absl::StatusOr<SandboxMode> ParseSandboxMode(absl::string_view text) {
  if (text.empty() || text == "on") return SandboxMode::kOn;
  if (text == "required") return SandboxMode::kRequired;
  if (text == "off") return SandboxMode::kOff;
  return absl::InvalidArgumentError(
      absl::StrCat("--sandbox (sandbox) is '", text, "'; on, required or off is expected"));
}

absl::StatusOr<Sandbox> EnterSandbox(SandboxMode mode, Capabilities keep) {
  if (mode == SandboxMode::kOff) {
    return Sandbox{.missing = "it is off: this process keeps its capabilities and system calls"};
  }
  absl::Status entered = absl::OkStatus();
  const absl::StatusOr<Capabilities> left = KeepOnlyCapabilities(keep);
  entered.Update(left.status());
  entered.Update(LoadSyscallFilter());
  if (mode == SandboxMode::kRequired && !entered.ok()) {
    return absl::Status(entered.code(),
                        absl::StrCat("the sandbox cannot be entered: ", entered.message(),
                                     "; start with --sandbox on to go on without"));
  }
  return Sandbox{.entered = entered.ok(),
                 .capabilities = left.value_or(kNoCapabilities),
                 .missing = std::string(entered.message())};
}

void LogSandbox(const Sandbox& sandbox) {
  if (sandbox.entered) {
    LogInfo("sandboxed", {{"capabilities", ToString(sandbox.capabilities)}});
  } else {
    LogWarning("goes on without the whole sandbox", {{"why", sandbox.missing}});
  }
}

Capabilities CapabilityToListenOn(absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port)) {
    return kNoCapabilities;
  }
  return port > 0 && port < kFirstUnprivilegedPort ? kCapNetBindService : kNoCapabilities;
}

}  // namespace linchpin::base
