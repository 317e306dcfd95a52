// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/hex.h"

#include <gtest/gtest.h>

namespace linchpin::base {
namespace {

TEST(BytesOfHex, ReadsPairsOfDigitsOfEitherCase) {
  EXPECT_EQ(BytesOfHex("00fFA1"), std::string("\0\xff\xa1", 3));
  EXPECT_EQ(BytesOfHex(""), "");
}

TEST(BytesOfHex, RefusesAllElse) {
  for (const char* text : {"0", "0x", "0x1f", " 1", "-1", "1 ", "1f\n", "a1:b2", "g0", "0g"}) {
    EXPECT_EQ(BytesOfHex(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace linchpin::base
