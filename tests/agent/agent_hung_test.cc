// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "absl/strings/str_cat.h"
#include "agent/core/agent_core.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_harness.h"

namespace linchpin::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::vector<std::string> kWeb = {"unix:uid:1"};

// An agent that serves "c" for long enough that its process is known.
struct Serves : AgentHarness {
  Serves() {
    options->boot_id = "boot";
    Join();
    Register("i1", "/web", kWeb, 2);
    Open("c", kWeb);
    Advance(absl::Seconds(3));
  }
  // The agent's restart, of which the process notices nothing.
  void Hang() {
    alive = {"process of c"};
    hellos.clear();
    Restart();
    acks.clear();
  }
  bool Waits() const {
    for (const auto& ack : acks) {
      for (const std::string& gone : ack.gone()) {
        if (gone == "<restart>/i1") return false;
      }
    }
    return hellos.back().consumers_size() == 1 &&
           hellos.back().consumers(0).consumer_id() == "<restart>/i1" &&
           hellos.back().consumers(0).evidence() == ca::v1::NONE;
  }
};

TEST(AgentHung, AServiceThatHangsIsWaitedForUntilItComesBack) {
  Serves agent;
  agent.Hang();
  agent.Advance(absl::Minutes(20));
  EXPECT_TRUE(agent.Waits());
  EXPECT_THAT(agent.acks, SizeIs(0)) << "a row that says nothing new is not sent";
  EXPECT_TRUE(agent.Alarmed("process of c"));
  agent.Open("c", kWeb);
  agent.Advance(absl::Seconds(1));
  EXPECT_FALSE(agent.Waits()) << "it has a row of its own";
}

TEST(AgentHung, AServiceThatHangsIsWaitedForUntilItEnds) {
  Serves agent;
  agent.Hang();
  agent.Advance(absl::Minutes(20));
  agent.Do(agent::event::ProcessExited{"process of another"});
  EXPECT_TRUE(agent.Waits());
  agent.Do(agent::event::ProcessExited{"process of c"});
  EXPECT_FALSE(agent.Waits());
}

TEST(AgentHung, AServiceThatHangsIsWaitedForUntilItsCertificateExpires) {
  Serves agent;
  agent.Hang();
  agent.Advance(absl::Minutes(58));
  EXPECT_TRUE(agent.Waits());
  agent.Advance(absl::Minutes(2));
  EXPECT_FALSE(agent.Waits());
}

TEST(AgentHung, ALaterCertificateCountsAlthoughItCameAfterTheProcessWasSealed) {
  Serves agent;
  agent.Advance(absl::Minutes(40));  // it was renewed meanwhile
  agent.Hang();
  agent.Advance(absl::Minutes(25));
  EXPECT_TRUE(agent.Waits());
}

TEST(AgentHung, AServiceThatHangsIsWaitedForAfterASecondRestart) {
  Serves agent;
  agent.Hang();
  agent.Advance(absl::Minutes(1));
  agent.Hang();
  agent.Advance(absl::Minutes(20));
  EXPECT_TRUE(agent.Waits());
}

TEST(AgentHung, AServiceThatIsBackIsNotWaitedForTwice) {
  Serves agent;
  agent.Hang();
  agent.Open("c", kWeb);
  agent.Advance(absl::Seconds(31));
  EXPECT_FALSE(agent.Waits()) << "others would have come back by now";
  EXPECT_FALSE(agent.Alarmed("process of c"));
}

TEST(AgentHung, AnotherBootsProcessIsNobody) {
  Serves agent;
  agent.options->boot_id = "another";
  agent.Hang();
  EXPECT_TRUE(agent.Waits());
  agent.Advance(absl::Seconds(31));
  EXPECT_FALSE(agent.Waits());
}

TEST(AgentHung, WithoutANameForTheBootNothingIsSealed) {
  Serves agent;
  agent.options->boot_id = "";
  agent.Hang();
  agent.Register("i2", "/other", {"unix:uid:2"}, 3);
  EXPECT_EQ(agent.sealed->served().processes_size(), 0);
}

TEST(AgentHung, DamagedRecordsLoseNobodyElse) {
  Serves agent;
  state::v1::ServedProcesses* served = agent.sealed->mutable_served();
  ASSERT_EQ(served->processes_size(), 1);
  const state::v1::ServedProcess good = served->processes(0);
  served->clear_processes();
  served->add_processes();
  served->add_processes()->set_process("process of c");
  state::v1::ServedProcess* bad = served->add_processes();
  bad->set_process("process of c");
  (*bad->mutable_identities())["i1"] = "no ID at all";
  agent.Hang();
  EXPECT_TRUE(agent.Waits()) << "somebody may come back";
  agent.Advance(absl::Seconds(31));
  EXPECT_FALSE(agent.Waits());
  *agent.sealed->mutable_served()->add_processes() = good;
  agent.sealed->mutable_served()->set_boot_id("boot");
  agent.Hang();
  agent.Advance(absl::Minutes(20));
  EXPECT_TRUE(agent.Waits());
}

TEST(AgentHung, AnIdentityThatWasWithdrawnIsWaitedForToo) {
  Serves agent;
  agent.Unregister("i1", 3);
  agent.Hang();
  EXPECT_TRUE(agent.Waits());
  agent.Advance(absl::Minutes(20));
  EXPECT_TRUE(agent.Waits()) << "the process goes on with its certificate";
}

TEST(AgentHung, WhoHoldsNoTrustIsNotWaitedFor) {
  Serves agent;
  agent.Open("d", kWeb, ca::v1::NONE);
  agent.Advance(absl::Seconds(3));
  agent.Register("i2", "/other", {"unix:uid:2"}, 3);
  ASSERT_EQ(agent.sealed->served().processes_size(), 1);
  EXPECT_EQ(agent.sealed->served().processes(0).process(), "process of c");
}

TEST(AgentHung, CallersThatComeAndGoCostNoWrite) {
  Serves agent;
  agent.log.clear();
  for (int i = 0; i < 20; ++i) {
    const std::string name = absl::StrCat("call ", i);
    agent.Open(name, kWeb);
    agent.Advance(absl::Milliseconds(700));
    agent.Do(agent::event::ConsumerClosed{name});
    agent.Do(agent::event::ProcessExited{"process of " + name});
  }
  agent.Advance(absl::Seconds(5));
  EXPECT_EQ(agent.CountLog("seal"), 0u);
}

TEST(AgentHung, ProcessesThatComeTogetherAreOneWrite) {
  Serves agent;
  agent.log.clear();
  for (int i = 0; i < 20; ++i) {
    agent.Open(absl::StrCat("service ", i), kWeb);
    agent.Advance(absl::Milliseconds(10));
  }
  agent.Advance(absl::Seconds(5));
  EXPECT_EQ(agent.sealed->served().processes_size(), 21);
  EXPECT_LE(agent.CountLog("seal"), 2u);
  agent.log.clear();
  agent.Advance(absl::Minutes(1));
  EXPECT_EQ(agent.CountLog("seal"), 0u) << "nobody has come";
}

TEST(AgentHung, NoMoreProcessesAreSealedThanTheLimit) {
  Serves agent;
  for (size_t i = 0; i < agent::kMaxServedSealed; ++i) agent.Open(absl::StrCat("p", i), kWeb);
  agent.Advance(absl::Seconds(3));
  ASSERT_EQ(agent.sealed->served().processes_size(), static_cast<int>(agent::kMaxServedSealed));
  agent.Do(agent::event::ConsumerClosed{"c"});
  agent.Do(agent::event::ProcessExited{"process of c"});
  agent.Advance(absl::Seconds(30));
  bool still = false;
  for (const auto& one : agent.sealed->served().processes()) {
    still = still || one.process() == "process of c";
  }
  EXPECT_FALSE(still);
  EXPECT_EQ(agent.sealed->served().processes_size(), static_cast<int>(agent::kMaxServedSealed));
}

TEST(ServedList, IsNotHeldUpByAClockThatIsSetBack) {
  agent::ServedList list;
  const auto served = [](const agent::ProcessId&) {
    return agent::ServedProcess{.identities = {{"i1", "spiffe://example.org/web"}},
                                .expires_at = kNow};
  };
  list.Served("p", {{"i1", "spiffe://example.org/web"}});
  EXPECT_FALSE(list.Look(kNow, served));
  list.ClockSetBack(kNow - absl::Hours(1));
  EXPECT_EQ(list.NextLook(), kNow - absl::Hours(1) + agent::ServedList::kStays);
  EXPECT_TRUE(list.Look(list.NextLook(), served));
  EXPECT_EQ(list.NextLook(), absl::InfiniteFuture());
}

TEST(ServedList, AnIdentityThatIsAddedToAProcessIsWorthAWrite) {
  agent::ServedList list;
  agent::ServedProcess is{.identities = {{"i1", "spiffe://example.org/web"}}, .expires_at = kNow};
  const auto served = [&is](const agent::ProcessId&) { return is; };
  list.Restore({{"p", is}});
  list.Served("p", {{"i1", ""}});
  EXPECT_FALSE(list.Look(kNow, served));
  EXPECT_EQ(list.NextLook(), absl::InfiniteFuture()) << "it is known";
  is.identities["i2"] = "spiffe://example.org/more";
  list.Served("p", {{"i1", ""}, {"i2", ""}});
  EXPECT_FALSE(list.Look(kNow, served));
  EXPECT_TRUE(list.Look(kNow + agent::ServedList::kStays, served));
}

TEST(ServedProcesses, AreReadAsTheyWereWritten) {
  const agent::ServedProcesses served = {
      {"7.100",
       {.identities = {{"i1", "spiffe://example.org/web"}, {"i2", "spiffe://example.org/more"}},
        .expires_at = kNow}},
      {"9.100", {.identities = {{"i1", "spiffe://example.org/web"}}, .expires_at = kNow}}};
  EXPECT_EQ(agent::DecodeServed(agent::EncodeServed(served, "boot")), served);
  EXPECT_EQ(agent::EncodeServed(served, "").processes_size(), 0);
}

}  // namespace
}  // namespace linchpin::test
