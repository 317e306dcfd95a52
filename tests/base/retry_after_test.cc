// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/retry_after.h"

#include "absl/strings/cord.h"
#include "gtest/gtest.h"

namespace linchpin::test {
namespace {

TEST(RetryAfter, IsReadBackAsSaid) {
  for (const absl::Duration delay :
       {absl::ZeroDuration(), absl::Milliseconds(250), absl::Seconds(90) + absl::Nanoseconds(1)}) {
    const absl::Status status = base::WithRetryAfter(absl::ResourceExhaustedError("full"), delay);
    EXPECT_EQ(status.message(), "full");
    EXPECT_EQ(base::RetryAfter(status), delay);
  }
}

TEST(RetryAfter, IsNeverNegativeNorOverADay) {
  const absl::Status full = absl::ResourceExhaustedError("full");
  EXPECT_EQ(base::RetryAfter(base::WithRetryAfter(full, -absl::Hours(1))), absl::ZeroDuration());
  EXPECT_EQ(base::RetryAfter(base::WithRetryAfter(full, absl::InfiniteDuration())),
            absl::Hours(24));
}

TEST(RetryAfter, IsNothingWhereItIsNotSaidOrGarbage) {
  absl::Status status = absl::ResourceExhaustedError("full");
  EXPECT_EQ(base::RetryAfter(status), std::nullopt);
  for (const std::string& garbage :
       {std::string(), std::string("\x0a"), std::string("\x0a\x05garbage"), std::string(100, 'x'),
        std::string("\x0a\x02\x08\xff", 4), std::string("\x0a\xff", 2)}) {
    status.SetPayload(base::kRetryInfoType, absl::Cord(garbage));
    EXPECT_EQ(base::RetryAfter(status), std::nullopt);
  }
}

// As google.rpc.RetryInfo{retry_delay: {seconds: 2, nanos: 5}} is on the wire.
TEST(RetryAfter, HasTheBytesOfRetryInfo) {
  const absl::Status status =
      base::WithRetryAfter(absl::UnavailableError(""), absl::Seconds(2) + absl::Nanoseconds(5));
  EXPECT_EQ(*status.GetPayload(base::kRetryInfoType), absl::Cord("\x0a\x04\x08\x02\x10\x05"));
}

}  // namespace
}  // namespace linchpin::test
