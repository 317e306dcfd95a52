// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Follows the objects of one kind: what is there, page by page, then each change as it comes. Not
// listed again unless the API server has forgotten where we were (410), or says that we must.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/run_loop.h"
#include "kube/api.h"
#include "kube/json.h"

namespace linchpin::kube {

// Called from the watch's thread, one at a time.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // Everything that is there follows, by Put(), then ListEnds(): what was not among it is gone.
  virtual void ListBegins() = 0;
  virtual void Put(const Json& object) = 0;
  virtual void ListEnds() = 0;
  virtual void Remove(const Json& object) = 0;
  // There was no answer; it is tried again for ever. What is known stays.
  virtual void Failed(const absl::Status& why) = 0;
};

// One event of a watch. Pure.
struct WatchEvent {
  enum class Kind { kPut, kRemove, kBookmark };
  Kind kind = Kind::kBookmark;
  Json object;
  std::string version;  // from which on to watch
};
// OUT_OF_RANGE: the list has to be begun anew (410). UNAVAILABLE: the server ends the watch with an
// error. INVALID_ARGUMENT: that is no event.
absl::StatusOr<WatchEvent> ReadWatchEvent(absl::string_view line, const Names* only = nullptr);

class Watch {
 public:
  static constexpr int kPage = 250;  // objects

  struct What {
    std::string path;             // /api/v1/pods
    std::string selector;         // "&fieldSelector=…", encoded; may be empty
    const Names* only = nullptr;  // what is kept of an object; null: all
  };
  // Begins at once. Both references outlive this object.
  Watch(Api& api, What what, WatchSink& sink);
  ~Watch();  // within a second or so
  // Begins to end: of many watches, all before the first is waited for.
  void Stop() { stopped_ = true; }
  // Lists once more when this watch ends by itself, within minutes.
  void ListAgain() { list_again_ = true; }
  Watch(const Watch&) = delete;

 private:
  void Go();
  absl::Status List();
  absl::StatusOr<Json> Page(const std::string& next, int* limit);
  absl::StatusOr<Json> WithoutTheFirst(const std::string& next);
  absl::Status Follow();
  bool Take(absl::string_view line, absl::Status* status);

  Api& api_;
  const What what_;
  Names only_;  // with what is looked at here
  WatchSink& sink_;
  std::string version_;  // empty: list first
  int failures_ = 0;
  std::atomic<bool> stopped_ = false;
  std::atomic<bool> list_again_ = false;
  base::RunLoop loop_;
  std::thread thread_;
};

}  // namespace linchpin::kube
