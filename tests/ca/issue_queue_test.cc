// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/issue_queue.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

ca::event::IssueAsked Asked(ca::CallId call, const std::string& node, size_t certificates = 1,
                            absl::Time held_until = absl::InfinitePast()) {
  ca::event::IssueAsked asked{.call = call, .caller = {node, "key"}, .items = {}};
  asked.items.resize(certificates, {"identity", "request", held_until});
  return asked;
}

std::vector<ca::CallId> Begin(ca::IssueQueue& queue) {
  std::vector<ca::CallId> calls;
  while (auto next = queue.Next()) calls.push_back(next->call);
  return calls;
}

// Everything that waits, in its order, each done before the next is begun.
std::vector<ca::CallId> Order(ca::IssueQueue& queue) {
  std::vector<ca::CallId> calls;
  while (auto next = queue.Next()) {
    calls.push_back(next->call);
    queue.Done(next->items.size());
  }
  return calls;
}

TEST(IssueQueue, BeginsAtOnceWhatIsAskedAlone) {
  ca::IssueQueue queue;
  EXPECT_THAT(queue.Add(Asked(1, "a", 64)), IsEmpty());
  EXPECT_THAT(Begin(queue), ElementsAre(1));
  EXPECT_FALSE(queue.idle());
  queue.Done(64);
  EXPECT_TRUE(queue.idle());
}

TEST(IssueQueue, HasOnlySoMuchUnderWay) {
  ca::IssueQueue queue;
  for (ca::CallId call = 1; call <= 5; ++call) queue.Add(Asked(call, absl::StrCat("n", call), 256));
  EXPECT_THAT(Begin(queue), ElementsAre(1, 2));
  EXPECT_GT(queue.Backlog(), absl::ZeroDuration());
  queue.Done(256);
  EXPECT_THAT(Begin(queue), ElementsAre(3));
}

TEST(IssueQueue, AFloodWaitsBehindItselfNotBeforeOthers) {
  ca::IssueQueue queue;
  for (ca::CallId call = 1; call <= 30; ++call) queue.Add(Asked(call, "flood", 256));
  EXPECT_THAT(Begin(queue), ElementsAre(1, 2));
  queue.Add(Asked(100, "quiet"));
  queue.Done(256);
  EXPECT_EQ(queue.Next()->call, 100u);
}

TEST(IssueQueue, CountsSharesInCertificates) {
  ca::IssueQueue queue;
  for (ca::CallId call = 1; call <= 3; ++call) queue.Add(Asked(call, "big", 100));
  for (ca::CallId call = 11; call <= 18; ++call) queue.Add(Asked(call, "small", 50));
  // After the first of each, two small ones for each big one.
  EXPECT_THAT(Order(queue), ElementsAre(1, 11, 12, 2, 13, 14, 3, 15, 16, 17, 18));
}

TEST(IssueQueue, GoesByUrgencyAmongTheCallsOfANode) {
  ca::IssueQueue queue;
  queue.Add(Asked(1, "a", 1, kNow + absl::Hours(12)));
  queue.Add(Asked(2, "a", 1, kNow - absl::Hours(1)));
  queue.Add(Asked(3, "a", 1, kNow + absl::Minutes(1)));
  queue.Add(Asked(4, "a"));
  queue.Add(Asked(5, "a", 1, kNow + absl::Minutes(1)));
  EXPECT_THAT(Order(queue), ElementsAre(4, 2, 3, 5, 1));
}

TEST(IssueQueue, GoesByUrgencyAmongNodesThatHadTheSame) {
  ca::IssueQueue queue;
  queue.Add(Asked(1, "a", 1, kNow + absl::Hours(12)));
  queue.Add(Asked(2, "b", 1, kNow + absl::Minutes(1)));
  queue.Add(Asked(3, "c"));
  EXPECT_THAT(Order(queue), ElementsAre(3, 2, 1));
}

TEST(IssueQueue, UrgencyWinsNothingFromANodeThatHadLess) {
  ca::IssueQueue queue;
  queue.Add(Asked(1, "liar", 256));
  queue.Add(Asked(2, "other", 256));
  EXPECT_THAT(Begin(queue), ElementsAre(1, 2));
  for (ca::CallId call = 3; call <= 9; ++call) queue.Add(Asked(call, "liar"));
  queue.Add(Asked(20, "honest", 1, kNow + absl::Hours(12)));
  queue.Done(256);
  EXPECT_EQ(queue.Next()->call, 20u);
}

TEST(IssueQueue, ANodeThatComesBackDoesNotBeginAnew) {
  ca::IssueQueue queue;
  queue.Add(Asked(1, "other", 100, kNow));
  queue.Add(Asked(2, "other", 100, kNow));
  queue.Add(Asked(3, "liar", 100));
  EXPECT_EQ(queue.Next()->call, 3u);
  queue.Done(100);
  queue.Add(Asked(4, "liar", 100));  // it waits for nothing, but has had its share
  EXPECT_EQ(queue.Next()->call, 1u);
}

TEST(IssueQueue, ANodeBeyondItsBoundLosesItsLeastUrgentCall) {
  ca::IssueQueue queue;
  for (size_t i = 0; i < ca::IssueQueue::kMaxCallsOfNode; ++i) {
    EXPECT_THAT(queue.Add(Asked(i, "a", 1, kNow + absl::Seconds(i))), IsEmpty());
  }
  const auto urgent = queue.Add(Asked(100, "a"));
  ASSERT_THAT(urgent, SizeIs(1));
  EXPECT_EQ(urgent[0].call, ca::IssueQueue::kMaxCallsOfNode - 1);
  const auto late = queue.Add(Asked(101, "a", 1, kNow + absl::Hours(1)));
  ASSERT_THAT(late, SizeIs(1));
  EXPECT_EQ(late[0].call, 101u);
  EXPECT_EQ(queue.calls(), ca::IssueQueue::kMaxCallsOfNode);
}

TEST(IssueQueue, BoundsTheBytesOfANode) {
  ca::IssueQueue queue;
  ca::event::IssueAsked large = Asked(1, "a");
  large.items[0].request = std::string(ca::IssueQueue::kMaxBytesOfNode + 1, 'x');
  EXPECT_THAT(queue.Add(std::move(large)), SizeIs(1));
  EXPECT_TRUE(queue.idle());
  EXPECT_THAT(queue.Add(Asked(2, "a")), IsEmpty());
}

TEST(IssueQueue, WhenAllIsFullTheGreediestLoses) {
  ca::IssueQueue queue;
  for (size_t i = 0; i + 2 < ca::IssueQueue::kMaxCalls; ++i) {
    ASSERT_THAT(queue.Add(Asked(i, absl::StrCat("n", i), 1, kNow)), IsEmpty());
  }
  for (ca::CallId call : {1'000'000, 1'000'001}) {
    ASSERT_THAT(queue.Add(Asked(call, "greedy", 1, kNow + absl::Seconds(call))), IsEmpty());
  }
  const auto out = queue.Add(Asked(5, "newcomer", 1, kNow));
  ASSERT_THAT(out, SizeIs(1));
  EXPECT_EQ(out[0].call, 1'000'001u);
  // Now all have one: the least urgent of all loses.
  const auto least = queue.Add(Asked(6, "another", 1, kNow));
  ASSERT_THAT(least, SizeIs(1));
  EXPECT_EQ(least[0].call, 1'000'000u);
}

TEST(IssueQueue, WhenBytesAreFullWhoeverHoldsMostLosesNotWhoComesLast) {
  ca::IssueQueue queue;
  const size_t hogs = ca::IssueQueue::kMaxBytes / ca::IssueQueue::kMaxBytesOfNode + 1;
  std::vector<ca::event::IssueAsked> out;
  for (size_t i = 0; i < 100; ++i) queue.Add(Asked(i, absl::StrCat("small", i), 1, kNow));
  for (size_t i = 0; i < hogs; ++i) {
    ca::event::IssueAsked large = Asked(1000 + i, absl::StrCat("hog", i));
    large.items[0].request = std::string(ca::IssueQueue::kMaxBytesOfNode - 1000, 'x');
    for (auto& refused : queue.Add(std::move(large))) out.push_back(std::move(refused));
  }
  ASSERT_THAT(out, SizeIs(1));
  EXPECT_GE(out[0].call, 1000u);
}

TEST(IssueQueue, TakesNoMoreThanIsDoneBeforeCallersGiveUp) {
  ca::IssueQueue queue;
  const size_t calls = ca::IssueQueue::kMaxCertificates / 256;
  for (size_t i = 0; i < calls; ++i) {
    ASSERT_THAT(queue.Add(Asked(i, absl::StrCat("n", i), 256, kNow)), IsEmpty());
  }
  EXPECT_THAT(queue.Add(Asked(calls, "late", 256, kNow)), SizeIs(1));
}

// Of nodes that come and go, and lose calls to bounds of each kind.
TEST(IssueQueue, TheGreediestIsWhoHoldsMostWhenItIsAsked) {
  ca::IssueQueue queue;
  size_t waits = 0;
  for (ca::CallId call = 0; call < 3; ++call, ++waits) queue.Add(Asked(call, "b", 1, kNow));
  for (ca::CallId call = 10; call < 14; ++call, ++waits) queue.Add(Asked(call, "a", 1, kNow));
  for (int i = 0; i < 2; ++i, --waits) {  // one of each
    const auto next = queue.Next();
    ASSERT_TRUE(next.has_value());
    queue.Done(next->items.size());
  }
  queue.Add(Asked(20, "b", 1, kNow));
  queue.Add(Asked(21, "b", 1, kNow));  // now b has four and a has three
  for (waits += 2; waits < ca::IssueQueue::kMaxCalls; ++waits) {
    ASSERT_THAT(queue.Add(Asked(100 + waits, absl::StrCat("n", waits), 1, kNow)), IsEmpty());
  }
  std::vector<ca::CallId> out;
  for (ca::CallId call = 10'000; call < 10'005; ++call) {
    for (auto& refused : queue.Add(Asked(call, absl::StrCat("m", call), 1, kNow))) {
      out.push_back(refused.call);
    }
  }
  // b's latest, then in turn; at two each they go on to one each.
  EXPECT_THAT(out, ElementsAre(21, 20, 13, 2, 12));
  EXPECT_EQ(queue.calls(), ca::IssueQueue::kMaxCalls);
}

TEST(IssueQueue, BeginsNothingTwiceAndLosesNothing) {
  ca::IssueQueue queue;
  size_t taken = 0, refused = 0, asked = 0;
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 40; ++i, ++asked) {
      refused += queue.Add(Asked(asked, absl::StrCat("n", (round * i) % 7), 1 + i % 100)).size();
    }
    for (int i = 0; i < 10; ++i) {
      const auto next = queue.Next();
      ASSERT_TRUE(next.has_value());
      queue.Done(next->items.size());
      ++taken;
    }
  }
  taken += Order(queue).size();
  EXPECT_EQ(taken + refused, asked);
  EXPECT_TRUE(queue.idle());
  EXPECT_EQ(queue.Backlog(), absl::ZeroDuration());
}

}  // namespace
}  // namespace linchpin::test
