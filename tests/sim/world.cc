// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/world.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace linchpin::sim {
namespace {

constexpr size_t kKeptLines = 60;

}  // namespace

void World::RunUntil(absl::Time end) {
  while (!broken() && !queue_.empty() && queue_.begin()->first <= end) {
    auto next = queue_.extract(queue_.begin());
    now_ = next.key();
    next.mapped()();
    ++steps_;
  }
  if (!broken()) now_ = end;
}

void World::Say(std::string line) {
  const double at = absl::ToDoubleSeconds(now_ - absl::FromUnixSeconds(1'800'000'000));
  story_.push_back(absl::StrFormat("%10.3f  %s", at, line));
  if (story_.size() > kKeptLines) story_.pop_front();
}

void World::Broken(const std::string& rule, const std::string& how) {
  if (broken()) return;
  broken_ = absl::StrCat(absl::StrJoin(story_, "\n"), "\nBROKEN: ", rule, ": ", how);
}

}  // namespace linchpin::sim
