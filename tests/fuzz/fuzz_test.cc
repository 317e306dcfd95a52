// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Every parser over its seeds, their beginnings and their neighbours: what fuzzing has found once
// stays found.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/message_mutator.h"
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

// Stands in for libFuzzer's: a byte more, a byte less, or a byte changed.
size_t MutateOneByte(uint8_t* bytes, size_t size, size_t most) {
  static test::SeededRandom random(3);
  if (size < most && random.OneIn(3)) {
    bytes[size] = static_cast<uint8_t>(random.Next());
    return size + 1;
  }
  if (size == 0) return 0;
  if (random.OneIn(3)) return size - 1;
  bytes[random.Below(size)] = static_cast<uint8_t>(random.Next());
  return size;
}

TEST_P(Parser, KeepsItsPromisesOnChangedMessages) {
  const Target& target = Targets().at(GetParam());
  if (target.shape == nullptr) return;
  test::SeededRandom random(2);
  for (const std::string& seed : Seeds(GetParam())) {
    const std::unique_ptr<google::protobuf::Message> message(target.shape->New());
    if (!message->ParseFromString(seed)) continue;
    for (int i = 0; i < 64; ++i) {
      MutateMessage(random, MutateOneByte, message.get());
      const std::string changed = message->SerializeAsString();
      ASSERT_TRUE(message->ParseFromString(changed)) << "the mutator made what does not parse";
      target(changed);
    }
  }
}

TEST(Corpus, HasSeedsForEachTargetAndATargetForEachSeed) {
  const std::filesystem::path corpus = LINCHPIN_SOURCE_DIR "/tests/fuzz/corpus";
  std::set<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
    folders.insert(entry.path().filename());
  }
  std::set<std::string> names;
  for (const auto& [name, target] : Targets()) names.insert(name);
  EXPECT_EQ(folders, names);
}

TEST(Corpus, HasWholeMessagesWhereMessagesAreExpected) {
  for (const auto& [name, target] : Targets()) {
    if (target.shape == nullptr) continue;
    const std::string folder = LINCHPIN_SOURCE_DIR "/tests/fuzz/corpus/" + name;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::unique_ptr<google::protobuf::Message> message(target.shape->New());
      EXPECT_TRUE(message->ParseFromIstream(&file)) << entry.path();
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
