// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/conformance/store_conformance.h"

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using ca::Record;
using ca::Revision;
using ca::Store;
using ca::Write;

Write Put(std::string key, std::string value, std::optional<Revision> expected = std::nullopt) {
  return {std::move(key), std::move(value), expected};
}
Write Delete(std::string key, std::optional<Revision> expected = std::nullopt) {
  return {std::move(key), std::nullopt, expected};
}

// Commits, whatever breaks on the way, as a careful caller must: reads before writing again.
Revision PutSurely(Store& store, const std::string& key, const std::string& value) {
  while (true) {
    const absl::StatusOr<Revision> done = store.Commit({Put(key, value)});
    if (done.ok()) return *done;
    const absl::StatusOr<Record> found = store.Get(key);
    if (found.ok() && found->value == value) return found->revision;
  }
}

std::string Describe(const std::vector<Store::Changed>& changed) {
  std::string text;
  for (const Store::Changed& change : changed) {
    absl::StrAppend(&text, change.deleted ? "-" : "+", change.key, "@", change.revision, " ");
  }
  return text;
}

TEST_P(StoreConformance, CountsRevisionsFromOneAndByOne) {
  EXPECT_THAT(store().Commit({Put("a", "1")}), IsOkAndHolds(Revision{1}));
  EXPECT_THAT(store().Commit({Put("b", "2"), Put("c", "3")}), IsOkAndHolds(Revision{2}));
  ASSERT_OK_AND_ASSIGN(const Record a, store().Get("a"));
  EXPECT_EQ(a.value, "1");
  EXPECT_EQ(a.revision, 1u);
  ASSERT_OK_AND_ASSIGN(const Record c, store().Get("c"));
  EXPECT_EQ(c.revision, 2u);
}

TEST_P(StoreConformance, KeepsAnyBytesAndTellsAnEmptyValueFromNone) {
  const std::string key("k\0\xff key", 7);
  const std::string value("\0\x01\xfe'\"", 5);
  ASSERT_OK(store().Commit({Put(key, value), Put("empty", "")}));
  ASSERT_OK_AND_ASSIGN(const Record record, store().Get(key));
  EXPECT_EQ(record.value, value);
  ASSERT_OK_AND_ASSIGN(const Record empty, store().Get("empty"));
  EXPECT_EQ(empty.value, "");
  EXPECT_THAT(store().Get("none"), StatusIs(absl::StatusCode::kNotFound, "none"));
}

TEST_P(StoreConformance, AppliesAllWritesOfABatchOrNone) {
  ASSERT_OK(store().Commit({Put("a", "1")}));
  EXPECT_THAT(store().Commit({Put("b", "2"), Put("a", "3", 7)}),
              StatusIs(absl::StatusCode::kAborted, "\"a\""));
  EXPECT_THAT(store().Get("b"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store().Commit({Put("b", "2")}), IsOkAndHolds(Revision{2}));
}

TEST_P(StoreConformance, ChecksTheRevisionThatTheWriterSaw) {
  ASSERT_OK(store().Commit({Put("a", "1", 0)}));
  EXPECT_THAT(store().Commit({Put("a", "2", 0)}), StatusIs(absl::StatusCode::kAborted));
  ASSERT_OK(store().Commit({Put("a", "2", 1)}));
  EXPECT_THAT(store().Commit({Delete("a", 1)}), StatusIs(absl::StatusCode::kAborted));
  ASSERT_OK(store().Commit({Delete("a", 2)}));
  EXPECT_THAT(store().Commit({Put("a", "3", 3)}), StatusIs(absl::StatusCode::kAborted));
  ASSERT_OK(store().Commit({Put("a", "3", 0)}));
}

TEST_P(StoreConformance, RefusesABatchOverItsLimitsOrWithAKeyTwice) {
  const auto invalid = StatusIs(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(store().Commit({}), invalid);
  EXPECT_THAT(store().Commit({Put("", "1")}), invalid);
  EXPECT_THAT(store().Commit({Put("a", "1"), Put("a", "2")}), invalid);
  EXPECT_THAT(store().Commit({Put(std::string(Store::kMaxKeyBytes + 1, 'k'), "")}), invalid);
  EXPECT_THAT(store().Commit({Put("a", std::string(Store::kMaxValueBytes + 1, 'v'))}), invalid);
  std::vector<Write> many;
  for (size_t i = 0; i <= Store::kMaxBatch; ++i) many.push_back(Put(absl::StrCat("k", i), ""));
  EXPECT_THAT(store().Commit(many), invalid);
  many.pop_back();
  many[0].value = std::string(Store::kMaxValueBytes, 'v');
  many[1].key = std::string(Store::kMaxKeyBytes, 'k');
  EXPECT_THAT(store().Commit(many), IsOkAndHolds(Revision{1}));
}

TEST_P(StoreConformance, ListsByPrefixInOrderOfKeys) {
  ASSERT_OK(store().Commit({Put("node/b", "2"), Put("node/a", "1"), Put("node", "x"),
                            Put("node0", "x"), Put("node/\xff", "3"), Put("zzz", "x")}));
  ASSERT_OK(store().Commit({Delete("zzz")}));
  ASSERT_OK_AND_ASSIGN(const Store::Listing nodes, store().List("node/"));
  EXPECT_EQ(nodes.at, 2u);
  ASSERT_EQ(nodes.records.size(), 3u);
  EXPECT_EQ(nodes.records[0].key, "node/a");
  EXPECT_EQ(nodes.records[1].key, "node/b");
  EXPECT_EQ(nodes.records[2].key, "node/\xff");
  ASSERT_OK_AND_ASSIGN(const Store::Listing all, store().List(""));
  EXPECT_EQ(all.records.size(), 5u);
}

TEST_P(StoreConformance, ListsAPrefixThatNoKeyCanExceed) {
  ASSERT_OK(store().Commit({Put("\xff\xff", "1"), Put("\xff\xff\x01", "2"), Put("a", "3")}));
  ASSERT_OK_AND_ASSIGN(const Store::Listing listing, store().List("\xff\xff"));
  EXPECT_EQ(listing.records.size(), 2u);
}

TEST_P(StoreConformance, TellsEachChangedKeyOnceWithItsLastRevision) {
  ASSERT_OK(store().Commit({Put("a", "1"), Put("b", "1")}));
  ASSERT_OK(store().Commit({Put("c", "1")}));
  ASSERT_OK(store().Commit({Put("a", "2")}));
  ASSERT_OK(store().Commit({Delete("c")}));
  ASSERT_OK_AND_ASSIGN(const auto all, store().ChangesAfter(0, 100));
  EXPECT_EQ(Describe(all), "+b@1 +a@3 -c@4 ");
  ASSERT_OK_AND_ASSIGN(const auto later, store().ChangesAfter(3, 100));
  EXPECT_EQ(Describe(later), "-c@4 ");
  ASSERT_OK_AND_ASSIGN(const auto none, store().ChangesAfter(4, 100));
  EXPECT_EQ(Describe(none), "");
}

TEST_P(StoreConformance, DeletingWhatIsNotThereChangesNoKey) {
  ASSERT_OK(store().Commit({Put("a", "1"), Delete("b")}));
  ASSERT_OK(store().Commit({Delete("a")}));
  ASSERT_OK(store().Commit({Delete("a")}));
  ASSERT_OK_AND_ASSIGN(const auto changed, store().ChangesAfter(0, 100));
  EXPECT_EQ(Describe(changed), "-a@2 ");
}

TEST_P(StoreConformance, NeverSplitsARevisionBetweenTwoPagesOfChanges) {
  ASSERT_OK(store().Commit({Put("a", "1"), Put("b", "1"), Put("c", "1")}));
  ASSERT_OK(store().Commit({Put("d", "1"), Put("e", "1")}));
  ASSERT_OK(store().Commit({Put("f", "1")}));
  ASSERT_OK_AND_ASSIGN(const auto over, store().ChangesAfter(0, 2));
  EXPECT_EQ(Describe(over), "+a@1 +b@1 +c@1 ");
  ASSERT_OK_AND_ASSIGN(const auto four, store().ChangesAfter(0, 4));
  EXPECT_EQ(Describe(four), "+a@1 +b@1 +c@1 ");
  ASSERT_OK_AND_ASSIGN(const auto five, store().ChangesAfter(0, 5));
  EXPECT_EQ(Describe(five), "+a@1 +b@1 +c@1 +d@2 +e@2 ");
  ASSERT_OK_AND_ASSIGN(const auto rest, store().ChangesAfter(2, 1));
  EXPECT_EQ(Describe(rest), "+f@3 ");
}

TEST_P(StoreConformance, OneOfTwoWritersThatSawTheSameRevisionWins) {
  constexpr int kRounds = 50;
  constexpr int kWriters = 2;
  std::unique_ptr<Store> other = fixture_->Another();
  Store* const stores[kWriters] = {&store(), other ? other.get() : &store()};
  std::atomic<int> won{0};
  std::atomic<int> unexpected{0};
  std::vector<std::thread> writers;
  for (Store* mine : stores) {
    writers.emplace_back([mine, &won, &unexpected] {
      for (int round = 0; round < kRounds;) {
        const absl::StatusOr<Record> seen = mine->Get("counter");
        const std::string next =
            seen.ok() ? absl::StrCat(std::stoi(seen->value) + 1) : std::string("1");
        const absl::StatusOr<Revision> done =
            mine->Commit({Put("counter", next, seen.ok() ? seen->revision : 0)});
        if (done.ok()) {
          ++won;
          ++round;
        } else if (done.status().code() != absl::StatusCode::kAborted) {
          ++unexpected;
          ++round;
        }
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(unexpected, 0);
  EXPECT_EQ(won, kWriters * kRounds);
  ASSERT_OK_AND_ASSIGN(const Record counter, store().Get("counter"));
  EXPECT_EQ(counter.value, absl::StrCat(kWriters * kRounds));
  EXPECT_EQ(counter.revision, Revision{kWriters * kRounds});
}

TEST_P(StoreConformance, EveryRevisionIsSeenByAReaderThatFollowsTheChanges) {
  constexpr int kCommits = 100;
  std::thread writer([this] {
    for (int i = 0; i < kCommits; ++i) PutSurely(store(), absl::StrCat("key", i), "x");
  });
  Revision cursor = 0;
  int seen = 0;
  while (seen < kCommits) {
    const auto changed = store().ChangesAfter(cursor, 7);
    ASSERT_OK(changed);
    for (const Store::Changed& change : *changed) {
      EXPECT_EQ(change.revision, cursor + 1);
      cursor = change.revision;
      ++seen;
    }
  }
  writer.join();
}

TEST_P(StoreConformance, KeepsEverythingWhenItIsOpenedAgain) {
  ASSERT_OK(store().Commit({Put("a", "1"), Put("b", "2")}));
  ASSERT_OK(store().Commit({Delete("b")}));
  if (!fixture_->Reopen()) GTEST_SKIP() << "nothing outlives the process";
  ASSERT_OK_AND_ASSIGN(const Record a, store().Get("a"));
  EXPECT_EQ(a.value, "1");
  ASSERT_OK_AND_ASSIGN(const auto changed, store().ChangesAfter(0, 10));
  EXPECT_EQ(Describe(changed), "+a@1 -b@2 ");
  EXPECT_THAT(store().Commit({Put("c", "3", 0)}), IsOkAndHolds(Revision{3}));
}

TEST_P(StoreConformance, HintsItsWatcherAfterACommit) {
  std::promise<void> hinted;
  std::atomic<bool> first{true};
  store().Watch([&] {
    if (first.exchange(false)) hinted.set_value();
  });
  ASSERT_OK(store().Commit({Put("a", "1")}));
  EXPECT_EQ(hinted.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  store().Watch({});
}

TEST_P(StoreConformance, HintsItsWatcherOfTheCommitsOfAnotherHandle) {
  std::unique_ptr<Store> other = fixture_->Another();
  if (other == nullptr) GTEST_SKIP() << "has one handle only";
  std::promise<void> hinted;
  std::atomic<bool> first{true};
  store().Watch([&] {
    if (first.exchange(false)) hinted.set_value();
  });
  ASSERT_OK(other->Commit({Put("a", "1")}));
  EXPECT_EQ(hinted.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  store().Watch({});
}

TEST_P(StoreConformance, NeverCallsAWatcherThatWasEnded) {
  std::atomic<int> calls{0};
  store().Watch([&] { ++calls; });
  store().Watch({});
  const int before = calls;
  ASSERT_OK(store().Commit({Put("a", "1")}));
  std::promise<void> hinted;
  std::atomic<bool> first{true};
  store().Watch([&] {
    if (first.exchange(false)) hinted.set_value();
  });
  ASSERT_OK(store().Commit({Put("a", "2")}));
  hinted.get_future().wait_for(std::chrono::seconds(30));
  EXPECT_EQ(calls, before);
  store().Watch({});
}

}  // namespace
}  // namespace linchpin::test
