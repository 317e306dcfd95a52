// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Looking into JSON that others wrote: nothing throws, what is not there or of another type is
// nothing.
#pragma once

#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::kube {

using Json = nlohmann::json;

// INVALID_ARGUMENT names `what`: no JSON, or no object. With `only`, what is not below one of these
// names is not kept, wherever it is; below "labels" and "annotations" all is. So an
// object that somebody has filled takes no more memory than its text.
using Names = std::set<std::string, std::less<>>;
absl::StatusOr<Json> ParseObject(absl::string_view text, absl::string_view what,
                                 const Names* only = nullptr);
// The value at the end of these names; null: there is none.
const Json* At(const Json& from, std::initializer_list<const char*> names);
// The text there; empty: there is none, or more than `most` bytes of it.
std::string TextAt(const Json& from, std::initializer_list<const char*> names, size_t most = 1024);
bool IsTrueAt(const Json& from, std::initializer_list<const char*> names);
std::optional<int64_t> NumberAt(const Json& from, std::initializer_list<const char*> names);
// Names and texts of the object there. Nothing: one of them is no text or is over 1 KiB, or there
// are more than `most`. An empty map: there is no such object.
std::optional<std::map<std::string, std::string>> TextsAt(const Json& from,
                                                          std::initializer_list<const char*> names,
                                                          size_t most);
// One line of JSON; text that is no UTF-8 is mended.
std::string Dump(const Json& json);

}  // namespace linchpin::kube
