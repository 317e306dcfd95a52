// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/http2_gate.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace linchpin::rpc {
namespace {

constexpr char kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPush = 5, kPing = 6,
               kContinuation = 9;
constexpr char kEndHeaders = 4;
constexpr absl::Duration kNow = absl::Seconds(1000);

std::string Header(size_t length, char type, char flags = 0) {
  return {static_cast<char>(length >> 16),
          static_cast<char>(length >> 8),
          static_cast<char>(length),
          type,
          flags,
          0,
          0,
          0,
          1};
}
std::string Frame(size_t length, char type, char flags = 0) {
  return Header(length, type, flags) + std::string(length, 'x');
}

class Http2GateTest : public ::testing::Test {
 protected:
  Http2GateTest() { EXPECT_TRUE(Pass(std::string(24, 'P') + Frame(36, kSettings))); }

  bool Pass(const std::string& bytes, absl::Duration now = kNow) {
    const Http2Gate::Verdict verdict = gate_.Look(bytes, now);
    opened_ += verdict.opened;
    return verdict.pass;
  }

  Http2Gate gate_;
  size_t opened_ = 0;
};

TEST_F(Http2GateTest, CallsPassAndAreCounted) {
  std::string calls;
  for (int i = 0; i < 10; ++i) {
    absl::StrAppend(&calls, Frame(200, kHeaders, kEndHeaders), Frame(5, kData), Frame(8, kPing));
  }
  EXPECT_TRUE(Pass(calls));
  EXPECT_EQ(opened_, 10u);
  for (const char byte : calls) EXPECT_TRUE(Pass(std::string(1, byte)));
  EXPECT_EQ(opened_, 20u) << "however it is cut";
}

TEST_F(Http2GateTest, AMessageMayBeLong) { EXPECT_TRUE(Pass(Frame(1 << 20, kData))); }

TEST_F(Http2GateTest, AHeaderBlockEnds) {
  EXPECT_TRUE(Pass(Frame(8192, kHeaders)));
  EXPECT_TRUE(Pass(Frame(8192, kContinuation, kEndHeaders)));
  EXPECT_TRUE(Pass(Frame(16384, kHeaders, kEndHeaders))) << "each has its own measure";
  EXPECT_TRUE(Pass(Frame(16384, kHeaders)));
  EXPECT_FALSE(Pass(Header(1, kContinuation)));
}

TEST_F(Http2GateTest, ManyEmptyContinuationsAreTooManyFrames) {
  EXPECT_TRUE(Pass(Header(0, kHeaders)));
  size_t frames = 0;
  while (Pass(Header(0, kContinuation))) ++frames;
  EXPECT_LE(frames, static_cast<size_t>(Http2Gate::kFramesAtOnce));
  EXPECT_GT(frames, Http2Gate::kFramesAtOnce / 2);
}

TEST_F(Http2GateTest, NothingComesBetweenTheFramesOfABlock) {
  EXPECT_TRUE(Pass(Frame(10, kHeaders)));
  EXPECT_FALSE(Pass(Header(5, kData)));
}

TEST_F(Http2GateTest, AContinuationContinuesSomething) {
  EXPECT_FALSE(Pass(Header(5, kContinuation, kEndHeaders)));
}

TEST_F(Http2GateTest, ClientsDoNotPush) { EXPECT_FALSE(Pass(Header(5, kPush, kEndHeaders))); }

TEST_F(Http2GateTest, ControlFramesAreShort) {
  for (const char type : {kSettings, kPing, kReset, kHeaders, static_cast<char>(200)}) {
    Http2Gate gate;
    EXPECT_FALSE(gate.Look(std::string(24, 'P') + Header(16385, type), kNow).pass) << int{type};
  }
}

TEST_F(Http2GateTest, FramesAreAllowedSoManyASecond) {
  const std::string ping = Frame(8, kPing);
  while (Pass(ping)) {
  }
  EXPECT_FALSE(Pass(ping));
  const absl::Duration later = kNow + absl::Seconds(1);
  for (int i = 0; i < static_cast<int>(Http2Gate::kFramesASecond); ++i) {
    ASSERT_TRUE(Pass(ping, later)) << i;
  }
  EXPECT_FALSE(Pass(ping, later));
}

TEST(Allowance, WhatWasTakenBeyondItIsWaitedFor) {
  Allowance allowance(10, 2);
  allowance.Charge(10, absl::Seconds(100));
  EXPECT_LE(allowance.FreeAt(), absl::Seconds(100));
  allowance.Charge(6, absl::Seconds(100));
  EXPECT_EQ(allowance.FreeAt(), absl::Seconds(103));
  allowance.Charge(0, absl::Seconds(102));
  EXPECT_EQ(allowance.FreeAt(), absl::Seconds(103));
  EXPECT_FALSE(allowance.Take(1, absl::Seconds(103)));
  EXPECT_TRUE(allowance.Take(2, absl::Seconds(104)));
}

TEST(Allowance, NeverGrowsBeyondWhatIsAllowedAtOnce) {
  Allowance allowance(10, 1);
  EXPECT_TRUE(allowance.Take(10, kNow));
  EXPECT_FALSE(allowance.Take(1, kNow));
  EXPECT_FALSE(allowance.Take(11, kNow + absl::Hours(1)));
  EXPECT_TRUE(allowance.Take(10, kNow + absl::Hours(1)));
}

}  // namespace
}  // namespace linchpin::rpc
