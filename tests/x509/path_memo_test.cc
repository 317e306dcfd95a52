// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/x509/golden.h"
#include "x509/path.h"

namespace linchpin::x509 {
namespace {

const Chain& Path() {
  static const auto& path = *new Chain{Golden("leaf"), Golden("issuer"), Golden("root")};
  return path;
}

TEST(PathMemo, AnswersTheSecondTime) {
  PathMemo memo;
  EXPECT_EQ(memo.Find("key", GoldenNow()), std::nullopt);
  memo.Insert("key", Path(), {});
  EXPECT_EQ(memo.Find("key", GoldenNow()), Path());
  EXPECT_EQ(memo.Find("another", GoldenNow()), std::nullopt);
  EXPECT_EQ(memo.hits(), 1u);
  EXPECT_EQ(memo.misses(), 2u);
}

// RFC 5280 §4.1.2.5: "The validity period for a certificate is the period of time from notBefore
// through notAfter, inclusive."
TEST(PathMemo, ChecksTheTimesOfEveryCertificateAtEachUse) {
  absl::Time first = absl::InfinitePast();
  absl::Time last = absl::InfiniteFuture();
  for (const Certificate& certificate : Path()) {
    first = std::max(first, certificate.fields().not_before);
    last = std::min(last, certificate.fields().not_after);
  }
  const absl::Duration tick = absl::Nanoseconds(1);
  for (const absl::Duration skew : {absl::ZeroDuration(), absl::Seconds(60)}) {
    PathMemo memo;
    memo.Insert("key", Path(), skew);
    EXPECT_FALSE(memo.Find("key", first - skew - tick).has_value());
    EXPECT_TRUE(memo.Find("key", first - skew).has_value());
    EXPECT_TRUE(memo.Find("key", last).has_value());
    EXPECT_FALSE(memo.Find("key", last + tick).has_value());  // the skew is on NotBefore only
    EXPECT_TRUE(memo.Find("key", GoldenNow()).has_value());
    EXPECT_EQ(memo.hits(), 3u);
  }
}

TEST(PathMemo, TheLastPathOfAKeyIsItsPath) {
  PathMemo memo(1);
  memo.Insert("key", {Golden("leaf"), Golden("issuer-expired"), Golden("root")}, {});
  EXPECT_FALSE(memo.Find("key", GoldenNow()).has_value());
  memo.Insert("key", Path(), {});
  EXPECT_EQ(memo.Find("key", GoldenNow()), Path());
}

TEST(PathMemo, ForgetsTheLeastRecentlyUsedFirst) {
  PathMemo memo(2);
  memo.Insert("a", Path(), {});
  memo.Insert("b", Path(), {});
  EXPECT_TRUE(memo.Find("a", GoldenNow()).has_value());
  memo.Insert("c", Path(), {});
  EXPECT_TRUE(memo.Find("a", GoldenNow()).has_value());
  EXPECT_FALSE(memo.Find("b", GoldenNow()).has_value());
  EXPECT_TRUE(memo.Find("c", GoldenNow()).has_value());
}

TEST(PathMemo, IsSafeForConcurrentUse) {
  PathMemo memo(2);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 500; ++round) {
        const std::string key(1, static_cast<char>('a' + (i + round) % 3));
        if (const auto path = memo.Find(key, GoldenNow()); path && *path != Path()) ++wrong;
        memo.Insert(key, Path(), {});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(memo.hits() + memo.misses(), 2000u);
}

}  // namespace
}  // namespace linchpin::x509
