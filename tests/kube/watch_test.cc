// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/watch.h"

#include <deque>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin::kube {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Event(const std::string& type, const std::string& name, int version) {
  return absl::StrCat(R"({"type": ")", type, R"(", "object": {"metadata": {"name": ")", name,
                      R"(", "resourceVersion": ")", version, R"("}}})");
}

std::string List(const std::vector<std::string>& names, int version, const std::string& next = "") {
  Json list = {{"metadata", {{"resourceVersion", absl::StrCat(version)}}},
               {"items", Json::array()}};
  if (!next.empty()) list["metadata"]["continue"] = next;
  for (const std::string& name : names) list["items"].push_back({{"metadata", {{"name", name}}}});
  return list.dump();
}

// An API server that says what it was told to say, then keeps quiet.
class ScriptedApi final : public Api {
 public:
  struct Watched {
    std::vector<std::string> lines;
    absl::Status end;
  };
  std::deque<absl::StatusOr<std::string>> lists;
  std::vector<std::string> accepted;  // other than JSON as it is
  std::deque<Watched> watches;

  absl::StatusOr<std::string> Call(const Request& request) override {
    base::MutexLock lock(mutex_);
    paths_.push_back(request.path);
    if (!request.accept.empty()) accepted.push_back(request.accept);
    if (lists.empty()) return absl::UnavailableError("nobody is there");
    auto answer = lists.front();
    lists.pop_front();
    return answer;
  }
  absl::Status Stream(const std::string& path, absl::Duration,
                      const std::function<bool(absl::string_view)>& on_line,
                      const std::function<bool()>& stopped) override {
    Watched watched;
    {
      base::MutexLock lock(mutex_);
      paths_.push_back(path);
      if (watches.empty()) {
        quiet_ = true;
        changed_.notify_all();
        while (!stopped()) changed_.wait_for(lock, std::chrono::milliseconds(5));
        return absl::OkStatus();
      }
      watched = watches.front();
      watches.pop_front();
    }
    for (const std::string& line : watched.lines) {
      if (!on_line(line)) return absl::OkStatus();
    }
    return watched.end;
  }
  std::vector<std::string> WaitUntilQuiet() {
    base::MutexLock lock(mutex_);
    changed_.wait(lock, [this] { return quiet_; });
    return paths_;
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<std::string> paths_;
  bool quiet_ = false;
};

class Recorder final : public WatchSink {
 public:
  void ListBegins() override { seen.push_back("["); }
  void Put(const Json& object) override { seen.push_back("+" + NameOf(object)); }
  void ListEnds() override { seen.push_back("]"); }
  void Remove(const Json& object) override { seen.push_back("-" + NameOf(object)); }
  void Failed(const absl::Status&) override { seen.push_back("!"); }
  std::vector<std::string> seen;

 private:
  static std::string NameOf(const Json& object) { return TextAt(object, {"metadata", "name"}); }
};

class WatchTest : public testing::Test {
 protected:
  // The paths that were asked for.
  std::vector<std::string> Run() {
    Watch watch(api_, {.path = "/api/v1/pods", .selector = "&fieldSelector=x"}, recorder_);
    return api_.WaitUntilQuiet();
  }
  ScriptedApi api_;
  Recorder recorder_;
};

TEST_F(WatchTest, ListsPageByPageThenFollows) {
  api_.lists = {List({"a", "b"}, 7, "next page"), List({"c"}, 7)};
  api_.watches = {{{Event("ADDED", "d", 8), Event("DELETED", "a", 9)}, absl::OkStatus()}};
  const std::vector<std::string> paths = Run();
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "+a", "+b", "+c", "]", "+d", "-a"));
  ASSERT_EQ(paths.size(), 4u);
  EXPECT_THAT(paths[0], HasSubstr("&fieldSelector=x"));
  EXPECT_THAT(paths[1], HasSubstr("continue=next%20page"));
  EXPECT_THAT(paths[2], HasSubstr("resourceVersion=7"));
  EXPECT_THAT(paths[3], HasSubstr("resourceVersion=9"));  // a watch that ended goes on
}

TEST_F(WatchTest, ABookmarkMovesTheVersionAndNothingElse) {
  api_.lists = {List({}, 7)};
  api_.watches = {{{Event("BOOKMARK", "", 50)}, absl::OkStatus()}};
  EXPECT_THAT(Run().back(), HasSubstr("resourceVersion=50"));
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "]"));
}

TEST_F(WatchTest, ListsAgainWhenTheServerHasForgotten) {
  api_.lists = {List({"a"}, 7), List({"b"}, 90)};
  api_.watches = {
      {{R"({"type": "ERROR", "object": {"code": 410, "message": "too old"}})"}, absl::OkStatus()}};
  EXPECT_THAT(Run().back(), HasSubstr("resourceVersion=90"));
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "+a", "]", "!", "[", "+b", "]"));
}

TEST_F(WatchTest, ListsAgainWhenTheWatchItselfIsRefusedAsTooOld) {
  api_.lists = {List({"a"}, 7), List({"a"}, 90)};
  api_.watches = {{{}, absl::OutOfRangeError("too old")}};
  EXPECT_THAT(Run().back(), HasSubstr("resourceVersion=90"));
}

TEST_F(WatchTest, GoesOnWhereItWasWhenTheServerComesBack) {
  api_.lists = {List({"a"}, 7)};
  api_.watches = {{{Event("ADDED", "b", 8)}, absl::UnavailableError("cut")},
                  {{Event("ADDED", "c", 9)}, absl::OkStatus()}};
  EXPECT_THAT(Run().back(), HasSubstr("resourceVersion=9"));
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "+a", "]", "+b", "!", "+c"));
}

TEST_F(WatchTest, AListThatBreaksOffIsBegunAnew) {
  api_.lists = {List({"a"}, 7, "more"), absl::UnavailableError("cut"), List({"a", "b"}, 8)};
  Run();
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "+a", "!", "[", "+a", "+b", "]"));
}

TEST_F(WatchTest, AListWithoutItemsIsNoEmptyList) {
  api_.lists = {R"({"metadata": {"resourceVersion": "7"}})", List({"a"}, 8)};
  Run();
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "!", "[", "+a", "]"));
}

absl::Status TooLong() { return absl::ResourceExhaustedError("too long to be read"); }

TEST_F(WatchTest, APageThatIsTooLongIsAskedForInSmallerOnes) {
  api_.lists = {TooLong(), TooLong(), List({"a"}, 7, "more"), List({"b"}, 7)};
  const std::vector<std::string> paths = Run();
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "+a", "+b", "]"));
  EXPECT_THAT(paths[0], HasSubstr("limit=250"));
  EXPECT_THAT(paths[1], HasSubstr("limit=62"));
  EXPECT_THAT(paths[2], HasSubstr("limit=15"));
  EXPECT_THAT(paths[3], HasSubstr("limit=30"));
}

TEST_F(WatchTest, OneObjectThatIsTooLongIsLeftOutAndTheOthersAreNot) {
  api_.lists = {
      List({"a"}, 7, "more"),     TooLong(),     TooLong(), TooLong(), TooLong(), TooLong(),
      List({"huge"}, 7, "still"), List({"b"}, 7)};
  EXPECT_THAT(Run()[7], HasSubstr("continue=still"));
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "+a", "!", "+b", "]"));
  EXPECT_THAT(api_.accepted, ElementsAre(HasSubstr("PartialObjectMetadataList")));
}

TEST_F(WatchTest, AnEventThatIsTooLongMakesItListAgain) {
  api_.lists = {List({"a"}, 7), List({"a", "b"}, 9)};
  api_.watches = {{{Event("ADDED", "c", 8)}, TooLong()}};
  EXPECT_THAT(Run().back(), HasSubstr("resourceVersion=9"));
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "+a", "]", "+c", "!", "[", "+a", "+b", "]"));
}

TEST_F(WatchTest, AWatchThatEndsAsItBeginsIsAFailure) {
  api_.lists = {List({"a"}, 7)};
  api_.watches = {{{}, absl::OkStatus()}};
  Run();
  EXPECT_THAT(recorder_.seen, ElementsAre("[", "+a", "]", "!"));
}

TEST_F(WatchTest, ListsAgainAtTheWatchsEndIfItIsToldTo) {
  api_.lists = {List({"a"}, 7), List({"a", "b"}, 9)};
  api_.watches = {{{Event("ADDED", "c", 8)}, absl::OkStatus()}};
  Watch watch(api_, {.path = "/api/v1/pods"}, recorder_);
  watch.ListAgain();
  EXPECT_THAT(api_.WaitUntilQuiet().back(), HasSubstr("resourceVersion=9"));
}

TEST_F(WatchTest, NonsenseMakesItListAgain) {
  api_.lists = {List({"a"}, 7), List({"a"}, 9)};
  api_.watches = {{{"no JSON at all"}, absl::OkStatus()}};
  EXPECT_THAT(Run().back(), HasSubstr("resourceVersion=9"));
}

TEST(WatchEvents, ThatAreNoneAreRefused) {
  for (const char* line :
       {"", "{}", "7", R"({"type": "ADDED"})", R"({"type": "ADDED", "object": 1})",
        R"({"type": "LATER", "object": {"metadata": {"resourceVersion": "1"}}})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadWatchEvent(line).status())) << line;
  }
  EXPECT_TRUE(absl::IsUnavailable(
      ReadWatchEvent(R"({"type": "ERROR", "object": {"code": 500}})").status()));
}

}  // namespace
}  // namespace linchpin::kube
