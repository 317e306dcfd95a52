// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/signed_json.h"

#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/output.h"
#include "x509/spki_pin.h"

namespace linchpin::cli {
namespace {

constexpr int kForm = 1;

}  // namespace

absl::StatusOr<Json> ParseUnambiguous(absl::string_view text) {
  std::vector<std::set<std::string>> names;
  std::string twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key) {
      const std::string& name = parsed.get_ref<const std::string&>();
      if (!names.back().insert(name).second) twice = name;
    }
    return true;
  };
  Json json = Json::parse(text.begin(), text.end(), watch, false);
  if (twice.empty()) return json;
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", absl::CEscape(twice), "\" is there twice: draft it again, do not sign it"));
}

std::string DocumentKind(const Json& json) {
  if (!json.is_object()) return "";
  for (const auto& [field, value] : json.items()) {
    if (absl::StartsWith(field, "linchpin_")) return field;
  }
  return "";
}

absl::Status CheckForm(const Json& json, const std::string& kind,
                       const std::vector<std::string>& fields) {
  if (json[kind] != kForm) {
    return absl::InvalidArgumentError(absl::StrCat("a document of another form than ", kForm,
                                                   ": use the version of linchpin that wrote it"));
  }
  for (const auto& [field, value] : json.items()) {
    if (field == kind || absl::c_linear_search(fields, field)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CEscape(field), "\" belongs into no such document"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Base64Field(const Json& object, const char* field) {
  const auto found = object.find(field);
  std::string bytes;
  if (found == object.end() || !found->is_string() ||
      !absl::Base64Unescape(found->get_ref<const std::string&>(), &bytes)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", field, "\" is not there or no base64"));
  }
  return bytes;
}

absl::StatusOr<SignedParts> DecodeSignedParts(const Json& json) {
  SignedParts parts;
  ASSIGN_OR_RETURN(parts.payload, Base64Field(json, "payload"));
  const auto signatures = json.find("signatures");
  if (signatures == json.end() || !signatures->is_array() || signatures->size() > 64) {
    return absl::InvalidArgumentError("\"signatures\" is not there or no list of at most 64");
  }
  for (const Json& entry : *signatures) {
    const auto key = entry.is_object() ? entry.find("key") : entry.end();
    if (!entry.is_object() || key == entry.end() || !key->is_string()) {
      return absl::InvalidArgumentError("a signature has no \"key\"");
    }
    ASSIGN_OR_RETURN(const x509::SpkiPin pin,
                     x509::SpkiPin::Parse(key->get_ref<const std::string&>()));
    trust::v1::Signature* signature = parts.signatures.Add();
    signature->set_key_id(pin.bytes());
    ASSIGN_OR_RETURN(*signature->mutable_signature(), Base64Field(entry, "signature"));
  }
  return parts;
}

void EncodeSignedParts(absl::string_view payload, const Signatures& signatures, Json* json) {
  Json list = Json::array();
  for (const trust::v1::Signature& signature : signatures) {
    list.push_back({{"key", PinText(signature.key_id())},
                    {"signature", absl::Base64Escape(signature.signature())}});
  }
  (*json)["payload"] = absl::Base64Escape(payload);
  (*json)["signatures"] = std::move(list);
}

absl::Status CheckShown(const Json& json, const std::string& field, const Json& readable) {
  const auto shown = json.find(field);
  if (shown == json.end() || !shown->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat("\"", field, "\" is not there"));
  }
  for (const auto& [name, value] : readable.items()) {
    if (shown->contains(name) && (*shown)[name] == value) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("\"", field, "\" shows another \"", name,
                     "\" than its payload holds: draft it again, do not sign it"));
  }
  if (shown->size() == readable.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", field, "\" shows more than its payload holds: draft it again, do not sign"));
}

std::string DumpDocument(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace linchpin::cli
