// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A seccomp filter: the kernel refuses the system calls that a long-running server never makes and
// that an attacker inside it would want. Why it lists what is refused and not what is allowed:
// docs/decisions/0012.
#pragma once

#include "absl/status/status.h"

namespace linchpin::base {

// For all threads of the process and those to come; for good. What is refused fails with EPERM and
// is logged by the kernel ("type=1326" in its log); a call newer than this list, and clone3, fails
// with ENOSYS unlogged, which libraries answer by using an older one. UNIMPLEMENTED: a kernel
// without seccomp, a processor that the list does not know, or a build with sanitizers (they start
// programs and trace).
absl::Status LoadSyscallFilter();

}  // namespace linchpin::base
