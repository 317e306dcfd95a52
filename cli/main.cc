// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// linchpin: the operator's command.
#include <iostream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/process.h"
#include "cli/commands.h"
#include "x509/locked_heap.h"

int main(int argc, char** argv) {
  // Signers' keys pass through here. Where the kernel locks no memory they are wiped all the same.
  linchpin::base::LeaveNoCore();
  (void)linchpin::x509::UseLockedHeap();
  linchpin::cli::Session session{std::cout, std::cerr, linchpin::base::SystemClock()};
  return linchpin::cli::RunCommand(std::vector<std::string>(argv + 1, argv + argc), session);
}
