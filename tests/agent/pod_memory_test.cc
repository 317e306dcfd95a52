// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/pod_memory.h"

#include <optional>

#include "base/durable_file.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"
#include "x509/sealing.h"

namespace linchpin::test {
namespace {

using agent::PodMemory;
using agent::PodTable;

kube::Pod Web() {
  return {.uid = "u1",
          .name_space = "shop",
          .name = "web-1",
          .account = "web",
          .node = "node1",
          .labels = {{"app", "web"}, {"empty", ""}},
          .containers = {{"main", "c1", "localhost/web:1", "localhost/web@sha256:aa"}}};
}

kube::Pod Mirror() {
  return {.uid = "m1",
          .name_space = "kube-system",
          .name = "static-node1",
          .node = "node1",
          .static_uid = "5a7c"};
}

x509::SecretBytes Key(char of) { return x509::SecretBytes(std::string(x509::kSealingKeySize, of)); }

class PodMemoryTest : public testing::Test {
 protected:
  // A process's life: what it knew before, then these pods, then its end.
  std::optional<kube::Pod> Live(const std::vector<kube::Pod>& pods,
                                const std::string& node = "node1", char key = 'k') {
    PodTable table;
    PodMemory memory({path_, Key(key)}, node, table, base::SystemClock());
    table.OnChange([&memory](const std::string&) { memory.Changed(); });
    memory.Recall();
    const auto known = table.Find("u1");
    for (const kube::Pod& pod : pods) table.Take(pod);
    return known == nullptr ? std::nullopt : std::make_optional(*known);
  }

  const TempDir dir_;
  const std::string path_ = dir_.path() + "/pods.sealed";
};

TEST_F(PodMemoryTest, ThePodsOfBeforeAreThereWithAllThatWasKnown) {
  EXPECT_EQ(Live({Web(), Mirror()}), std::nullopt);
  EXPECT_EQ(Live({}), Web());
  EXPECT_EQ(Live({}), Web());  // what changed nothing lost nothing
  PodTable table;
  PodMemory memory({path_, Key('k')}, "node1", table, base::SystemClock());
  memory.Recall();
  ASSERT_NE(table.Find("5a7c"), nullptr);  // by its mirror
  EXPECT_EQ(*table.Find("5a7c"), Mirror());
}

TEST_F(PodMemoryTest, TheListOfTheApiServerIsBelievedBeforeIt) {
  Live({Web()});
  PodTable table;
  PodMemory memory({path_, Key('k')}, "node1", table, base::SystemClock());
  memory.Recall();
  table.ListBegins();
  table.Failed(absl::UnavailableError("away"));
  EXPECT_NE(table.Find("u1"), nullptr);
  table.ListBegins();
  table.ListEnds();
  EXPECT_EQ(table.Find("u1"), nullptr);
}

TEST_F(PodMemoryTest, OfAnotherNodeNothingIsTaken) {
  Live({Web()});
  EXPECT_EQ(Live({}, "node2"), std::nullopt);
}

TEST_F(PodMemoryTest, WhatIsDamagedOrOfAnotherKeyIsAsIfItWereNotThere) {
  Live({Web()});
  EXPECT_EQ(Live({}, "node1", 'x'), std::nullopt);
  EXPECT_EQ(Live({}), Web());
  ASSERT_OK_AND_ASSIGN(std::string bytes, base::ReadFile(path_, 1 << 20));
  EXPECT_EQ(bytes.find("shop"), std::string::npos);
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_OK(base::WriteFileDurably(path_, bytes, 0600));
  EXPECT_EQ(Live({Web()}), std::nullopt);
  EXPECT_EQ(Live({}), Web());
}

}  // namespace
}  // namespace linchpin::test
