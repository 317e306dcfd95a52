// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/json.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace linchpin::kube {
namespace {

constexpr size_t kMaxText = 1024;
constexpr int kNoDepth = std::numeric_limits<int>::max();

}  // namespace

absl::StatusOr<Json> ParseObject(absl::string_view text, absl::string_view what,
                                 const Names* only) {
  int free = kNoDepth;  // at which depth all names are kept
  const auto keep = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event != Json::parse_event_t::key || depth >= free) return true;
    const auto& name = parsed.get_ref<const std::string&>();
    free = kNoDepth;
    if (!only->contains(name)) return false;
    if (name == "labels" || name == "annotations") free = depth + 1;
    return true;
  };
  Json json = only == nullptr ? Json::parse(text.begin(), text.end(), nullptr, false)
                              : Json::parse(text.begin(), text.end(), keep, false);
  if (json.is_object()) return json;
  return absl::InvalidArgumentError(absl::StrCat(what, " is no JSON object"));
}

const Json* At(const Json& from, std::initializer_list<const char*> names) {
  const Json* at = &from;
  for (const char* name : names) {
    if (!at->is_object()) return nullptr;
    const auto found = at->find(name);
    if (found == at->end()) return nullptr;
    at = &*found;
  }
  return at;
}

std::string TextAt(const Json& from, std::initializer_list<const char*> names, size_t most) {
  const Json* at = At(from, names);
  if (at == nullptr || !at->is_string()) return "";
  const auto& text = at->get_ref<const std::string&>();
  return text.size() <= most ? text : "";
}

bool IsTrueAt(const Json& from, std::initializer_list<const char*> names) {
  const Json* at = At(from, names);
  return at != nullptr && at->is_boolean() && at->get<bool>();
}

std::optional<int64_t> NumberAt(const Json& from, std::initializer_list<const char*> names) {
  const Json* at = At(from, names);
  if (at == nullptr || !at->is_number_integer()) return std::nullopt;
  return at->get<int64_t>();
}

std::optional<std::map<std::string, std::string>> TextsAt(const Json& from,
                                                          std::initializer_list<const char*> names,
                                                          size_t most) {
  std::map<std::string, std::string> texts;
  const Json* at = At(from, names);
  if (at == nullptr || at->is_null()) return texts;
  if (!at->is_object() || at->size() > most) return std::nullopt;
  for (const auto& [name, value] : at->items()) {
    if (!value.is_string() || name.size() > kMaxText) return std::nullopt;
    const auto& text = value.get_ref<const std::string&>();
    if (text.size() > kMaxText) return std::nullopt;
    texts[name] = text;
  }
  return texts;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace linchpin::kube
