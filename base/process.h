// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a program that holds keys asks of the kernel for itself. Call at start.
#pragma once

namespace linchpin::base {

// No core dump in a file.
void LeaveNoCore();

// That, and no other process of the same user may read this one's memory (ptrace,
// /proc/PID/mem). What the kernel refuses stays as it is.
void KeepMemoryPrivate();

// As many open files as the hard limit allows. What the kernel refuses stays as it is.
void RaiseOpenFiles();

}  // namespace linchpin::base
