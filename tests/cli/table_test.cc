// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/table.h"

#include "gtest/gtest.h"

namespace linchpin::cli {
namespace {

TEST(Table, AlignsItsColumnsAndLeavesNoTrailingSpace) {
  Table table({"NAME", "STATE"});
  table.Add({"a", "attested"});
  table.Add({"long-name", ""});
  EXPECT_EQ(table.ToString(),
            "NAME       STATE\n"
            "a          attested\n"
            "long-name\n");
}

TEST(Table, PrintsNoHeaderWhereItHasNone) {
  Table table;
  table.Add({"sha256:x", "root"});
  EXPECT_EQ(table.ToString(), "sha256:x  root\n");
}

TEST(Table, CountsCharactersAndNotBytes) {
  Table table;
  table.Add({"żółw", "1"});
  table.Add({"wolf", "2"});
  EXPECT_EQ(table.ToString(), "żółw  1\nwolf  2\n");
}

TEST(Table, LetsNoCellForgeALine) {
  Table table;
  table.Add({"a\nb\x1b[2J", "c"});
  EXPECT_EQ(table.ToString(), "a?b?[2J  c\n");
}

TEST(Table, TakesRowsOfDifferentLengths) {
  Table table({"A"});
  table.Add({"1", "2", "3"});
  table.Add({});
  EXPECT_EQ(table.ToString(), "A\n1  2  3\n\n");
}

}  // namespace
}  // namespace linchpin::cli
