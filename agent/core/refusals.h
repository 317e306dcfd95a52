// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Verdicts that consumers reported, gathered until they are passed on to the CA.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "linchpin/agent/v1/mtls_context.pb.h"
#include "linchpin/ca/v1/node.pb.h"

namespace linchpin::agent {

class Refusals {
 public:
  static constexpr size_t kMaxKeys = 256;  // beyond it, peers are counted without a name

  // Allowed peers are not gathered.
  void Add(const agent::v1::VerdictCount& count);
  bool empty() const { return counts_.empty(); }
  ca::v1::VerdictReport Take();

 private:
  using Key = std::tuple<int, std::string, std::string, bool>;
  std::map<Key, uint64_t> counts_;
};

}  // namespace linchpin::agent
