// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The store in one SQLite file: the default, for a single CA.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ca/store/store.h"

namespace linchpin::ca {

// Write-ahead log, synced at every commit. Several handles, also of other processes, may share the
// file; their changes are noticed within a second.
class SqliteStore final : public Store {
 public:
  static constexpr int kFormat = 1;

  // Opens or makes the file (mode 0600; a looser mode is tightened). FAILED_PRECONDITION: a newer
  // format, or no Linchpin store; DATA_LOSS: damaged; PERMISSION_DENIED; RESOURCE_EXHAUSTED: disk
  // full. Each names the path.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path);
  ~SqliteStore() override;

  absl::StatusOr<Revision> Commit(const std::vector<Write>& batch) override;
  absl::StatusOr<Record> Get(absl::string_view key) override;
  absl::StatusOr<Listing> List(absl::string_view prefix) override;
  absl::StatusOr<std::vector<Changed>> ChangesAfter(Revision after, size_t most) override;
  // The watcher is called on a thread of the store's, and must not call Watch.
  void Watch(std::function<void()> on_change) override;

 private:
  struct Impl;
  explicit SqliteStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace linchpin::ca
