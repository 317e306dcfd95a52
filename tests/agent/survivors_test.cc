// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/survivors.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::SizeIs;

// A process that does nothing until it is killed.
class Child {
 public:
  Child() : pid_(fork()) {
    while (pid_ == 0) pause();
  }
  ~Child() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }
  uint64_t start_time() const {
    const auto stat = base::ReadFile(absl::StrCat("/proc/", pid_, "/stat"), 8192);
    return rpc::ParseStartTime(*stat).value();
  }

 private:
  pid_t pid_;
};

agent::Survivors Find(const std::vector<std::string>& names) {
  state::v1::ServedProcesses served;
  for (const std::string& name : names) served.add_processes()->set_process(name);
  return agent::FindSurvivors(served);
}

TEST(Survivors, AreThoseThatStillRun) {
  Child child;
  const std::string name = absl::StrCat(child.pid(), ".", child.start_time());
  const agent::Survivors survivors = Find({name});
  ASSERT_THAT(survivors, ElementsAre(Key(name)));
  EXPECT_TRUE(survivors.at(name)->IsAlive());
  child.Kill();
  EXPECT_FALSE(survivors.at(name)->IsAlive());
  EXPECT_THAT(Find({name}), IsEmpty());
}

TEST(Survivors, AreNotThoseWhoGotTheNumberOfOne) {
  Child child;
  EXPECT_THAT(Find({absl::StrCat(child.pid(), ".", child.start_time() - 1)}), IsEmpty());
}

TEST(Survivors, ANameThatIsNoneHidesNobody) {
  Child child;
  const std::string name = absl::StrCat(child.pid(), ".", child.start_time());
  EXPECT_THAT(
      Find({"", "1", ".", "x.1", "1.x", "-1.1", "0.0", "99999999999.1", "<files i1>", name}),
      ElementsAre(Key(name)));
}

TEST(Survivors, TheKernelNamesItsBoot) {
  EXPECT_THAT(agent::BootId(), SizeIs(36));
  EXPECT_EQ(agent::BootId(), agent::BootId());
}

}  // namespace
}  // namespace linchpin::test
