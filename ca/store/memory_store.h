// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A store that lives as long as its process: for tests and the simulation.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "ca/store/store.h"

namespace linchpin::ca {

// Keeps the whole contract but durability. The watcher is called within Commit, on its thread, and
// must not call Commit or Watch.
class MemoryStore final : public Store {
 public:
  absl::StatusOr<Revision> Commit(const std::vector<Write>& batch) override;
  absl::StatusOr<Record> Get(absl::string_view key) override;
  absl::StatusOr<Listing> List(absl::string_view prefix) override;
  absl::StatusOr<std::vector<Changed>> ChangesAfter(Revision after, size_t most) override;
  void Watch(std::function<void()> on_change) override;

 private:
  struct Entry {
    std::optional<std::string> value;  // nothing: deleted
    Revision revision = 0;
  };
  Revision Apply(const std::vector<Write>& batch);

  base::Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<Revision, std::vector<std::string>> changes_;  // a key is where its last change is
  Revision head_ = 0;

  base::Mutex watch_mutex_;
  std::function<void()> on_change_;
};

}  // namespace linchpin::ca
