// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/pin_files.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "trust/text.h"
#include "x509/spki_pin.h"

namespace linchpin::agent {
namespace {

using Json = nlohmann::json;

absl::StatusOr<std::vector<std::string>> FilesAt(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return std::vector<std::string>{path};
  std::vector<std::string> files;
  for (std::filesystem::directory_iterator it(path, error), end; it != end; it.increment(error)) {
    if (error) break;
    if (it->path().extension() == ".json") files.push_back(it->path().string());
    if (files.size() > kMaxPinFiles) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " has more than ", kMaxPinFiles, " files"));
    }
  }
  if (error) return absl::UnavailableError(absl::StrCat(path, ": ", error.message()));
  std::sort(files.begin(), files.end());
  return files;
}

// Of a document as its signers leave it. What it shows of itself beside the bytes that are signed
// is for people.
std::string Bytes(const Json& of, const char* field) {
  std::string bytes;
  const auto found = of.find(field);
  if (found == of.end() || !found->is_string()) return bytes;
  return absl::Base64Unescape(found->get_ref<const std::string&>(), &bytes) ? bytes : "";
}

template <typename Signed>
Signed SignedBy(const Json& json) {
  Signed document;
  document.set_payload(Bytes(json, "payload"));
  const auto signatures = json.find("signatures");
  if (signatures == json.end() || !signatures->is_array()) return document;
  for (const Json& entry : *signatures) {
    if (!entry.is_object() || !entry.contains("key") || !entry["key"].is_string()) continue;
    const auto key = x509::SpkiPin::Parse(entry["key"].get_ref<const std::string&>());
    if (!key.ok()) continue;
    trust::v1::Signature* signature = document.add_signatures();
    signature->set_key_id(key->bytes());
    signature->set_signature(Bytes(entry, "signature"));
  }
  return document;
}

template <typename Payload>
std::string DomainOf(const std::string& payload) {
  Payload message;
  return message.ParseFromString(payload) ? message.trust_domain() : "";
}

// What linchpin pins draft, relax and fresh make; none: it is something else.
std::optional<trust::v1::PinDocuments> ReadSigned(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  trust::v1::PinDocuments documents;
  if (json.contains("linchpin_pin_set")) {
    if (json.contains("before") && json["before"].is_object()) {
      *documents.add_pin_sets() = SignedBy<trust::v1::SignedPinSet>(json["before"]);
    }
    *documents.add_pin_sets() = SignedBy<trust::v1::SignedPinSet>(json);
    documents.set_trust_domain(
        DomainOf<trust::v1::PinSet>(documents.pin_sets().rbegin()->payload()));
  } else if (json.contains("linchpin_relax")) {
    *documents.mutable_relax() = SignedBy<trust::v1::SignedRelax>(json);
    documents.set_trust_domain(DomainOf<trust::v1::Relax>(documents.relax().payload()));
  } else if (json.contains("linchpin_freshness")) {
    documents.mutable_freshness()->set_payload(Bytes(json, "payload"));
    documents.mutable_freshness()->set_signature(Bytes(json, "signature"));
    documents.set_trust_domain(DomainOf<trust::v1::Freshness>(documents.freshness().payload()));
  } else {
    return std::nullopt;
  }
  return documents;
}

absl::StatusOr<trust::v1::PinDocuments> Read(const std::string& file, const std::string& text) {
  if (auto documents = ReadSigned(text)) return *std::move(documents);
  trust::v1::PinDocuments documents;
  const auto parsed = google::protobuf::util::JsonStringToMessage(text, &documents);
  if (parsed.ok()) return documents;
  return absl::InvalidArgumentError(
      absl::StrCat(file, " is not what linchpin pins export or linchpin pins sign writes: ",
                   std::string(parsed.message())));
}

}  // namespace

absl::StatusOr<trust::v1::PinDocuments> PinFiles::ReadOne(const std::string& file) const {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(file, kMaxPinFile));
  ASSIGN_OR_RETURN(trust::v1::PinDocuments documents, Read(file, text));
  if (documents.trust_domain() != trust_domain_.name()) {
    return absl::FailedPreconditionError(absl::StrCat(file, " is of trust domain ",
                                                      trust::Quoted(documents.trust_domain()),
                                                      ", expected ", trust_domain_.name()));
  }
  return documents;
}

// A file that is wrong keeps no other out.
std::optional<PinFiles::Seen> PinFiles::Look() {
  Seen read;
  std::string now;
  const absl::StatusOr<std::vector<std::string>> files = FilesAt(path_);
  if (!files.ok()) read.faults.emplace_back(files.status().message());
  for (const std::string& file : files.value_or(std::vector<std::string>())) {
    absl::StatusOr<trust::v1::PinDocuments> documents = ReadOne(file);
    if (documents.ok()) {
      absl::StrAppend(&now, "+", documents->ByteSizeLong(), ":", documents->SerializeAsString());
      read.documents.push_back(*std::move(documents));
    } else {
      read.faults.emplace_back(documents.status().message());
    }
  }
  for (const std::string& fault : read.faults) absl::StrAppend(&now, "-", fault);
  if (seen_ == now) return std::nullopt;
  seen_ = std::move(now);
  return read;
}

}  // namespace linchpin::agent
