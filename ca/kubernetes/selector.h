// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Label selectors, as Kubernetes knows them: matchLabels and matchExpressions. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kube/json.h"

namespace linchpin::ca {

using LabelMap = std::map<std::string, std::string>;

struct LabelExpression {
  enum class Operator { kIn, kNotIn, kExists, kDoesNotExist };
  std::string key;
  Operator op = Operator::kExists;
  std::vector<std::string> values;  // of kIn and kNotIn alone
  bool operator==(const LabelExpression&) const = default;
};

// All of it must hold; of nothing it is everybody.
struct LabelSelector {
  LabelMap labels;
  std::vector<LabelExpression> expressions;
  bool operator==(const LabelSelector&) const = default;
};

bool Selects(const LabelSelector& selector, const LabelMap& labels);

// Of `labels`, which are selected: those that the selector looks at. Whoever has these is selected,
// too, as long as no expression asks for what is absent.
LabelMap LookedAt(const LabelSelector& selector, const LabelMap& labels);

// `field` of the object's spec; absent: everybody. INVALID_ARGUMENT names what is wrong.
absl::StatusOr<LabelSelector> ReadSelector(const kube::Json& object, const char* field);

}  // namespace linchpin::ca
