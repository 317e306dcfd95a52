// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The record of every change that an operator makes: who, what, before and after. It is written in
// the batch of the change itself, so neither is ever without the other. Each record has the hash of
// the chain before it, so an edited, missing or reordered one is noticed; docs/formats.md. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ca/core/registry.h"
#include "ca/store/store.h"
#include "linchpin/ca/v1/operator.pb.h"

namespace linchpin::ca {

// The last so many are kept.
inline constexpr uint64_t kMaxChanges = 100'000;
// Writes that a batch needs room for beside the change's own.
inline constexpr size_t kChangeWrites = 3;
inline constexpr int kMaxChangedRecords = 16;   // told of one change; the others are counted
inline constexpr size_t kMaxChangeText = 8192;  // of all of them; beyond it they are counted too

std::string ChangeKey(uint64_t index);
// DATA_LOSS if `key` begins as one and is none.
absl::StatusOr<uint64_t> ChangeIndex(absl::string_view key);

// Who changed it, and by which call.
struct ChangedBy {
  std::string who;
  std::string role;
  std::string from;
  std::string method;
};

// Adds to `batch` the record of what it will do to `registry`, and deletions of records that are
// too old: at most kChangeWrites. An empty batch changes nothing and has no record. Whatever
// changes the store for an operator, now or later, commits through this; for what the CA does
// unasked, such as the end of a step of a rotation, it is kItself.
void AddChangeRecord(const Registry& registry, const ChangedBy& by, absl::Time now,
                     std::vector<Write>* batch);
inline constexpr char kItself[] = "linchpin-ca";

// The change of a store's record. DATA_LOSS: it is none, or its hash is wrong.
absl::StatusOr<v1::Change> ReadChange(const Record& record);

// Checks that a chain is whole: each change in its turn, from the first that is kept.
class ChangeChecker {
 public:
  // DATA_LOSS says what is wrong.
  absl::Status Check(const v1::Change& change);
  uint64_t checked() const { return checked_; }
  const std::string& head() const { return head_; }  // empty before the first

 private:
  uint64_t next_ = 0;
  uint64_t checked_ = 0;
  std::string head_;
};

}  // namespace linchpin::ca
