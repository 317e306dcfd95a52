// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/config_file.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <exception>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/durable_file.h"
#include "base/status_macros.h"

namespace linchpin::base {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kMaxBytes = 1024 * 1024;
constexpr int kMaxDepth = 16;

// What a tree of nodes no longer shows: aliases, which make a small file a huge tree, and depth.
class Surveyor final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override { ++documents; }
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Complain(mark, "aliases are not allowed");
  }
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Enter(mark);
  }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Enter(mark);
  }
  void OnMapEnd() override { --depth_; }

  int documents = 0;
  int line = 0;
  std::string complaint;

 private:
  void Enter(const YAML::Mark& mark) {
    if (++depth_ > kMaxDepth) {
      Complain(mark, absl::StrCat("nested more than ", kMaxDepth, " deep"));
    }
  }
  void Complain(const YAML::Mark& mark, const std::string& what) {
    if (!complaint.empty()) return;
    complaint = what;
    line = mark.line + 1;
  }
  int depth_ = 0;
};

// Walks a YAML map beside the message's descriptor.
class Reader {
 public:
  explicit Reader(std::string name) : name_(std::move(name)) {}

  absl::Status ReadMessage(const YAML::Node& node, const std::string& path, Message* message) {
    if (!node.IsMap()) return Wrong(node, path, "expected a map of fields");
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return Wrong(entry.first, path, "a field's name is no text");
      const std::string key = entry.first.Scalar();
      const std::string field_path = path.empty() ? key : path + "." + key;
      const FieldDescriptor* const field = message->GetDescriptor()->FindFieldByName(key);
      if (field == nullptr) {
        return Wrong(entry.first, field_path,
                     "unknown field; known here: " + KnownFields(*message->GetDescriptor()));
      }
      if (!seen.insert(key).second) return Wrong(entry.first, field_path, "given twice");
      RETURN_IF_ERROR(ReadField(entry.second, field_path, field, message));
    }
    return absl::OkStatus();
  }

  absl::Status At(int line, const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat(name_, ":", line, ": ", what));
  }

 private:
  static std::string KnownFields(const Descriptor& descriptor) {
    std::vector<std::string> names;
    for (int i = 0; i < descriptor.field_count(); ++i) {
      names.push_back(descriptor.field(i)->name());
    }
    return absl::StrJoin(names, ", ");
  }

  absl::Status Wrong(const YAML::Node& node, const std::string& path,
                     const std::string& what) const {
    const std::string field = path.empty() ? "" : absl::StrCat(absl::CHexEscape(path), ": ");
    return At(node.Mark().line + 1, field + what);
  }

  absl::Status ReadField(const YAML::Node& node, const std::string& path,
                         const FieldDescriptor* field, Message* message) {
    if (field->is_map()) return Wrong(node, path, "maps are not supported");
    if (!field->is_repeated()) return ReadValue(node, path, field, message);
    if (!node.IsSequence()) return Wrong(node, path, "expected a list");
    for (size_t i = 0; i < node.size(); ++i) {
      RETURN_IF_ERROR(ReadValue(node[i], absl::StrCat(path, "[", i, "]"), field, message));
    }
    return absl::OkStatus();
  }

  absl::Status ReadValue(const YAML::Node& node, const std::string& path,
                         const FieldDescriptor* field, Message* message) {
    const Reflection* const reflection = message->GetReflection();
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      Message* const child = field->is_repeated() ? reflection->AddMessage(message, field)
                                                  : reflection->MutableMessage(message, field);
      return ReadMessage(node, path, child);
    }
    if (!node.IsScalar()) return Wrong(node, path, "expected one value");
    const std::string& tag = node.Tag();
    const bool plain = tag == "?";
    if (!plain && tag != "!" && !tag.empty()) {
      return Wrong(node, path, absl::StrCat("the tag ", absl::CHexEscape(tag), " is unknown here"));
    }
    const char* const expected = SetScalar({node.Scalar(), plain}, field, message);
    if (expected == nullptr) return absl::OkStatus();
    return Wrong(node, path,
                 absl::StrCat("expected ", expected, ", found '",
                              absl::CHexEscape(node.Scalar().substr(0, 80)), "'"));
  }

  struct Scalar {
    std::string text;
    bool plain;  // not quoted
  };

  template <typename Number>
  static bool Parse(const Scalar& scalar, Number* number) {
    if (!scalar.plain) return false;
    if constexpr (std::is_floating_point_v<Number>) {
      return absl::SimpleAtod(scalar.text, number);
    } else {
      return absl::SimpleAtoi(scalar.text, number);
    }
  }

  // Null when set, else what was expected.
  static const char* SetScalar(const Scalar& scalar, const FieldDescriptor* field,
                               Message* message) {
    const Reflection* const r = message->GetReflection();
    const bool many = field->is_repeated();
    switch (field->type()) {
      case FieldDescriptor::TYPE_STRING: {
        many ? r->AddString(message, field, scalar.text)
             : r->SetString(message, field, scalar.text);
        return nullptr;
      }
      case FieldDescriptor::TYPE_BOOL: {
        const bool value = scalar.text == "true";
        if (!scalar.plain || (!value && scalar.text != "false")) return "true or false";
        many ? r->AddBool(message, field, value) : r->SetBool(message, field, value);
        return nullptr;
      }
      case FieldDescriptor::TYPE_ENUM: {
        const auto* const value = field->enum_type()->FindValueByName(scalar.text);
        if (value == nullptr) return "one of the names of the choice";
        many ? r->AddEnum(message, field, value) : r->SetEnum(message, field, value);
        return nullptr;
      }
      default:
        return SetNumber(scalar, field, message);
    }
  }

  static const char* SetNumber(const Scalar& scalar, const FieldDescriptor* field,
                               Message* message) {
    const Reflection* const r = message->GetReflection();
    const bool many = field->is_repeated();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32: {
        int32_t value = 0;
        if (!Parse(scalar, &value)) return "a whole number of 32 bits";
        many ? r->AddInt32(message, field, value) : r->SetInt32(message, field, value);
        return nullptr;
      }
      case FieldDescriptor::CPPTYPE_UINT32: {
        uint32_t value = 0;
        if (!Parse(scalar, &value)) return "a whole number of 32 bits, not negative";
        many ? r->AddUInt32(message, field, value) : r->SetUInt32(message, field, value);
        return nullptr;
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        int64_t value = 0;
        if (!Parse(scalar, &value)) return "a whole number";
        many ? r->AddInt64(message, field, value) : r->SetInt64(message, field, value);
        return nullptr;
      }
      case FieldDescriptor::CPPTYPE_UINT64: {
        uint64_t value = 0;
        if (!Parse(scalar, &value)) return "a whole number, not negative";
        many ? r->AddUInt64(message, field, value) : r->SetUInt64(message, field, value);
        return nullptr;
      }
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        double value = 0;
        if (!Parse(scalar, &value)) return "a number";
        many ? r->AddDouble(message, field, value) : r->SetDouble(message, field, value);
        return nullptr;
      }
      default:
        return "a kind of value that configuration files do not carry";
    }
  }

  const std::string name_;
};

absl::Status Survey(const std::string& text, const Reader& reader) {
  Surveyor surveyor;
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  while (surveyor.complaint.empty() && surveyor.documents < 2 &&
         parser.HandleNextDocument(surveyor)) {
  }
  if (!surveyor.complaint.empty()) return reader.At(surveyor.line, surveyor.complaint);
  if (surveyor.documents > 1) return reader.At(1, "more than one YAML document");
  return absl::OkStatus();
}

}  // namespace

absl::Status LoadConfigFile(const std::string& path, Message* config) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  return LoadConfigText(text, path, config);
}

absl::Status LoadConfigText(absl::string_view yaml, absl::string_view name, Message* config) {
  const std::string text(yaml);
  Reader reader{std::string(name)};
  if (text.size() > kMaxBytes) {
    return reader.At(1, absl::StrCat("larger than ", kMaxBytes, " bytes"));
  }
  // Zero bytes end the text for the YAML scanner: what follows would be ignored unseen.
  if (text.find('\0') != std::string::npos) return reader.At(1, "contains a zero byte");
  try {
    RETURN_IF_ERROR(Survey(text, reader));
    const YAML::Node root = YAML::Load(text);
    if (root.IsNull() || !root.IsDefined()) return absl::OkStatus();
    return reader.ReadMessage(root, "", config);
  } catch (const YAML::Exception& error) {
    return reader.At(error.mark.line + 1, absl::StrCat("malformed YAML: ", error.msg));
  } catch (const std::exception& error) {
    return reader.At(1, absl::StrCat("unreadable: ", error.what()));
  }
}

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text, absl::string_view field) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration <= absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat(field,
                     ": expected a positive duration such as 90s, 10m, 1h30m or 24h, "
                     "found '",
                     absl::CHexEscape(text.substr(0, 80)), "'"));
  }
  return duration;
}

}  // namespace linchpin::base
