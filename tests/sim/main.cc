// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// linchpin-sim --seeds N [--first K]: runs N seeds and says which one breaks a rule, and how.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>

#include "tests/sim/simulation.h"

int main(int argc, char** argv) {
  CLI::App app("The production cores of the CA, the agents and the SDK under a seeded simulation");
  uint64_t seeds = 100;
  uint64_t first = 1;
  app.add_option("--seeds", seeds, "how many seeds to run")->check(CLI::Range(1, 100000000));
  app.add_option("--first", first, "the first seed");
  size_t nodes = 0;
  app.add_option("--nodes", nodes, "how many nodes; without it, a few, as the seed says")
      ->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);

  const std::clock_t began = std::clock();
  linchpin::sim::Outcome total;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const linchpin::sim::Outcome outcome = linchpin::sim::Simulate({seed, nodes});
    if (!outcome.clean) {
      std::printf(
          "%s\nseed %lu breaks a rule; replay it with:\n  ./dev sim --seeds 1 --first %lu\n",
          outcome.report.c_str(), seed, seed);
      return 1;
    }
    total.steps += outcome.steps;
    total.passed += outcome.passed;
    total.refused += outcome.refused;
    total.softened += outcome.softened;
    total.lies += outcome.lies;
    total.rotations += outcome.rotations;
    total.disasters += outcome.disasters;
    if ((seed - first + 1) % 100 == 0) {
      std::fprintf(stderr, "%lu seeds, %zu events\n", seed - first + 1, total.steps);
    }
  }
  const double cpu = static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
  std::printf(
      "%lu seeds clean: %zu events (%.0f a second of CPU), %zu rotations, %zu copies put back, %zu "
      "handshakes passed, "
      "%zu refused as they "
      "should be, %zu forged ones let through by pins that were rightly softened, %zu lies told\n",
      seeds, total.steps, static_cast<double>(total.steps) / cpu, total.rotations, total.disasters,
      total.passed, total.refused, total.softened, total.lies);
  return 0;
}
