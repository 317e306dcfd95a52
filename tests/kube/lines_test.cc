// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/lines.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin::kube {
namespace {

using testing::ElementsAre;

class LinesTest : public testing::Test {
 protected:
  absl::Status Add(absl::string_view piece) {
    return lines_.Add(piece, [this](absl::string_view line) {
      seen_.emplace_back(line);
      return seen_.size() < most_;
    });
  }
  Lines lines_{8};
  std::vector<std::string> seen_;
  size_t most_ = 100;
};

TEST_F(LinesTest, AreWholeHoweverTheyCome) {
  EXPECT_TRUE(Add("one\ntw").ok());
  EXPECT_TRUE(Add("o").ok());
  EXPECT_TRUE(Add("\n\nthr").ok());
  EXPECT_TRUE(Add("ee\n").ok());
  EXPECT_THAT(seen_, ElementsAre("one", "two", "", "three"));
}

TEST_F(LinesTest, WithoutAnEndAreNotSeen) {
  EXPECT_TRUE(Add("12345678").ok());
  EXPECT_TRUE(seen_.empty());
}

TEST_F(LinesTest, TooLongAreRefusedBeforeTheirEnd) {
  EXPECT_TRUE(Add("12345678").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Add("9")));
  EXPECT_TRUE(seen_.empty());
}

TEST_F(LinesTest, EndWhereTheReaderHasEnough) {
  most_ = 1;
  EXPECT_TRUE(Add("a\nb\nc\n").ok());
  EXPECT_THAT(seen_, ElementsAre("a"));
}

}  // namespace
}  // namespace linchpin::kube
