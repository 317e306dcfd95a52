// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/kubernetes/standings.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/backoff.h"
#include "base/log.h"
#include "base/random.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

using kube::Json;

constexpr absl::Duration kFirstRetry = absl::Seconds(1);
constexpr absl::Duration kLongestRetry = absl::Minutes(1);
constexpr char kMergePatch[] = "application/merge-patch+json";
constexpr size_t kMaxEvent = 1000;  // bytes of its message

std::string Place(const ObjectName& name) {
  return name.name_space.empty() ? "" : absl::StrCat("/namespaces/", name.name_space);
}

Json StatusOf(const Standing& standing, absl::Time now) {
  const bool good = standing.fault.empty();
  Json status = standing.figures;
  status["conditions"] = Json::array({{{"type", "Ready"},
                                       {"status", good ? "True" : "False"},
                                       {"reason", good ? "InForce" : "Refused"},
                                       {"message", standing.fault},
                                       {"observedGeneration", standing.name.generation},
                                       {"lastTransitionTime", trust::TimeText(now)}}});
  return {{"status", std::move(status)}};
}

}  // namespace

StandingWriter::StandingWriter(kube::Api& api, const base::Clock& clock)
    : api_(api), clock_(clock), loop_(clock) {
  thread_ = std::thread([this] { loop_.Run(); });
}

StandingWriter::~StandingWriter() {
  Stop();
  loop_.Stop();
  thread_.join();
}

void StandingWriter::Tell(const std::string& kinds, std::vector<Standing> standings) {
  base::MutexLock lock(mutex_);
  told_[kinds] = std::move(standings);
  if (std::exchange(turn_due_, true)) return;
  (void)loop_.Post([this] { Turn(); });
}

void StandingWriter::Turn() {
  std::map<std::string, std::vector<Standing>> told;
  {
    base::MutexLock lock(mutex_);
    turn_due_ = false;
    told = told_;
  }
  std::map<std::string, Standing> written;
  absl::Status status;
  for (const auto& [kinds, standings] : told) {
    for (const Standing& standing : standings) {
      const auto it = written_.find(standing.name.uid);
      const Standing* before = it == written_.end() ? nullptr : &it->second;
      const bool due = before == nullptr || !(*before == standing);
      if (due && status.ok() && !stopped_) {
        status = Write(standing, before);
        if (status.ok()) before = &standing;
      }
      if (before != nullptr) written.emplace(standing.name.uid, *before);
    }
  }
  written_ = std::move(written);
  if (status.ok()) {
    failures_ = 0;
    return;
  }
  if (failures_ == 0) {
    base::LogWarning("the statuses of objects are not written; tries again",
                     {{"error", std::string(status.message())}});
  }
  const absl::Duration wait = base::Backoff(failures_++, base::RandomFraction(base::SystemRandom()),
                                            kFirstRetry, kLongestRetry);
  (void)loop_.PostAfter(wait, [this] { Turn(); });
}

// OK also where the object is no more, or is refused for good.
absl::Status StandingWriter::Write(const Standing& standing, const Standing* before) {
  const auto done =
      api_.Call({.method = "PATCH",
                 .path = absl::StrCat("/apis/", kObjectsGroup, Place(standing.name), "/",
                                      standing.kind.plural, "/", standing.name.name, "/status"),
                 .body = kube::Dump(StatusOf(standing, clock_.Now())),
                 .content_type = kMergePatch,
                 .stopped = [this] { return stopped_.load(); }});
  if (absl::IsUnavailable(done.status())) return done.status();
  if (!done.ok() && !absl::IsNotFound(done.status())) {
    base::LogWarning(
        "an object's status is not written",
        {{"object", standing.name.Text()}, {"error", std::string(done.status().message())}});
  }
  const bool was_good = before == nullptr || before->fault.empty();
  if (done.ok() && (was_good ? !standing.fault.empty() : standing.fault != before->fault)) {
    WriteEvent(standing);
  }
  return absl::OkStatus();
}

// What is lost is in the status all the same.
void StandingWriter::WriteEvent(const Standing& standing) {
  const bool good = standing.fault.empty();
  const std::string now = trust::TimeText(clock_.Now());
  // Those of objects of the whole cluster are kept there.
  const std::string name_space =
      standing.name.name_space.empty() ? "default" : standing.name.name_space;
  Json object = {{"apiVersion", kObjectsGroup},
                 {"kind", standing.kind.name},
                 {"name", standing.name.name},
                 {"uid", standing.name.uid}};
  if (!standing.name.name_space.empty()) object["namespace"] = name_space;
  const Json event = {{"apiVersion", "v1"},
                      {"kind", "Event"},
                      {"metadata", {{"generateName", absl::StrCat(standing.name.name, ".")}}},
                      {"involvedObject", std::move(object)},
                      {"type", good ? "Normal" : "Warning"},
                      {"reason", good ? "InForce" : "Refused"},
                      {"message", good ? "it is in force" : standing.fault.substr(0, kMaxEvent)},
                      {"source", {{"component", "linchpin-ca"}}},
                      {"firstTimestamp", now},
                      {"lastTimestamp", now},
                      {"count", 1}};
  const auto done = api_.Call({.method = "POST",
                               .path = absl::StrCat("/api/v1/namespaces/", name_space, "/events"),
                               .body = kube::Dump(event),
                               .stopped = [this] { return stopped_.load(); }});
  if (!done.ok()) {
    base::Log(base::LogLevel::kDebug, "an event is not written",
              {{"error", std::string(done.status().message())}});
  }
}

}  // namespace linchpin::ca
