// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The CA's store: small keyed records, one revision for every change, all or nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::ca {

using Revision = uint64_t;  // 0: before the first change; grows by one a commit

struct Record {
  std::string key;
  std::string value;
  Revision revision = 0;  // of its last change
};

// One write of a batch, with what must hold for the whole batch to apply.
struct Write {
  std::string key;
  std::optional<std::string> value;  // nothing: delete
  // The key's revision that the writer saw; 0: must not exist; nothing: any.
  std::optional<Revision> expected;
};

// Safe for concurrent use. Serialisable: all callers see one order of commits.
class Store {
 public:
  static constexpr size_t kMaxKeyBytes = 4096;
  static constexpr size_t kMaxValueBytes = 1 << 20;
  static constexpr size_t kMaxBatch = 1024;

  virtual ~Store() = default;

  // Applies all writes or none and returns the new revision; durable when it returns OK. ABORTED:
  // an expectation did not hold (the message names the key). RESOURCE_EXHAUSTED: disk full.
  // UNAVAILABLE or DATA_LOSS: it may or may not have been applied: read before writing again.
  virtual absl::StatusOr<Revision> Commit(const std::vector<Write>& batch) = 0;
  // NOT_FOUND if absent.
  virtual absl::StatusOr<Record> Get(absl::string_view key) = 0;
  // All records whose key begins with `prefix`, by key; with the revision they are true at.
  struct Listing {
    std::vector<Record> records;
    Revision at = 0;
  };
  virtual absl::StatusOr<Listing> List(absl::string_view prefix) = 0;
  // Keys changed after `after`, oldest first, at most `most`; a key appears once, with its last
  // revision. Deleted ones included. A revision is never split, so that the last one is where to go
  // on from: the first is given whole even if it alone has more than `most`.
  struct Changed {
    std::string key;
    Revision revision = 0;
    bool deleted = false;
  };
  virtual absl::StatusOr<std::vector<Changed>> ChangesAfter(Revision after, size_t most) = 0;
  // Calls back, from any thread, after commits (also of other processes); a hint without data, and
  // several commits may give one call. One watcher; an empty function ends it.
  virtual void Watch(std::function<void()> on_change) = 0;
};

}  // namespace linchpin::ca
