// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/user_queues.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using agent::UserQueues;

constexpr auto kDeadline = std::chrono::seconds(60);

// Work that is stuck until it is let go. It may outlive this object.
class Stuck {
 public:
  base::Work Work() {
    return [state = state_] {
      state->begun.set_value();
      state->go.get_future().wait();
    };
  }
  bool AwaitBegun() {
    return state_->begun.get_future().wait_for(kDeadline) == std::future_status::ready;
  }
  void LetGo() { state_->go.set_value(); }

 private:
  struct State {
    std::promise<void> begun;
    std::promise<void> go;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

bool IsDone(UserQueues& queues, uid_t user) {
  auto done = std::make_shared<std::promise<void>>();
  std::future<void> future = done->get_future();
  EXPECT_OK(queues.Post(user, [done] { done->set_value(); }));
  return future.wait_for(kDeadline) == std::future_status::ready;
}

TEST(UserQueues, AStuckUserDelaysNobodyElse) {
  UserQueues queues;
  std::vector<Stuck> stuck(UserQueues::kMaxThreads - 1);
  for (size_t i = 0; i < stuck.size(); ++i) {
    ASSERT_OK(queues.Post(static_cast<uid_t>(i), stuck[i].Work()));
    ASSERT_TRUE(stuck[i].AwaitBegun());
  }
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(IsDone(queues, static_cast<uid_t>(1000 + i)));
  for (Stuck& one : stuck) one.LetGo();
  EXPECT_TRUE(IsDone(queues, 0));
}

TEST(UserQueues, AUsersWorkIsDoneInOrderOneAtATime) {
  UserQueues queues;
  Stuck first;
  ASSERT_OK(queues.Post(7, first.Work()));
  ASSERT_TRUE(first.AwaitBegun());
  std::vector<int> order;  // of one user's work alone
  for (int i = 0; i < 1000; ++i) ASSERT_OK(queues.Post(7, [&order, i] { order.push_back(i); }));
  EXPECT_TRUE(order.empty());
  first.LetGo();
  ASSERT_TRUE(IsDone(queues, 7));
  ASSERT_EQ(order.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(UserQueues, WhatWaitsForAStuckUserIsBounded) {
  UserQueues queues;
  Stuck first;
  ASSERT_OK(queues.Post(7, first.Work()));
  ASSERT_TRUE(first.AwaitBegun());
  std::promise<void> last;
  for (size_t i = 1; i < UserQueues::kMaxQueuedOfUser; ++i) ASSERT_OK(queues.Post(7, [] {}));
  ASSERT_OK(queues.Post(7, [&last] { last.set_value(); }));
  EXPECT_THAT(queues.Post(7, [] {}), StatusIs(absl::StatusCode::kResourceExhausted, "user 7"));
  EXPECT_TRUE(IsDone(queues, 8));
  first.LetGo();
  EXPECT_EQ(last.get_future().wait_for(kDeadline), std::future_status::ready);
}

TEST(UserQueues, IdsThatOneUserMayHaveByTheThousandLeaveHalfOfTheThreadsToOthers) {
  UserQueues queues;
  std::vector<Stuck> crowd(UserQueues::kMaxThreads);
  for (size_t i = 0; i < crowd.size(); ++i) {
    ASSERT_OK(queues.Post(UserQueues::kCrowdBegins + static_cast<uid_t>(i), crowd[i].Work()));
    if (i < UserQueues::kMaxThreadsOfCrowd) {
      ASSERT_TRUE(crowd[i].AwaitBegun());
    }
  }
  std::vector<Stuck> accounts(UserQueues::kMaxThreads - UserQueues::kMaxThreadsOfCrowd - 1);
  for (size_t i = 0; i < accounts.size(); ++i) {
    ASSERT_OK(queues.Post(static_cast<uid_t>(1000 + i), accounts[i].Work()));
    ASSERT_TRUE(accounts[i].AwaitBegun());
  }
  EXPECT_TRUE(IsDone(queues, 0));
  for (Stuck& one : crowd) one.LetGo();
  for (Stuck& one : crowd) {
    if (&one - crowd.data() >= static_cast<ptrdiff_t>(UserQueues::kMaxThreadsOfCrowd)) {
      EXPECT_TRUE(one.AwaitBegun()) << "the crowd's turn comes";
    }
  }
  for (Stuck& one : accounts) one.LetGo();
  EXPECT_TRUE(IsDone(queues, UserQueues::kCrowdBegins));
}

TEST(UserQueues, AStopIsNotHeldUpForEverByOneWhoIsStuck) {
  UserQueues queues;
  Stuck first;
  ASSERT_OK(queues.Post(7, first.Work()));
  ASSERT_TRUE(first.AwaitBegun());
  EXPECT_FALSE(queues.Stop(absl::Milliseconds(1)));
  EXPECT_THAT(queues.Post(8, [] {}), StatusIs(absl::StatusCode::kCancelled));
  first.LetGo();
  EXPECT_TRUE(queues.Stop());
}

TEST(UserQueues, StopsAfterWhatIsBeingDoneAndDropsTheRest) {
  auto queues = std::make_unique<UserQueues>();
  Stuck first;
  auto dropped = std::make_shared<int>(0);
  ASSERT_OK(queues->Post(7, first.Work()));
  ASSERT_TRUE(first.AwaitBegun());
  ASSERT_OK(queues->Post(7, [dropped] { ++*dropped; }));
  std::future<void> stopped = std::async(std::launch::async, [&queues] { queues->Stop(); });
  while (queues->Post(8, [] {}).ok()) std::this_thread::yield();
  first.LetGo();
  ASSERT_EQ(stopped.wait_for(kDeadline), std::future_status::ready);
  EXPECT_EQ(*dropped, 0);
  EXPECT_EQ(dropped.use_count(), 1);
}

}  // namespace
}  // namespace linchpin::test
