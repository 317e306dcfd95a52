// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/pins_document.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/output.h"
#include "cli/table.h"

namespace linchpin::cli {
namespace {

using Json = nlohmann::ordered_json;
using trust::v1::IssuerPin;
using trust::v1::PinSet;

constexpr int kForm = 1;
constexpr std::array<const char*, 4> kFields = {"linchpin_pin_set", "pin_set", "payload",
                                                "signatures"};

std::string RoleText(IssuerPin::Role role) {
  return absl::AsciiStrToLower(IssuerPin::Role_Name(role));
}

absl::Status Bad(const std::string& name, absl::string_view fault) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", fault));
}

// Everything that the payload says, in words.
Json Readable(const trust::PinSet& set) {
  const PinSet& message = set.message;
  Json anchors = Json::array();
  for (const auto& anchor : message.anchors()) {
    anchors.push_back({{"pin", PinText(anchor.spki_sha256())}, {"label", anchor.label()}});
  }
  Json issuers = Json::array();
  for (const auto& issuer : message.issuers()) {
    Json entry = {{"pin", PinText(issuer.spki_sha256())}, {"role", RoleText(issuer.role())}};
    if (issuer.has_proof()) entry["key_proved_at"] = TimeText(issuer.proof().made_at());
    issuers.push_back(std::move(entry));
  }
  Json keys = Json::array();
  for (const x509::PublicKey& key : set.signers.keys) keys.push_back(key.pin().ToString());
  return {{"trust_domain", message.trust_domain()},
          {"version", message.version()},
          {"mode", ModeText(message.mode())},
          {"anchors", std::move(anchors)},
          {"issuers", std::move(issuers)},
          {"any_under_anchor", message.any_under_anchor()},
          {"issued_at", TimeText(message.issued_at())},
          {"expires_at", TimeText(message.expires_at())},
          {"on_expiry", OnExpiryText(message.on_expiry())},
          {"urgent", message.urgent()},
          {"signers", {{"threshold", set.signers.threshold}, {"keys", std::move(keys)}}}};
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

absl::StatusOr<trust::v1::SignedPinSet> DecodeSigned(const Json& json) {
  trust::v1::SignedPinSet signed_set;
  ASSIGN_OR_RETURN(*signed_set.mutable_payload(), Base64Field(json, "payload"));
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
    trust::v1::Signature* signature = signed_set.add_signatures();
    signature->set_key_id(pin.bytes());
    ASSIGN_OR_RETURN(*signature->mutable_signature(), Base64Field(entry, "signature"));
  }
  return signed_set;
}

// A name that is there twice is refused: JSON leaves open which of the two counts, and a signer who
// reads the file may see the other one. Discarded if it is no JSON.
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

const x509::PublicKey* FindSigner(const trust::PinSet& set, const std::string& key_id) {
  for (const x509::PublicKey& key : set.signers.keys) {
    if (key.pin().bytes() == key_id) return &key;
  }
  return nullptr;
}

}  // namespace

std::string ModeText(PinSet::Mode mode) { return absl::AsciiStrToLower(PinSet::Mode_Name(mode)); }

std::string OnExpiryText(PinSet::OnExpiry on_expiry) {
  if (on_expiry == PinSet::RELAX) return "report_only";
  return absl::AsciiStrToLower(PinSet::OnExpiry_Name(on_expiry));
}

absl::StatusOr<PinSetDocument> MakePinSetDocument(trust::v1::SignedPinSet signed_set) {
  ASSIGN_OR_RETURN(trust::PinSet set, trust::ParsePinSet(signed_set.payload()));
  const std::string input = trust::PinSetSigningInput(signed_set.payload());
  for (const trust::v1::Signature& signature : signed_set.signatures()) {
    const x509::PublicKey* signer = FindSigner(set, signature.key_id());
    // Signers of the set before are known to its holders only.
    if (signer == nullptr || signer->Verify(input, signature.signature()).ok()) continue;
    return absl::InvalidArgumentError(absl::StrCat("the signature of ", PinText(signature.key_id()),
                                                   " does not verify: sign again"));
  }
  return PinSetDocument{std::move(signed_set), std::move(set)};
}

std::string EncodePinSetDocument(const PinSetDocument& document) {
  Json signatures = Json::array();
  for (const trust::v1::Signature& signature : document.signed_set.signatures()) {
    signatures.push_back({{"key", PinText(signature.key_id())},
                          {"signature", absl::Base64Escape(signature.signature())}});
  }
  const Json json = {{"linchpin_pin_set", kForm},
                     {"pin_set", Readable(document.set)},
                     {"payload", absl::Base64Escape(document.signed_set.payload())},
                     {"signatures", std::move(signatures)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<PinSetDocument> DecodePinSetDocument(absl::string_view text,
                                                    const std::string& name) {
  if (text.size() > kMaxPinSetDocument) return Bad(name, "larger than any pin set document");
  absl::StatusOr<Json> parsed = ParseUnambiguous(text);
  if (!parsed.ok()) return Bad(name, parsed.status().message());
  const Json& json = *parsed;
  if (!json.is_object() || !json.contains("linchpin_pin_set")) {
    return Bad(name, "no pin set document: make one with linchpin pins draft");
  }
  if (json["linchpin_pin_set"] != kForm) {
    return Bad(name, absl::StrCat("a pin set document of another form than ", kForm,
                                  ": use the version of linchpin that wrote it"));
  }
  for (const auto& [field, value] : json.items()) {
    if (absl::c_linear_search(kFields, field)) continue;
    return Bad(name,
               absl::StrCat("\"", absl::CEscape(field), "\" belongs into no pin set document"));
  }
  absl::StatusOr<trust::v1::SignedPinSet> signed_set = DecodeSigned(json);
  if (!signed_set.ok()) return Bad(name, signed_set.status().message());
  absl::StatusOr<PinSetDocument> document = MakePinSetDocument(*std::move(signed_set));
  if (!document.ok()) return Bad(name, document.status().message());
  const Json readable = Readable(document->set);
  const auto shown = json.find("pin_set");
  if (shown == json.end() || !shown->is_object()) return Bad(name, "\"pin_set\" is not there");
  for (const auto& [field, value] : readable.items()) {
    if (!shown->contains(field) || (*shown)[field] != value) {
      return Bad(name, absl::StrCat("\"pin_set\" shows another \"", field,
                                    "\" than its payload holds: draft it again, do not sign it"));
    }
  }
  if (shown->size() != readable.size()) {
    return Bad(name, "\"pin_set\" shows more than its payload holds: draft it again, do not sign");
  }
  return document;
}

void SignPinSetDocument(const x509::PrivateKey& key, PinSetDocument* document) {
  trust::v1::Signature made = trust::SignPinSet(document->signed_set.payload(), key);
  for (trust::v1::Signature& signature : *document->signed_set.mutable_signatures()) {
    if (signature.key_id() != made.key_id()) continue;
    signature = std::move(made);
    return;
  }
  *document->signed_set.add_signatures() = std::move(made);
}

bool IsSigner(const PinSetDocument& document, const x509::PublicKey& key) {
  return FindSigner(document.set, key.pin().bytes()) != nullptr;
}

size_t CountSignatures(const PinSetDocument& document) {
  return static_cast<size_t>(std::count_if(
      document.set.signers.keys.begin(), document.set.signers.keys.end(),
      [&](const x509::PublicKey& key) {
        const auto& signatures = document.signed_set.signatures();
        return std::any_of(signatures.begin(), signatures.end(), [&](const auto& signature) {
          return signature.key_id() == key.pin().bytes();
        });
      }));
}

std::string DescribePinSet(const PinSetDocument& document) {
  const PinSet& message = document.set.message;
  std::string out = Printable(absl::StrCat(
      "pin set ", message.version(), " of ", message.trust_domain(), ": ", ModeText(message.mode()),
      message.any_under_anchor() ? ", root-pin" : "", message.urgent() ? ", urgent" : ""));
  absl::StrAppend(&out, "\nissued ", TimeText(message.issued_at()), ", expires ",
                  TimeText(message.expires_at()), ", then ", OnExpiryText(message.on_expiry()),
                  "\n");
  Table table;
  for (const auto& anchor : message.anchors()) {
    table.Add({"anchor", PinText(anchor.spki_sha256()), anchor.label()});
  }
  for (const auto& issuer : message.issuers()) {
    table.Add({"issuer", PinText(issuer.spki_sha256()),
               issuer.has_proof() ? absl::StrCat(RoleText(issuer.role()), ", key proved ",
                                                 TimeText(issuer.proof().made_at()))
                                  : RoleText(issuer.role())});
  }
  for (const x509::PublicKey& key : document.set.signers.keys) {
    const auto& signatures = document.signed_set.signatures();
    const bool has_signed =
        std::any_of(signatures.begin(), signatures.end(),
                    [&](const auto& signature) { return signature.key_id() == key.pin().bytes(); });
    table.Add({"signer", key.pin().ToString(), has_signed ? "signed" : "not signed"});
  }
  absl::StrAppend(&out, table.ToString(), CountSignatures(document), " signed of ",
                  document.set.signers.keys.size(), " signers, ", document.set.signers.threshold,
                  " needed\n");
  return out;
}

}  // namespace linchpin::cli
