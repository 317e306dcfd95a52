// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// linchpin: the operator's command.
#include <iostream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/commands.h"

int main(int argc, char** argv) {
  linchpin::cli::Session session{std::cout, std::cerr, linchpin::base::SystemClock()};
  return linchpin::cli::RunCommand(std::vector<std::string>(argv + 1, argv + argc), session);
}
