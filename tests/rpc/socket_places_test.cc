// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/socket_places.h"

#include <iterator>
#include <map>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uid_t kRoot = 0;
constexpr uid_t kAlice = 1000;
constexpr uid_t kMallory = 666;
constexpr absl::Duration kNow = absl::Seconds(100);

class SocketPlacesTest : public ::testing::Test {
 protected:
  explicit SocketPlacesTest(const SocketLimits& limits = {.places = 40,
                                                          .places_of_user = 20,
                                                          .kept = 4})
      : places_(limits, {kRoot}) {}

  // The ids that `uid` gets for so many connections, all admitted.
  void Park(uid_t uid, size_t count) {
    for (size_t i = 0; i < count; ++i) EXPECT_TRUE(places_.Park(++last_, uid, kNow).admitted);
  }
  void Serve(uid_t uid, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      Park(uid, 1);
      EXPECT_TRUE(places_.Serve(last_).admitted);
    }
  }
  SocketPlaces::Decision ParkOne(uid_t uid) { return places_.Park(++last_, uid, kNow); }

  ConnectionId last_ = 0;
  SocketPlaces places_;
};

TEST(SocketLimits, LeaveFilesForTheProcessItself) {
  struct {
    uint64_t files, places, of_user, kept;
  } const kCases[] = {{0, 0, 0, 0},
                      {64, 0, 0, 0},
                      {256, 192, 48, 12},
                      {1024, 896, 224, 56},
                      {20000, 18976, 4744, 1186},
                      {1 << 20, 32768, 8192, 2048},
                      {~uint64_t{0}, 32768, 8192, 2048}};
  for (const auto& one : kCases) {
    const SocketLimits limits = SocketLimits::ForOpenFiles(one.files);
    EXPECT_EQ(limits.places, one.places) << one.files;
    EXPECT_EQ(limits.places_of_user, one.of_user) << one.files;
    EXPECT_EQ(limits.kept, one.kept) << one.files;
  }
}

TEST_F(SocketPlacesTest, CountsWhatEachConnectionTakes) {
  Park(kAlice, 2);
  EXPECT_EQ(places_.taken(), 2u);
  EXPECT_TRUE(places_.Serve(2).admitted);
  EXPECT_EQ(places_.TakenBy(kAlice), 1u + 3u + 1u);
  EXPECT_EQ(places_.parked(), 1u);
  EXPECT_EQ(places_.served(), 1u);
  places_.Close(2);
  EXPECT_EQ(places_.TakenBy(kAlice), 5u) << "its files are still open";
  places_.Leave(2);
  places_.Leave(1);
  EXPECT_EQ(places_.TakenBy(kAlice), 1u) << "somebody still holds the process";
  places_.ReleaseHandle(kAlice);
  EXPECT_EQ(places_.taken(), 0u);
}

TEST_F(SocketPlacesTest, AUserAtItsLimitLosesItsOldestParked) {
  Park(kMallory, 20);
  const auto decision = ParkOne(kMallory);
  EXPECT_TRUE(decision.admitted);
  EXPECT_THAT(decision.evicted, ElementsAre(1u));
  EXPECT_EQ(places_.TakenBy(kMallory), 20u);
}

TEST_F(SocketPlacesTest, AUserWhoseServedConnectionsAreAtItsLimitGetsNoMore) {
  Serve(kMallory, 5);
  const auto decision = ParkOne(kMallory);
  EXPECT_FALSE(decision.admitted);
  EXPECT_THAT(decision.evicted, IsEmpty());
}

TEST_F(SocketPlacesTest, ServingAtTheLimitCostsTheUserItsParkedOnesButNotThatOne) {
  Park(kMallory, 20);
  const auto decision = places_.Serve(2);
  EXPECT_TRUE(decision.admitted);
  EXPECT_THAT(decision.evicted, ElementsAre(1u, 3u, 4u));
  EXPECT_EQ(places_.TakenBy(kMallory), 20u);
}

TEST_F(SocketPlacesTest, OneThatCannotBeServedHasGone) {
  Serve(kMallory, 1);
  places_.Leave(last_);  // but its process is still held
  Serve(kMallory, 4);
  Park(kMallory, 2);
  const ConnectionId one = last_;
  const auto decision = places_.Serve(one);
  EXPECT_FALSE(decision.admitted);
  EXPECT_THAT(decision.evicted, ElementsAre(one - 1));
  EXPECT_EQ(places_.parked(), 0u);
  EXPECT_FALSE(places_.Serve(one).admitted);
}

TEST_F(SocketPlacesTest, WhenAllIsFullTheLargestHolderGivesItsOldestParked) {
  Park(kMallory, 20);
  Park(kMallory + 1, 16);
  const auto decision = ParkOne(kAlice);
  EXPECT_TRUE(decision.admitted);
  EXPECT_THAT(decision.evicted, ElementsAre(1u));
}

// All that the trusted do not keep is served: 80 connections of one, then 80 of another.
class FullSocketPlacesTest : public SocketPlacesTest {
 protected:
  FullSocketPlacesTest() : SocketPlacesTest({.places = 704, .places_of_user = 400, .kept = 64}) {
    Serve(kMallory, 80);
    Serve(kMallory + 1, 80);
    EXPECT_EQ(places_.taken(), 640u);
  }
};

TEST_F(FullSocketPlacesTest, TheLargestHolderGivesItsNewestToWhoHoldsLess) {
  EXPECT_THAT(ParkOne(kAlice).evicted, ElementsAre(80u));
  const auto served = places_.Serve(last_);
  EXPECT_TRUE(served.admitted);
  EXPECT_THAT(served.evicted, ElementsAre(160u));
  places_.Leave(80);
  places_.ReleaseHandle(kMallory);
  EXPECT_EQ(places_.TakenBy(kMallory), 79u * 4);
}

TEST_F(FullSocketPlacesTest, NobodyGivesToWhoHoldsAsMuch) {
  for (const uid_t uid : {kMallory, kMallory + 1}) {
    const auto decision = ParkOne(uid);
    EXPECT_FALSE(decision.admitted);
    EXPECT_THAT(decision.evicted, IsEmpty());
  }
}

// Until gRPC has closed them, they use files that the process keeps for itself.
TEST_F(FullSocketPlacesTest, OnlyAFewAreBeingEvictedAtAnyTime) {
  size_t evicted = 0;
  for (uid_t uid = 2000; uid < 3000; ++uid) evicted += ParkOne(uid).evicted.size();
  EXPECT_EQ(evicted, 4u);
  EXPECT_EQ(places_.taken(), 640u + 704 / 64);
  for (const ConnectionId id : {78, 79, 80, 158, 159, 160}) places_.Leave(id);
  EXPECT_TRUE(ParkOne(kAlice).admitted);
}

TEST_F(SocketPlacesTest, AmongEqualsTheOldestParkedGoes) {
  for (uid_t uid = 1; uid <= 36; ++uid) Park(uid, 1);
  for (ConnectionId oldest = 1; oldest <= 100; ++oldest) {
    const auto decision = ParkOne(static_cast<uid_t>(36 + oldest));
    EXPECT_TRUE(decision.admitted);
    EXPECT_THAT(decision.evicted, ElementsAre(oldest));
  }
}

TEST_F(SocketPlacesTest, TheKeptPlacesAreForTheTrustedAlone) {
  Park(kMallory, 20);
  Park(kMallory + 1, 16);
  EXPECT_EQ(places_.taken(), 36u);
  for (int i = 0; i < 4; ++i) {
    const auto decision = ParkOne(kRoot);
    EXPECT_TRUE(decision.admitted);
    EXPECT_THAT(decision.evicted, IsEmpty());
  }
  EXPECT_THAT(ParkOne(kAlice).evicted, ElementsAre(1u)) << "and root's weigh nothing";
}

TEST_F(SocketPlacesTest, PatienceEndsWithTheOldest) {
  EXPECT_EQ(places_.NextOverdue(), std::nullopt);
  EXPECT_TRUE(places_.Park(1, kAlice, kNow).admitted);
  EXPECT_TRUE(places_.Park(2, kAlice, kNow + absl::Seconds(1)).admitted);
  EXPECT_EQ(places_.NextOverdue(), kNow + absl::Seconds(10));
  EXPECT_EQ(places_.Overdue(kNow + absl::Seconds(10) - absl::Nanoseconds(1)), std::nullopt);
  EXPECT_EQ(places_.Overdue(kNow + absl::Seconds(10)), 1u);
  places_.Leave(1);
  EXPECT_EQ(places_.Overdue(kNow + absl::Seconds(10)), std::nullopt);
  EXPECT_TRUE(places_.Serve(2).admitted);
  EXPECT_EQ(places_.NextOverdue(), std::nullopt) << "it is served";
}

// Whatever comes in whatever order: the sums are right, nobody is counted who has gone, and no
// limit is passed.
TEST(SocketPlaces, KeepsItsLimitsWhateverHappens) {
  const SocketLimits limits{.places = 200, .places_of_user = 70, .kept = 12};
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    SocketPlaces places(limits, {kRoot});
    std::map<ConnectionId, uid_t> parked, served, closing;
    std::map<uid_t, size_t> handles;
    const auto evict = [&](const std::vector<ConnectionId>& evicted) {
      for (const ConnectionId id : evicted) {
        if (parked.erase(id) != 0) continue;
        ASSERT_TRUE(served.contains(id)) << "seed " << seed;
        closing[id] = served[id];
        served.erase(id);
      }
    };
    const auto any = [&](const std::map<ConnectionId, uid_t>& of) {
      return std::next(of.begin(), static_cast<long>(random() % of.size()))->first;
    };
    for (ConnectionId id = 1; id < 5000; ++id) {
      const uid_t uid = random() % 2 == 0 ? kMallory : random() % 6;
      const SocketPlaces::Decision arrival = places.Park(id, uid, absl::Seconds(id));
      evict(arrival.evicted);
      if (arrival.admitted) parked[id] = uid;
      if (!parked.empty() && random() % 2 == 0) {
        const ConnectionId one = any(parked);
        const uid_t owner = parked[one];
        const SocketPlaces::Decision decision = places.Serve(one);
        parked.erase(one);
        evict(decision.evicted);
        if (decision.admitted) {
          served[one] = owner;
          ++handles[owner];
        }
      }
      if (!served.empty() && random() % 4 == 0) {
        const ConnectionId one = any(served);
        places.Leave(one);
        served.erase(one);
      }
      if (!closing.empty() && random() % 4 == 0) {
        const ConnectionId one = any(closing);
        places.Leave(one);
        closing.erase(one);
      }
      const auto handle = handles.find(random() % 2 == 0 ? kMallory : random() % 6);
      if (handle != handles.end() && handle->second > 0) {
        places.ReleaseHandle(handle->first);
        --handle->second;
      }
      size_t taken = parked.size() + 3 * (served.size() + closing.size());
      for (const auto& [owner, count] : handles) taken += count;
      ASSERT_EQ(places.taken(), taken) << "seed " << seed << " step " << id;
      ASSERT_EQ(places.parked(), parked.size());
      ASSERT_LE(taken, limits.places + limits.places / 64);
      ASSERT_LE(places.TakenBy(kMallory), limits.places_of_user);
    }
  }
}

}  // namespace
}  // namespace linchpin::rpc
