// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Linux capabilities: what a process may do that its user ID alone does not allow it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace linchpin::base {

// A set of capabilities: bit N is the capability that <linux/capability.h> numbers N.
using Capabilities = uint64_t;

constexpr Capabilities kNoCapabilities = 0;
// Look into processes of other users: who runs which program (/proc/PID/exe).
extern const Capabilities kCapSysPtrace;
// Read files and pass directories that others keep to themselves.
extern const Capabilities kCapDacReadSearch;
// Listen on ports below 1024.
extern const Capabilities kCapNetBindService;

// Gives up, for good, every capability but those of `keep` that the process has: permitted,
// effective, inheritable, ambient and (where CAP_SETPCAP is held) bounding; sets no_new_privs, so
// that no program it might start gets any back. Returns those that are left. It is the calling
// thread's, and of threads that it makes later: call while there is one. INTERNAL if the kernel
// refuses; what was given up until then stays given up.
absl::StatusOr<Capabilities> KeepOnlyCapabilities(Capabilities keep);

// As systemd and capsh write them, "cap_sys_ptrace cap_dac_read_search"; "none".
std::string ToString(Capabilities capabilities);

}  // namespace linchpin::base
