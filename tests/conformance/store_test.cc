// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Every store under the one suite, and what a caller can rely on when a commit breaks.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ca/store/memory_store.h"
#include "ca/store/sqlite_store.h"
#include "tests/conformance/faulty_store.h"
#include "tests/conformance/store_conformance.h"
#include "tests/support/seeded_random.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::test {
namespace {

class SqliteFixture final : public StoreFixture {
 public:
  SqliteFixture() : store_(OpenOne()) {}
  ca::Store& store() override { return *store_; }
  bool Reopen() override {
    store_ = nullptr;
    store_ = OpenOne();
    return true;
  }
  std::unique_ptr<ca::Store> Another() override { return OpenOne(); }

 private:
  std::unique_ptr<ca::Store> OpenOne() {
    auto opened = ca::SqliteStore::Open(directory_.Join("store.db"));
    if (!opened.ok()) ADD_FAILURE() << opened.status();
    return *std::move(opened);
  }
  TempDir directory_;
  std::unique_ptr<ca::Store> store_;
};

class MemoryFixture final : public StoreFixture {
 public:
  ca::Store& store() override { return store_; }

 private:
  ca::MemoryStore store_;
};

// The wrapper itself must keep the contract while nothing breaks.
class WrappedFixture final : public StoreFixture {
 public:
  ca::Store& store() override { return faulty_; }

 private:
  ca::MemoryStore store_;
  FaultyStore faulty_{store_};
};

template <typename Fixture>
StoreKind Kind(const std::string& name) {
  return {name, [] { return std::make_unique<Fixture>(); }};
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreConformance,
                         ::testing::Values(Kind<SqliteFixture>("sqlite"),
                                           Kind<MemoryFixture>("memory"),
                                           Kind<WrappedFixture>("wrapped")),
                         [](const auto& kind) { return kind.param.name; });

using Fault = FaultyStore::Fault;

TEST(FaultyStore, BreaksBeforeOrAfterApplying) {
  ca::MemoryStore memory;
  FaultyStore store(memory, [] { return Fault::kBefore; });
  EXPECT_THAT(store.Commit({{"a", "1", std::nullopt}}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(memory.Get("a"), StatusIs(absl::StatusCode::kNotFound));
  store.SetPlan([] { return Fault::kAfter; });
  EXPECT_THAT(store.Commit({{"a", "1", std::nullopt}}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_OK(memory.Get("a"));
}

// A counter that each round must raise just once, whatever breaks: the pattern of every writer.
void CountThroughFaults(ca::Store& inner, uint64_t seed) {
  SeededRandom random(seed);
  FaultyStore store(inner, [&random] {
    const uint64_t drawn = random.Below(4);
    return drawn == 0 ? Fault::kBefore : drawn == 1 ? Fault::kAfter : Fault::kNone;
  });
  for (int round = 1; round <= 40; ++round) {
    const std::string value = absl::StrCat(round);
    while (true) {
      const absl::StatusOr<ca::Record> seen = store.Get("counter");
      if (seen.ok() && seen->value == value) break;  // it had been applied
      const ca::Revision at = seen.ok() ? seen->revision : 0;
      if (store.Commit({{"counter", value, at}}).ok()) break;
    }
  }
  ASSERT_OK_AND_ASSIGN(const ca::Record counter, inner.Get("counter"));
  EXPECT_EQ(counter.value, "40") << "seed " << seed;
  EXPECT_EQ(counter.revision, 40u) << "seed " << seed << ": something was applied twice";
}

TEST(FaultyStore, ReadingBeforeWritingAgainAppliesEachChangeOnceInMemory) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    ca::MemoryStore memory;
    CountThroughFaults(memory, seed);
  }
}

TEST(FaultyStore, ReadingBeforeWritingAgainAppliesEachChangeOnceInSqlite) {
  SqliteFixture sqlite;
  CountThroughFaults(sqlite.store(), 7);
}

}  // namespace
}  // namespace linchpin::test
