// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Every parser over its seeds, their beginnings and their neighbours: what fuzzing has found once
// stays found.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/targets.h"
#include "tests/support/seeded_random.h"

namespace linchpin::fuzz {
namespace {

std::vector<std::string> Seeds(const std::string& target) {
  std::vector<std::string> seeds = {"", std::string(1, '\0'), std::string(20 * 1024, '0')};
  const std::string directory = LINCHPIN_SOURCE_DIR "/tests/fuzz/corpus/" + target;
  if (!std::filesystem::exists(directory)) return seeds;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::ifstream file(entry.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return seeds;
}

class Parser : public ::testing::TestWithParam<std::string> {};

TEST_P(Parser, KeepsItsPromisesOnSeeds) {
  for (const std::string& seed : Seeds(GetParam())) Targets().at(GetParam())(seed);
}

TEST_P(Parser, KeepsItsPromisesOnTruncatedSeeds) {
  for (const std::string& seed : Seeds(GetParam())) {
    const size_t step = seed.size() / 64 + 1;
    for (size_t size = 0; size < seed.size(); size += step) {
      Targets().at(GetParam())(absl::string_view(seed).substr(0, size));
    }
  }
}

TEST_P(Parser, KeepsItsPromisesOnDamagedSeeds) {
  test::SeededRandom random(1);
  for (std::string seed : Seeds(GetParam())) {
    for (int i = 0; i < 64 && !seed.empty(); ++i) {
      const size_t at = random.Below(seed.size());
      const char before = seed[at];
      seed[at] = static_cast<char>(random.Next());
      Targets().at(GetParam())(seed);
      if (random.OneIn(2)) seed[at] = before;
    }
  }
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& [name, target] : Targets()) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(All, Parser, ::testing::ValuesIn(Names()),
                         [](const auto& param_info) { return param_info.param; });

}  // namespace
}  // namespace linchpin::fuzz
