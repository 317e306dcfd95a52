// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/record_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "ca/core/registry.h"
#include "linchpin/state/v1/ca_state.pb.h"
#include "trust/text.h"
#include "x509/digest.h"

namespace linchpin::ca {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::ordered_json;

constexpr size_t kMaxBytesShown = 64;
constexpr int kMaxDepth = 16;
constexpr int kMaxInList = 1024;

// Nothing in the store is named so; whoever adds such a field is not betrayed by this file.
bool IsSecret(absl::string_view field) {
  return field == "token" || field == "key" || absl::EndsWith(field, "secret") ||
         absl::EndsWith(field, "private_key") || absl::EndsWith(field, "password");
}

Json BytesJson(const std::string& bytes) {
  if (bytes.size() <= kMaxBytesShown) return absl::BytesToHexString(bytes);
  return absl::StrCat(bytes.size(), " bytes, SHA-256 ",
                      absl::BytesToHexString(x509::Sha256(bytes)));
}

Json MessageJson(const Message& message, int depth);

// `index`: of a repeated field; -1: it is not repeated.
Json ValueJson(const Message& message, const FieldDescriptor* field, int index, int depth) {
  const auto* reflection = message.GetReflection();
  const bool many = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return many ? reflection->GetRepeatedBool(message, field, index)
                  : reflection->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return (many ? reflection->GetRepeatedEnum(message, field, index)
                   : reflection->GetEnum(message, field))
          ->name();
    case FieldDescriptor::CPPTYPE_INT32:
      return many ? reflection->GetRepeatedInt32(message, field, index)
                  : reflection->GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return many ? reflection->GetRepeatedUInt32(message, field, index)
                  : reflection->GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return many ? reflection->GetRepeatedUInt64(message, field, index)
                  : reflection->GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_INT64: {
      const int64_t number = many ? reflection->GetRepeatedInt64(message, field, index)
                                  : reflection->GetInt64(message, field);
      if (!absl::EndsWith(field->name(), "_at")) return number;
      return trust::TimeText(absl::FromUnixSeconds(number));
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string text = many ? reflection->GetRepeatedString(message, field, index)
                              : reflection->GetString(message, field);
      if (field->type() == FieldDescriptor::TYPE_BYTES) return BytesJson(text);
      return text;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageJson(many ? reflection->GetRepeatedMessage(message, field, index)
                              : reflection->GetMessage(message, field),
                         depth + 1);
    default:
      return "(a number)";
  }
}

Json MessageJson(const Message& message, int depth) {
  if (depth > kMaxDepth) return "…";
  if (const auto* signed_set = dynamic_cast<const trust::v1::SignedPinSet*>(&message)) {
    trust::v1::PinSet set;
    if (set.ParseFromString(signed_set->payload())) return MessageJson(set, depth + 1);
  }
  Json json = Json::object();
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    Json& value = json[field->name()];
    if (IsSecret(field->name())) {
      value = "(a secret)";
    } else if (!field->is_repeated()) {
      value = ValueJson(message, field, -1, depth);
    } else {
      value = Json::array();
      const int size = message.GetReflection()->FieldSize(message, field);
      for (int i = 0; i < std::min(size, kMaxInList); ++i) {
        value.push_back(ValueJson(message, field, i, depth));
      }
      if (size > kMaxInList) value.push_back(absl::StrCat("… of ", size));
    }
  }
  return json;
}

// Leaves what differs. Of lists, which are mostly added to, what both have is left out.
void KeepDifference(Json* before, Json* after) {
  std::vector<std::string> names;
  for (const auto& [name, value] : before->items()) names.push_back(name);
  for (const std::string& name : names) {
    if (!after->contains(name)) continue;
    Json& was = (*before)[name];
    Json& is = (*after)[name];
    if (was == is) {
      before->erase(name);
      after->erase(name);
    } else if (was.is_object() && is.is_object()) {
      KeepDifference(&was, &is);
    } else if (was.is_array() && is.is_array()) {
      const Json all = was;
      const auto without = [](const Json& list, const Json& other) {
        Json rest = Json::array();
        for (const Json& one : list) {
          if (std::find(other.begin(), other.end(), one) == other.end()) rest.push_back(one);
        }
        return rest;
      };
      was = without(all, is);
      is = without(is, all);
    }
  }
}

std::string Text(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kMaxRecordText) return text;
  return absl::StrCat(trust::Beginning(text, kMaxRecordText - 32), "… of ", text.size(), " bytes");
}

// "identity spiffe://example.org/web".
std::string ObjectName(absl::string_view key, const Message* record) {
  if (const auto* identity = dynamic_cast<const state::v1::IdentityRecord*>(record)) {
    return absl::StrCat("identity ", identity->identity().spiffe_id(), " ",
                        identity->identity().identity_id());
  }
  if (const auto* token = dynamic_cast<const state::v1::TokenRecord*>(record)) {
    return absl::StrCat("token of ", token->node_id());
  }
  if (const auto* policy = dynamic_cast<const state::v1::PolicyRecord*>(record)) {
    return absl::StrCat("policy ", policy->rule().from(), " -> ", policy->rule().to());
  }
  if (const auto* revocation = dynamic_cast<const state::v1::RevocationRecord*>(record)) {
    return absl::StrCat("revocation of ", revocation->what());
  }
  const size_t slash = key.find('/');
  if (slash == absl::string_view::npos) return std::string(key);
  return absl::StrCat(key.substr(0, slash), " ", key.substr(slash + 1));
}

}  // namespace

const std::vector<std::pair<absl::string_view, const Message*>>& RecordKinds() {
  namespace s = state::v1;
  static const auto& kinds = *new std::vector<std::pair<absl::string_view, const Message*>>{
      {"meta", &s::Meta::default_instance()},
      {"trust", &s::TrustRecord::default_instance()},
      {"authority/", &s::AuthorityRecord::default_instance()},
      {"awaited/", &s::AwaitedRecord::default_instance()},
      {"node/", &s::NodeRecord::default_instance()},
      {"token/", &s::TokenRecord::default_instance()},
      {"identity/", &s::IdentityRecord::default_instance()},
      {"policy/", &s::PolicyRecord::default_instance()},
      {"operator/", &s::OperatorRecord::default_instance()},
      {"revocation/", &s::RevocationRecord::default_instance()},
      {"rotation/", &s::RotationRecord::default_instance()},
      {"epoch/", &s::EpochRecord::default_instance()},
      {"seen/", &s::SeenRecord::default_instance()},
      {kLogHeadKey, &s::LogHeadRecord::default_instance()},
  };
  return kinds;
}

std::unique_ptr<Message> ParseRecord(absl::string_view key, absl::string_view value) {
  for (const auto& [kind, prototype] : RecordKinds()) {
    if (!absl::StartsWith(key, kind)) continue;
    std::unique_ptr<Message> record(prototype->New());
    if (!record->ParseFromArray(value.data(), static_cast<int>(value.size()))) return nullptr;
    return record;
  }
  return nullptr;
}

v1::ChangedRecord DescribeChange(absl::string_view key, const Message* before,
                                 const Message* after) {
  v1::ChangedRecord changed;
  changed.set_object(
      std::string(trust::Beginning(ObjectName(key, after != nullptr ? after : before), 600)));
  Json was = before == nullptr ? Json() : MessageJson(*before, 0);
  Json is = after == nullptr ? Json() : MessageJson(*after, 0);
  if (before != nullptr && after != nullptr) KeepDifference(&was, &is);
  if (before != nullptr) changed.set_before(Text(was));
  if (after != nullptr) changed.set_after(Text(is));
  return changed;
}

}  // namespace linchpin::ca
