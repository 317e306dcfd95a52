// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/kubernetes/selector.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

using kube::Json;
using Operator = LabelExpression::Operator;

constexpr size_t kMaxLabels = 16;
constexpr size_t kMaxExpressions = 16;
constexpr size_t kMaxValues = 32;
constexpr std::pair<const char*, Operator> kOperators[] = {
    {"In", Operator::kIn},
    {"NotIn", Operator::kNotIn},
    {"Exists", Operator::kExists},
    {"DoesNotExist", Operator::kDoesNotExist}};

bool Holds(const LabelExpression& expression, const LabelMap& labels) {
  const auto label = labels.find(expression.key);
  const bool is_there = label != labels.end();
  const auto& values = expression.values;
  const bool is_one =
      is_there && std::find(values.begin(), values.end(), label->second) != values.end();
  switch (expression.op) {
    case Operator::kIn:
      return is_one;
    case Operator::kNotIn:
      return !is_one;
    case Operator::kExists:
      return is_there;
    case Operator::kDoesNotExist:
      return !is_there;
  }
  return false;
}

absl::Status Wrong(absl::string_view where, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(where, " ", what));
}

absl::StatusOr<std::vector<std::string>> ReadValues(const Json& expression,
                                                    const std::string& where) {
  std::vector<std::string> values;
  const Json* list = kube::At(expression, {"values"});
  if (list == nullptr) return values;
  if (!list->is_array() || list->size() > kMaxValues) {
    return Wrong(where, absl::StrCat("has values that are no list, or over ", kMaxValues));
  }
  for (const Json& value : *list) {
    if (!value.is_string()) return Wrong(where, "has a value that is no text");
    values.push_back(value.get<std::string>());
  }
  return values;
}

absl::StatusOr<LabelExpression> ReadExpression(const Json& from, const std::string& where) {
  if (!from.is_object()) return Wrong(where, "has one that is no object");
  for (const auto& [name, value] : from.items()) {
    if (name == "key" || name == "operator" || name == "values") continue;
    return Wrong(where, absl::StrCat("has ", trust::Quoted(name),
                                     ", which is not known; key, operator and values are"));
  }
  LabelExpression expression{.key = kube::TextAt(from, {"key"}, 317)};
  if (expression.key.empty()) return Wrong(where, "has one without a key");
  const std::string op = kube::TextAt(from, {"operator"});
  const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                   [&op](const auto& known) { return op == known.first; });
  if (found == std::end(kOperators)) {
    return Wrong(where, absl::StrCat("has the operator ", trust::Quoted(op),
                                     "; In, NotIn, Exists or DoesNotExist is expected"));
  }
  expression.op = found->second;
  ASSIGN_OR_RETURN(expression.values, ReadValues(from, where));
  const bool wants_values = expression.op == Operator::kIn || expression.op == Operator::kNotIn;
  if (wants_values == expression.values.empty()) {
    return Wrong(where, absl::StrCat("has ", op, wants_values ? " without" : " with", " values"));
  }
  return expression;
}

}  // namespace

bool Selects(const LabelSelector& selector, const LabelMap& labels) {
  return std::all_of(selector.labels.begin(), selector.labels.end(),
                     [&](const auto& wanted) {
                       const auto found = labels.find(wanted.first);
                       return found != labels.end() && found->second == wanted.second;
                     }) &&
         std::all_of(selector.expressions.begin(), selector.expressions.end(),
                     [&](const auto& expression) { return Holds(expression, labels); });
}

LabelMap LookedAt(const LabelSelector& selector, const LabelMap& labels) {
  LabelMap looked_at = selector.labels;
  for (const LabelExpression& expression : selector.expressions) {
    const auto found = labels.find(expression.key);
    if (found != labels.end()) looked_at.insert(*found);
  }
  return looked_at;
}

absl::StatusOr<LabelSelector> ReadSelector(const Json& object, const char* field) {
  LabelSelector selector;
  const std::string where = absl::StrCat("spec.", field);
  const Json* from = kube::At(object, {"spec", field});
  if (from == nullptr) return selector;
  if (!from->is_object()) return Wrong(where, "is no selector");
  for (const auto& [name, value] : from->items()) {
    if (name == "matchLabels" || name == "matchExpressions") continue;
    return Wrong(absl::StrCat(where, ".", name),
                 "is not known; matchLabels and matchExpressions are");
  }
  auto labels = kube::TextsAt(*from, {"matchLabels"}, kMaxLabels);
  if (!labels.has_value()) {
    return Wrong(absl::StrCat(where, ".matchLabels"),
                 absl::StrCat("has a value that is no text, or over ", kMaxLabels));
  }
  selector.labels = *std::move(labels);
  const Json* expressions = kube::At(*from, {"matchExpressions"});
  if (expressions == nullptr) return selector;
  if (!expressions->is_array() || expressions->size() > kMaxExpressions) {
    return Wrong(absl::StrCat(where, ".matchExpressions"),
                 absl::StrCat("is no list, or over ", kMaxExpressions));
  }
  for (const Json& one : *expressions) {
    ASSIGN_OR_RETURN(LabelExpression expression,
                     ReadExpression(one, absl::StrCat(where, ".matchExpressions")));
    selector.expressions.push_back(std::move(expression));
  }
  return selector;
}

}  // namespace linchpin::ca
