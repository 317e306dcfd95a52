// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/backoff.h"
#include "base/status_macros.h"
#include "kube/answers.h"

namespace linchpin::kube {
namespace {

constexpr absl::Duration kFirstRetry = absl::Milliseconds(200);
constexpr absl::Duration kLongestRetry = absl::Seconds(10);
constexpr int kShortestWatch = 240,
              kLongestWatch = 480;                    // seconds; each another, or all end at once
constexpr absl::Duration kGrace = absl::Seconds(10);  // for the server to end it
constexpr absl::Duration kTooSoon = absl::Seconds(1);
constexpr size_t kMaxPages = 200'000;  // of one object each, if need be
constexpr char kMetadataAlone[] =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

// A continuation is the server's own text, and goes into a query.
std::string Encoded(absl::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c))) {
      encoded += c;
    } else {
      absl::StrAppend(&encoded, "%", absl::BytesToHexString(absl::string_view(&c, 1)));
    }
  }
  return encoded;
}

}  // namespace

absl::StatusOr<WatchEvent> ReadWatchEvent(absl::string_view line, const Names* only) {
  ASSIGN_OR_RETURN(Json event, ParseObject(line, "the API server's event", only));
  const std::string type = TextAt(event, {"type"});
  if (type == "ERROR") {
    const int code = static_cast<int>(NumberAt(event, {"object", "code"}).value_or(500));
    absl::Status error = ErrorOf(code, "a watch", Dump(event["object"]));
    if (absl::IsOutOfRange(error)) return error;
    return absl::UnavailableError(error.message());
  }
  WatchEvent read{.version = TextAt(event, {"object", "metadata", "resourceVersion"})};
  if (type == "ADDED" || type == "MODIFIED") {
    read.kind = WatchEvent::Kind::kPut;
  } else if (type == "DELETED") {
    read.kind = WatchEvent::Kind::kRemove;
  } else if (type != "BOOKMARK") {
    return absl::InvalidArgumentError("the API server's event is of no known type");
  }
  if (read.version.empty()) {
    return absl::InvalidArgumentError("the API server's event has no resourceVersion");
  }
  read.object = std::move(event["object"]);
  return read;
}

Watch::Watch(Api& api, What what, WatchSink& sink)
    : api_(api), what_(std::move(what)), sink_(sink), loop_(base::SystemClock()) {
  if (what_.only != nullptr) {
    only_ = *what_.only;
    only_.insert(
        {"code", "continue", "items", "message", "metadata", "object", "resourceVersion", "type"});
  }
  thread_ = std::thread([this] { loop_.Run(); });
  (void)loop_.Post([this] { Go(); });
}

Watch::~Watch() {
  stopped_ = true;
  loop_.Stop();
  thread_.join();
}

void Watch::Go() {
  absl::Status status = version_.empty() ? List() : absl::OkStatus();
  if (status.ok() && !stopped_) status = Follow();
  if (stopped_) return;
  if (status.ok()) {  // watches end in time
    failures_ = 0;
    if (list_again_.exchange(false)) version_.clear();
    (void)loop_.PostAfter(kFirstRetry, [this] { Go(); });  // also those that end at once
    return;
  }
  // What is too long to be read would be so again from there on; a list can go round it.
  if (absl::IsOutOfRange(status) || absl::IsInvalidArgument(status) ||
      absl::IsResourceExhausted(status)) {
    version_.clear();
  }
  sink_.Failed(status);
  const absl::Duration wait = base::Backoff(failures_++, base::RandomFraction(base::SystemRandom()),
                                            kFirstRetry, kLongestRetry);
  (void)loop_.PostAfter(wait, [this] { Go(); });
}

// As many as fit into an answer, if only one.
absl::StatusOr<Json> Watch::Page(const std::string& next, int* limit) {
  while (true) {
    const auto body =
        api_.Call({.path = absl::StrCat(what_.path, "?limit=", *limit, what_.selector,
                                        next.empty() ? "" : "&continue=", Encoded(next)),
                   .stopped = [this] { return stopped_.load(); }});
    if (body.ok()) {
      *limit = std::min(*limit * 2, kPage);
      return ParseObject(*body, "the API server's list", what_.only == nullptr ? nullptr : &only_);
    }
    if (!absl::IsResourceExhausted(body.status()) || stopped_) return body.status();
    if (*limit == 1) return WithoutTheFirst(next);
    *limit = std::max(1, *limit / 4);
  }
}

// What is said of the first object alone, which is too long to be read: what comes after it.
absl::StatusOr<Json> Watch::WithoutTheFirst(const std::string& next) {
  ASSIGN_OR_RETURN(const std::string body,
                   api_.Call({.path = absl::StrCat(what_.path, "?limit=1", what_.selector,
                                                   next.empty() ? "" : "&continue=", Encoded(next)),
                              .accept = kMetadataAlone,
                              .stopped = [this] { return stopped_.load(); }}));
  ASSIGN_OR_RETURN(Json list, ParseObject(body, "the API server's list"));
  const Json* items = At(list, {"items"});
  if (items == nullptr || !items->is_array()) {
    return absl::UnavailableError("the API server's list has no items");
  }
  for (const Json& item : *items) {
    sink_.Failed(absl::ResourceExhaustedError(absl::StrCat(
        "left out: ", what_.path, " ", TextAt(item, {"metadata", "namespace"}), "/",
        TextAt(item, {"metadata", "name"}), " has more than ", Api::kMaxReply, " bytes")));
  }
  list["items"] = Json::array();
  return list;
}

absl::Status Watch::List() {
  sink_.ListBegins();
  std::string version;
  std::string next;
  int limit = kPage;
  for (size_t page = 0; page < kMaxPages && !stopped_; ++page) {
    ASSIGN_OR_RETURN(const Json list, Page(next, &limit));
    const Json* items = At(list, {"items"});
    if (items == nullptr || !items->is_array()) {
      return absl::UnavailableError("the API server's list has no items");
    }
    version = TextAt(list, {"metadata", "resourceVersion"});
    if (version.empty()) return absl::UnavailableError("the API server's list has no version");
    for (const Json& item : *items) sink_.Put(item);
    next = TextAt(list, {"metadata", "continue"}, 64 * 1024);
    if (next.empty()) {
      sink_.ListEnds();
      version_ = version;
      return absl::OkStatus();
    }
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("the list ", what_.path, " has more than ", kMaxPages, " pages"));
}

bool Watch::Take(absl::string_view line, absl::Status* status) {
  auto event = ReadWatchEvent(line, what_.only == nullptr ? nullptr : &only_);
  if (!event.ok()) {
    *status = event.status();
    return false;
  }
  if (event->kind == WatchEvent::Kind::kPut) sink_.Put(event->object);
  if (event->kind == WatchEvent::Kind::kRemove) sink_.Remove(event->object);
  version_ = std::move(event->version);
  failures_ = 0;
  return true;
}

absl::Status Watch::Follow() {
  const int seconds = kShortestWatch + static_cast<int>(base::RandomFraction(base::SystemRandom()) *
                                                        (kLongestWatch - kShortestWatch));
  absl::Status said;
  bool heard = false;
  const absl::Duration begun = base::SystemClock().Uptime();
  const absl::Status ended = api_.Stream(
      absl::StrCat(what_.path, "?watch=1&allowWatchBookmarks=true&timeoutSeconds=", seconds,
                   "&resourceVersion=", Encoded(version_), what_.selector),
      absl::Seconds(seconds) + kGrace,
      [this, &said, &heard](absl::string_view line) {
        heard = true;
        return !stopped_ && Take(line, &said);
      },
      [this] { return stopped_.load(); });
  if (!said.ok()) return said;
  if (ended.ok() && !heard && base::SystemClock().Uptime() - begun < kTooSoon) {
    return absl::UnavailableError("the API server ends a watch as soon as it is begun");
  }
  return ended;
}

}  // namespace linchpin::kube
