// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How it stands with objects is written beside everything else, however slow that is.

#include <vector>

#include "absl/strings/match.h"
#include "base/mutex.h"
#include "ca/kubernetes/standings.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin::test {
namespace {

using ca::Standing;
using ca::StandingWriter;

// Answers as it is told to, and holds a call as long as it is told to.
class HeldApi final : public kube::Api {
 public:
  absl::StatusOr<std::string> Call(const kube::Request& request) override {
    base::MutexLock lock(mutex_);
    paths_.push_back(request.path);
    changed_.notify_all();
    while (held_ && !(request.stopped != nullptr && request.stopped())) {
      changed_.wait_for(lock, std::chrono::milliseconds(5));
    }
    if (!answer_.ok()) return answer_;
    return "{}";
  }
  absl::Status Stream(const std::string&, absl::Duration,
                      const std::function<bool(absl::string_view)>&,
                      const std::function<bool()>&) override {
    return absl::UnimplementedError("nobody streams here");
  }
  void Hold(bool held) {
    base::MutexLock lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void Answers(absl::Status status) {
    base::MutexLock lock(mutex_);
    answer_ = std::move(status);
  }
  std::vector<std::string> WaitFor(size_t calls) {
    base::MutexLock lock(mutex_);
    changed_.wait(lock, [&] { return paths_.size() >= calls; });
    return paths_;
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  bool held_ = false;
  absl::Status answer_;
  std::vector<std::string> paths_;
};

std::vector<Standing> Policies(int count, const std::string& fault = "") {
  std::vector<Standing> all;
  for (int i = 0; i < count; ++i) {
    const std::string name = "p" + std::to_string(i);
    all.push_back({.name = {.uid = name, .name_space = "shop", .name = name, .generation = 1},
                   .kind = {"PeerPolicy", "peerpolicies"},
                   .fault = fault,
                   .figures = {{"rules", 1}}});
  }
  return all;
}

TEST(StandingWriter, WritesEachOnceUntilItChanges) {
  HeldApi api;
  StandingWriter writer(api, base::SystemClock());
  writer.Tell("policies", Policies(2));
  api.WaitFor(2);
  writer.Tell("policies", Policies(2));
  writer.Tell("policies", Policies(3));
  const auto paths = api.WaitFor(3);
  EXPECT_EQ(paths.back(), "/apis/linchpin.dev/v1alpha1/namespaces/shop/peerpolicies/p2/status");
}

// Whoever tells it goes on at once, and whoever ends it does, too.
TEST(StandingWriter, AnApiServerThatDoesNotAnswerHoldsUpNobody) {
  HeldApi api;
  api.Hold(true);
  {
    StandingWriter writer(api, base::SystemClock());
    for (int i = 1; i <= 1000; ++i) writer.Tell("policies", Policies(1 + i % 10));
    api.WaitFor(1);
  }
  EXPECT_EQ(api.WaitFor(1).size(), 1u);  // the others were not begun
}

TEST(StandingWriter, WhereTheFirstGetsNoAnswerTheOthersAreNotTried) {
  HeldApi api;
  api.Answers(absl::UnavailableError("away"));
  StandingWriter writer(api, base::SystemClock());
  writer.Tell("policies", Policies(100));
  const auto paths = api.WaitFor(2);  // the second is a retry
  EXPECT_EQ(paths[0], paths[1]);
  api.Answers(absl::OkStatus());
  api.WaitFor(102);
}

TEST(StandingWriter, ARefusalIsToldAsAnEventOnce) {
  HeldApi api;
  StandingWriter writer(api, base::SystemClock());
  writer.Tell("policies", Policies(1, "it is nonsense"));
  EXPECT_EQ(api.WaitFor(2)[1], "/api/v1/namespaces/shop/events");
  writer.Tell("policies", Policies(1, "it is nonsense"));
  writer.Tell("policies", Policies(1, "it is other nonsense"));
  const auto paths = api.WaitFor(4);
  EXPECT_TRUE(absl::EndsWith(paths[2], "/p0/status"));
  EXPECT_EQ(paths[3], "/api/v1/namespaces/shop/events");
}

}  // namespace
}  // namespace linchpin::test
