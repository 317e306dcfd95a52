// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/pins_document.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/output.h"
#include "cli/signed_json.h"
#include "cli/table.h"
#include "trust/signatures.h"

namespace linchpin::cli {
namespace {

using trust::v1::IssuerPin;
using trust::v1::PinSet;

constexpr char kKind[] = "linchpin_pin_set";

std::string RoleText(IssuerPin::Role role) {
  return absl::AsciiStrToLower(IssuerPin::Role_Name(role));
}

absl::Status Bad(const std::string& name, absl::string_view fault) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", fault));
}

std::string FreshnessKeyText(const PinSet& set) {
  if (set.freshness_key().empty()) return "";
  const auto key = x509::PublicKey::FromSpki(set.freshness_key());
  return key.ok() ? key->pin().ToString() : "";
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
  Json readable = {{"trust_domain", message.trust_domain()},
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
  if (!message.freshness_key().empty()) readable["freshness_key"] = FreshnessKeyText(message);
  return readable;
}

const x509::PublicKey* FindKey(const trust::SignerSet& signers, const std::string& key_id) {
  for (const x509::PublicKey& key : signers.keys) {
    if (key.pin().bytes() == key_id) return &key;
  }
  return nullptr;
}

trust::SignedBytes BytesOf(const trust::v1::SignedPinSet& set) {
  return {trust::PinSetSigningInput(set.payload()), set.signatures()};
}

// What a signer compares with is itself a set that its signers signed.
absl::Status CheckBefore(const PinSetDocument& document) {
  const trust::PinSet& before = *document.set_before;
  if (before.trust_domain != document.set.trust_domain ||
      before.message.version() >= document.set.message.version()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"before\" is version ", before.message.version(), " of ",
                     before.trust_domain.name(), ", no set before this one"));
  }
  if (trust::CountSigners(before.signers, BytesOf(*document.before)) < before.signers.threshold) {
    return absl::InvalidArgumentError("\"before\" is not signed by its own signers");
  }
  return absl::OkStatus();
}

// A line for each way in which `after` is another set than `before`.
void AddChanges(const PinSet& before, const PinSet& after, std::string* out) {
  const auto line = [out](const std::string& text) { absl::StrAppend(out, "  ", text, "\n"); };
  const auto pins = [](const PinSet& set) {
    std::map<std::string, std::string> named;
    for (const auto& anchor : set.anchors()) {
      named["anchor " + PinText(anchor.spki_sha256())] = "";
    }
    for (const auto& issuer : set.issuers()) {
      named["issuer " + PinText(issuer.spki_sha256())] = " " + RoleText(issuer.role());
    }
    for (const std::string& spki : set.signers().keys()) {
      const auto key = x509::PublicKey::FromSpki(spki);
      if (key.ok()) named["signer " + key->pin().ToString()] = "";
    }
    return named;
  };
  const std::map<std::string, std::string> was = pins(before);
  const std::map<std::string, std::string> is = pins(after);
  for (const auto& [pin, role] : was) {
    if (!is.contains(pin)) line(absl::StrCat("- ", pin, role));
  }
  for (const auto& [pin, role] : is) {
    const auto old = was.find(pin);
    if (old == was.end()) {
      line(absl::StrCat("+ ", pin, role));
    } else if (old->second != role) {
      line(absl::StrCat("~ ", pin, ":", old->second, " becomes", role));
    }
  }
  const auto changed = [&](const std::string& what, const std::string& old,
                           const std::string& now) {
    if (old != now) line(absl::StrCat("~ ", what, ": ", old, " becomes ", now));
  };
  changed("mode", ModeText(before.mode()), ModeText(after.mode()));
  changed("root-pin", YesNo(before.any_under_anchor()), YesNo(after.any_under_anchor()));
  changed("on expiry", OnExpiryText(before.on_expiry()), OnExpiryText(after.on_expiry()));
  changed("expires", TimeText(before.expires_at()), TimeText(after.expires_at()));
  changed("threshold", absl::StrCat(before.signers().threshold()),
          absl::StrCat(after.signers().threshold()));
  changed("freshness key", FreshnessKeyText(before), FreshnessKeyText(after));
}

std::string NeedText(const PinSetDocument& document, const trust::SignerSet& signers) {
  const uint32_t have = trust::CountSigners(signers, BytesOf(document.signed_set));
  return absl::StrCat(have, " signed of ", signers.keys.size(), " signers, ", signers.threshold,
                      " needed", have >= signers.threshold ? "" : ": not enough yet");
}

}  // namespace

std::string ModeText(PinSet::Mode mode) { return absl::AsciiStrToLower(PinSet::Mode_Name(mode)); }

std::string OnExpiryText(PinSet::OnExpiry on_expiry) {
  if (on_expiry == PinSet::RELAX) return "report_only";
  return absl::AsciiStrToLower(PinSet::OnExpiry_Name(on_expiry));
}

absl::StatusOr<PinSetDocument> MakePinSetDocument(
    trust::v1::SignedPinSet signed_set, const std::optional<trust::v1::SignedPinSet>& before) {
  ASSIGN_OR_RETURN(trust::PinSet set, trust::ParsePinSet(signed_set.payload()));
  PinSetDocument document{std::move(signed_set), std::move(set), before, std::nullopt};
  if (before.has_value()) {
    ASSIGN_OR_RETURN(document.set_before, trust::ParsePinSet(before->payload()));
    RETURN_IF_ERROR(CheckBefore(document));
  }
  const std::string input = trust::PinSetSigningInput(document.signed_set.payload());
  for (const trust::v1::Signature& signature : document.signed_set.signatures()) {
    const x509::PublicKey* signer = FindKey(document.set.signers, signature.key_id());
    if (signer == nullptr && document.set_before.has_value()) {
      signer = FindKey(document.set_before->signers, signature.key_id());
    }
    // Without the set before its signers are not known here.
    if (signer == nullptr || signer->Verify(input, signature.signature()).ok()) continue;
    return absl::InvalidArgumentError(absl::StrCat("the signature of ", PinText(signature.key_id()),
                                                   " does not verify: sign again"));
  }
  return document;
}

std::string EncodePinSetDocument(const PinSetDocument& document) {
  Json json = {{kKind, 1}, {"pin_set", Readable(document.set)}};
  EncodeSignedParts(document.signed_set.payload(), document.signed_set.signatures(), &json);
  if (document.before.has_value()) {
    json["before"] = Json::object();
    EncodeSignedParts(document.before->payload(), document.before->signatures(), &json["before"]);
  }
  return DumpDocument(json);
}

absl::StatusOr<PinSetDocument> DecodePinSetDocument(absl::string_view text,
                                                    const std::string& name) {
  if (text.size() > kMaxPinSetDocument) return Bad(name, "larger than any pin set document");
  const auto decode = [&]() -> absl::StatusOr<PinSetDocument> {
    ASSIGN_OR_RETURN(const Json json, ParseUnambiguous(text));
    if (DocumentKind(json) != kKind) {
      return absl::InvalidArgumentError("no pin set document: make one with linchpin pins draft");
    }
    RETURN_IF_ERROR(CheckForm(json, kKind, {"pin_set", "payload", "signatures", "before"}));
    std::optional<trust::v1::SignedPinSet> before;
    if (json.contains("before")) {
      if (!json["before"].is_object()) return absl::InvalidArgumentError("\"before\" is no set");
      ASSIGN_OR_RETURN(SignedParts parts, DecodeSignedParts(json["before"]));
      before.emplace();
      before->set_payload(std::move(parts.payload));
      *before->mutable_signatures() = std::move(parts.signatures);
    }
    ASSIGN_OR_RETURN(SignedParts parts, DecodeSignedParts(json));
    trust::v1::SignedPinSet signed_set;
    signed_set.set_payload(std::move(parts.payload));
    *signed_set.mutable_signatures() = std::move(parts.signatures);
    ASSIGN_OR_RETURN(PinSetDocument document, MakePinSetDocument(std::move(signed_set), before));
    RETURN_IF_ERROR(CheckShown(json, "pin_set", Readable(document.set)));
    return document;
  };
  absl::StatusOr<PinSetDocument> document = decode();
  if (!document.ok()) return Bad(name, document.status().message());
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
  const std::string id = key.pin().bytes();
  return FindKey(document.set.signers, id) != nullptr ||
         (document.set_before.has_value() && FindKey(document.set_before->signers, id) != nullptr);
}

absl::Status CheckBackupsAreUnused(const PinSetDocument& document) {
  if (!document.set_before.has_value()) return absl::OkStatus();
  const PinSet& before = document.set_before->message;
  for (const IssuerPin& issuer : document.set.message.issuers()) {
    if (issuer.role() != IssuerPin::BACKUP) continue;
    for (const IssuerPin& was : before.issuers()) {
      if (was.spki_sha256() != issuer.spki_sha256() || was.role() == IssuerPin::BACKUP) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          "pin set ", document.set.message.version(), " names ", PinText(issuer.spki_sha256()),
          " as a backup, which was ", RoleText(was.role()), " in version ", before.version(),
          ": a backup must be in no chain that lives. Draft it again from the CA, or, if no "
          "certificate of that issuer is valid any more, sign with --used-backup"));
    }
  }
  return absl::OkStatus();
}

size_t CountSignatures(const PinSetDocument& document) {
  return trust::CountSigners(document.set.signers, BytesOf(document.signed_set));
}

bool IsComplete(const PinSetDocument& document) {
  const trust::SignedBytes bytes = BytesOf(document.signed_set);
  const auto enough = [&](const trust::SignerSet& signers) {
    return trust::CountSigners(signers, bytes) >= signers.threshold;
  };
  return enough(document.set.signers) &&
         (!document.set_before.has_value() || enough(document.set_before->signers));
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
  const auto add_signer = [&](const x509::PublicKey& key, const std::string& whose) {
    const auto& signatures = document.signed_set.signatures();
    const bool has_signed =
        std::any_of(signatures.begin(), signatures.end(),
                    [&](const auto& signature) { return signature.key_id() == key.pin().bytes(); });
    table.Add({"signer", key.pin().ToString(), (has_signed ? "signed" : "not signed") + whose});
  };
  for (const x509::PublicKey& key : document.set.signers.keys) add_signer(key, "");
  if (!message.freshness_key().empty()) table.Add({"freshness", FreshnessKeyText(message), ""});
  const bool changed = document.set_before.has_value() &&
                       document.set_before->message.signers().SerializeAsString() !=
                           message.signers().SerializeAsString();
  if (changed) {
    for (const x509::PublicKey& key : document.set_before->signers.keys) {
      if (FindKey(document.set.signers, key.pin().bytes()) == nullptr) {
        add_signer(key, ", of the set before alone");
      }
    }
  }
  absl::StrAppend(&out, table.ToString(), NeedText(document, document.set.signers), "\n");
  if (changed) {
    absl::StrAppend(&out, "of the set before: ", NeedText(document, document.set_before->signers),
                    "\n");
  }
  if (document.set_before.has_value()) {
    absl::StrAppend(&out, "otherwise than version ", document.set_before->message.version(), ":\n");
    AddChanges(document.set_before->message, message, &out);
  }
  return out;
}

}  // namespace linchpin::cli
