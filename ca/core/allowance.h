// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How often each may do what is dear: several times at once, and then at a steady pace. Pure; one
// thread.
#pragma once

#include <map>
#include <string>

#include "absl/time/time.h"

namespace linchpin::ca {

// Streams that a node may begin: what it holds is worked out anew at each.
inline constexpr int kHellosOfNode = 10;
inline constexpr absl::Duration kBetweenHellos = absl::Seconds(2);

// Changes that an operator over the network may make: who would push the records of others out of
// the log of changes needs days for it, under his name.
inline constexpr int kChangesOfOperator = 500;
inline constexpr absl::Duration kBetweenChanges = absl::Seconds(5);

class Allowance {
 public:
  // `most` at once, which come back one `each`.
  Allowance(int most, absl::Duration each) : each_(each), all_(most * each) {}

  // Takes one of those of `who`: zero. Where none is left: how long until there is, and nothing is
  // taken. A clock that is put back costs nobody more than all.
  absl::Duration Take(const std::string& who, absl::Time now);
  // Forgets those who have all again, which is as if they had never come.
  void Tidy(absl::Time now);
  size_t size() const { return spent_until_.size(); }

 private:
  absl::Duration each_;
  absl::Duration all_;
  std::map<std::string, absl::Time> spent_until_;  // when each has all again
};

}  // namespace linchpin::ca
