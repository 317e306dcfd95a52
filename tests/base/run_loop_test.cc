// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/run_loop.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace linchpin::base {
namespace {

using ::linchpin::test::FakeClock;
using ::linchpin::test::StatusIs;

constexpr auto kGenerous = std::chrono::seconds(30);

TEST(RunLoop, RunsPostedWorkInOrderAndEverythingBeforeStop) {
  RunLoop loop(SystemClock());
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) ASSERT_OK(loop.Post([&order, i] { order.push_back(i); }));
  loop.Stop();
  loop.Run();
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(RunLoop, TakesNoWorkAfterStop) {
  RunLoop loop(SystemClock());
  loop.Stop();
  EXPECT_THAT(loop.Post([] {}), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(loop.PostAfter(absl::Seconds(1), [] {}), 0u);
}

TEST(RunLoop, RefusesWorkBeyondItsLimit) {
  RunLoop loop(SystemClock());
  for (size_t i = 0; i < RunLoop::kMaxQueued; ++i) ASSERT_OK(loop.Post([] {}));
  EXPECT_THAT(loop.Post([] {}), StatusIs(absl::StatusCode::kResourceExhausted, "65536"));
}

TEST(RunLoop, TakesAnEndHoweverMuchWaits) {
  RunLoop loop(SystemClock());
  for (size_t i = 0; i < RunLoop::kMaxQueued; ++i) ASSERT_OK(loop.Post([] {}));
  bool ended = false;
  loop.PostEnd([&] { ended = true; });
  loop.Stop();
  loop.Run();
  EXPECT_TRUE(ended);
}

TEST(RunLoop, RefusesTimersBeyondItsLimit) {
  RunLoop loop(SystemClock());
  for (size_t i = 0; i < RunLoop::kMaxQueued; ++i) {
    ASSERT_NE(loop.PostAfter(absl::Hours(1), [] {}), 0u);
  }
  EXPECT_EQ(loop.PostAfter(absl::Hours(1), [] {}), 0u);
}

TEST(RunLoop, RunsTimersByTheirTimeAndNotByTheirOrder) {
  RunLoop loop(SystemClock());
  std::vector<int> order;
  loop.PostAfter(absl::Milliseconds(20), [&] {
    order.push_back(2);
    loop.Stop();
  });
  loop.PostAfter(absl::Milliseconds(1), [&] { order.push_back(1); });
  loop.PostAfter(absl::ZeroDuration(), [&] { order.push_back(0); });
  loop.Run();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST(RunLoop, AJumpOfTheWallClockFiresNoTimer) {
  FakeClock clock;
  RunLoop loop(clock);
  bool fired = false;
  loop.PostAfter(absl::Hours(1), [&] { fired = true; });
  clock.Jump(clock.Now() + absl::Hours(48));
  ASSERT_OK(loop.Post([&] { loop.Stop(); }));
  loop.Run();
  EXPECT_FALSE(fired);
}

TEST(RunLoop, ATimerFiresWhenUptimeReachesIt) {
  FakeClock clock;
  RunLoop loop(clock);
  loop.PostAfter(absl::Hours(1), [&] { loop.Stop(); });
  clock.Advance(absl::Hours(1));
  loop.Run();
}

TEST(RunLoop, ACancelledTimerNeverRuns) {
  FakeClock clock;
  RunLoop loop(clock);
  bool fired = false;
  const TimerId cancelled = loop.PostAfter(absl::Seconds(1), [&] { fired = true; });
  const TimerId other = loop.PostAfter(absl::Seconds(1), [&] { loop.Stop(); });
  EXPECT_TRUE(loop.Cancel(cancelled));
  EXPECT_FALSE(loop.Cancel(cancelled));
  clock.Advance(absl::Seconds(2));
  loop.Run();
  EXPECT_FALSE(fired);
  EXPECT_FALSE(loop.Cancel(other));
}

TEST(RunLoop, KnowsItsOwnThread) {
  RunLoop loop(SystemClock());
  EXPECT_FALSE(loop.InLoop());
  bool inside = false;
  ASSERT_OK(loop.Post([&] { inside = loop.InLoop(); }));
  loop.Stop();
  loop.Run();
  EXPECT_TRUE(inside);
  EXPECT_FALSE(loop.InLoop());
}

TEST(RunLoop, WorkIsDoneInTheCallersThreadWhenNothingElseRunsOrWaits) {
  RunLoop loop(SystemClock());
  std::thread thread([&] { loop.Run(); });
  std::promise<void> idle;
  ASSERT_OK(loop.Post([&] { idle.set_value(); }));
  idle.get_future().wait();
  bool here = false;
  while (!here) {  // the loop may not have come to rest
    std::promise<void> done;
    ASSERT_OK(loop.RunOrPost([&] {
      EXPECT_TRUE(loop.InLoop());
      here = std::this_thread::get_id() != thread.get_id();
      done.set_value();
    }));
    done.get_future().wait();
  }
  EXPECT_FALSE(loop.InLoop());
  loop.Stop();
  thread.join();
  EXPECT_THAT(loop.RunOrPost([] {}), StatusIs(absl::StatusCode::kCancelled));
}

TEST(RunLoop, WhatIsAskedForWhileWorkIsDoneElsewhereFollowsIt) {
  RunLoop loop(SystemClock());
  std::thread thread([&] { loop.Run(); });
  std::vector<int> order;
  std::promise<void> last;
  ASSERT_OK(loop.RunOrPost([&] {
    EXPECT_OK(loop.RunOrPost([&] { order.push_back(2); }));
    EXPECT_OK(loop.Post([&] { order.push_back(3); }));
    loop.PostAfter(absl::ZeroDuration(), [&] {
      order.push_back(4);
      last.set_value();
    });
    order.push_back(1);
  }));
  ASSERT_EQ(last.get_future().wait_for(kGenerous), std::future_status::ready);
  loop.Stop();
  thread.join();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}

TEST(RunLoop, NoTwoPiecesOfWorkRunAtTheSameTimeAndTimersHaveTheirTurn) {
  RunLoop loop(SystemClock());
  std::thread thread([&] { loop.Run(); });
  std::atomic<bool> fired = false;
  int running = 0;
  int total = 0;
  const auto work = [&] {
    EXPECT_EQ(++running, 1);
    ++total;
    --running;
  };
  loop.PostAfter(absl::Milliseconds(1), [&] {
    work();
    fired = true;
  });
  constexpr int kThreads = 4;
  std::atomic<int> asked = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 5000 || !fired; ++n) {
        ++asked;
        const bool posted = (n + i) % 3 == 0;
        while (!(posted ? loop.Post(work) : loop.RunOrPost(work)).ok()) std::this_thread::yield();
      }
    });
  }
  for (std::thread& one : threads) one.join();
  loop.Stop();
  thread.join();
  EXPECT_EQ(total, asked + 1);
}

TEST(RunLoop, WorkFromOtherThreadsWakesIt) {
  RunLoop loop(SystemClock());
  std::thread thread([&] { loop.Run(); });
  int total = 0;
  std::vector<std::thread> posters;
  for (int i = 0; i < 4; ++i) {
    posters.emplace_back([&] {
      for (int k = 0; k < 1000; ++k) EXPECT_OK(loop.Post([&total] { ++total; }));
    });
  }
  for (std::thread& poster : posters) poster.join();
  std::promise<int> result;
  ASSERT_OK(loop.Post([&] { result.set_value(total); }));
  auto future = result.get_future();
  ASSERT_EQ(future.wait_for(kGenerous), std::future_status::ready);
  EXPECT_EQ(future.get(), 4000);
  loop.Stop();
  thread.join();
}

// In a process of its own: signals and their masks are the whole process's.
TEST(OnSignalsDeathTest, HandsTerminationToTheHandler) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::promise<int> got;
        OnSignals([&](int number) { got.set_value(number); });
        kill(getpid(), SIGTERM);
        _exit(got.get_future().get() == SIGTERM ? 7 : 8);
      },
      ::testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace linchpin::base
