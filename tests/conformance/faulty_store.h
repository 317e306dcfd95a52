// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A store whose commits fail as a disk or a network fails: before they were applied, or after.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "ca/store/store.h"

namespace linchpin::test {

// Wraps a store that must outlive it. Safe for concurrent use.
class FaultyStore final : public ca::Store {
 public:
  enum class Fault { kNone, kBefore, kAfter };
  // Asked once a commit what becomes of it.
  using Plan = std::function<Fault()>;

  explicit FaultyStore(ca::Store& store, Plan plan = {}) : store_(store), plan_(std::move(plan)) {}

  void SetPlan(Plan plan) {
    base::MutexLock lock(mutex_);
    plan_ = std::move(plan);
  }

  absl::StatusOr<ca::Revision> Commit(const std::vector<ca::Write>& batch) override {
    const Fault fault = Next();
    if (fault == Fault::kBefore) return absl::UnavailableError("broken before it was applied");
    absl::StatusOr<ca::Revision> revision = store_.Commit(batch);
    if (fault == Fault::kAfter && revision.ok()) {
      return absl::UnavailableError("broken after it was applied");
    }
    return revision;
  }
  absl::StatusOr<ca::Record> Get(absl::string_view key) override { return store_.Get(key); }
  absl::StatusOr<Listing> List(absl::string_view prefix) override { return store_.List(prefix); }
  absl::StatusOr<std::vector<Changed>> ChangesAfter(ca::Revision after, size_t most) override {
    return store_.ChangesAfter(after, most);
  }
  void Watch(std::function<void()> on_change) override { store_.Watch(std::move(on_change)); }

 private:
  Fault Next() {
    base::MutexLock lock(mutex_);
    return plan_ ? plan_() : Fault::kNone;
  }

  ca::Store& store_;
  base::Mutex mutex_;
  Plan plan_;
};

}  // namespace linchpin::test
