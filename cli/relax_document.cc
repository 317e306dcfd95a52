// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/relax_document.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/output.h"
#include "cli/table.h"
#include "trust/freshness.h"
#include "trust/signatures.h"

namespace linchpin::cli {
namespace {

constexpr char kRelaxKind[] = "linchpin_relax";
constexpr char kFreshnessKind[] = "linchpin_freshness";

absl::Status Bad(const std::string& name, const absl::Status& fault) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", fault.message()));
}

Json Readable(const trust::v1::Relax& relax) {
  return {{"trust_domain", relax.trust_domain()},
          {"version", relax.version()},
          {"relaxes", "issuer pins"},
          {"issued_at", TimeText(relax.issued_at())},
          {"latest", TimeText(relax.latest())},
          {"for_at_most", DurationText(relax.max_seconds())}};
}

Json Readable(const trust::v1::Freshness& statement) {
  return {{"trust_domain", statement.trust_domain()},
          {"newest_version", statement.version()},
          {"issued_at", TimeText(statement.issued_at())},
          {"expires_at", TimeText(statement.expires_at())}};
}

absl::StatusOr<RelaxDocument> MakeRelaxDocument(trust::v1::SignedRelax document,
                                                trust::v1::SignedPinSet set) {
  ASSIGN_OR_RETURN(trust::Relax relax, trust::ParseRelax(document.payload()));
  ASSIGN_OR_RETURN(trust::PinSet pin_set, trust::ParsePinSet(set.payload()));
  if (pin_set.trust_domain != relax.trust_domain ||
      pin_set.message.version() != relax.message.version()) {
    return absl::InvalidArgumentError("\"set\" is another pin set than the one it relaxes");
  }
  return RelaxDocument{std::move(document), std::move(relax.message), std::move(set),
                       std::move(pin_set)};
}

trust::SignedBytes BytesOf(const RelaxDocument& document) {
  return {trust::RelaxSigningInput(document.document.payload()), document.document.signatures()};
}

}  // namespace

absl::StatusOr<RelaxDocument> DraftRelax(const trust::v1::SignedPinSet& set,
                                         const RelaxRequest& request, absl::Time now) {
  ASSIGN_OR_RETURN(const trust::PinSet pin_set, trust::ParsePinSet(set.payload()));
  trust::v1::Relax relax;
  relax.set_trust_domain(pin_set.trust_domain.name());
  relax.set_version(pin_set.message.version());
  relax.set_scope(trust::v1::Relax::ISSUER_PINS);
  relax.set_issued_at(absl::ToUnixSeconds(now));
  relax.set_latest(absl::ToUnixSeconds(request.latest));
  relax.set_max_seconds(absl::ToInt64Seconds(request.longest));
  trust::v1::SignedRelax document;
  document.set_payload(relax.SerializeAsString());
  return MakeRelaxDocument(std::move(document), set);
}

std::string EncodeRelaxDocument(const RelaxDocument& document) {
  Json json = {{kRelaxKind, 1}, {"relax", Readable(document.relax)}};
  EncodeSignedParts(document.document.payload(), document.document.signatures(), &json);
  json["set"] = Json::object();
  EncodeSignedParts(document.set.payload(), document.set.signatures(), &json["set"]);
  return DumpDocument(json);
}

absl::StatusOr<RelaxDocument> DecodeRelaxDocument(absl::string_view text, const std::string& name) {
  const auto decode = [&]() -> absl::StatusOr<RelaxDocument> {
    if (text.size() > kMaxPinSetDocument) return absl::InvalidArgumentError("too large");
    ASSIGN_OR_RETURN(const Json json, ParseUnambiguous(text));
    if (DocumentKind(json) != kRelaxKind) {
      return absl::InvalidArgumentError("no relax document: make one with linchpin pins relax");
    }
    RETURN_IF_ERROR(CheckForm(json, kRelaxKind, {"relax", "payload", "signatures", "set"}));
    if (!json.contains("set") || !json["set"].is_object()) {
      return absl::InvalidArgumentError("\"set\" is not there");
    }
    ASSIGN_OR_RETURN(SignedParts of_set, DecodeSignedParts(json["set"]));
    ASSIGN_OR_RETURN(SignedParts own, DecodeSignedParts(json));
    trust::v1::SignedPinSet set;
    set.set_payload(std::move(of_set.payload));
    *set.mutable_signatures() = std::move(of_set.signatures);
    trust::v1::SignedRelax document;
    document.set_payload(std::move(own.payload));
    *document.mutable_signatures() = std::move(own.signatures);
    ASSIGN_OR_RETURN(RelaxDocument made, MakeRelaxDocument(std::move(document), std::move(set)));
    RETURN_IF_ERROR(CheckShown(json, "relax", Readable(made.relax)));
    return made;
  };
  absl::StatusOr<RelaxDocument> document = decode();
  if (!document.ok()) return Bad(name, document.status());
  return document;
}

absl::Status SignRelaxDocument(const x509::PrivateKey& key, RelaxDocument* document) {
  const std::vector<x509::PublicKey>& signers = document->pin_set.signers.keys;
  const bool known = std::any_of(signers.begin(), signers.end(), [&](const auto& signer) {
    return signer.pin() == key.public_key().pin();
  });
  if (!known) {
    return absl::PermissionDeniedError(absl::StrCat(key.public_key().pin().ToString(),
                                                    " is no signer of pin set version ",
                                                    document->relax.version()));
  }
  trust::v1::Signature made = trust::SignRelax(document->document.payload(), key);
  for (trust::v1::Signature& signature : *document->document.mutable_signatures()) {
    if (signature.key_id() != made.key_id()) continue;
    signature = std::move(made);
    return absl::OkStatus();
  }
  *document->document.add_signatures() = std::move(made);
  return absl::OkStatus();
}

absl::Status CheckRelaxSigned(const RelaxDocument& document) {
  return trust::CheckThreshold(document.pin_set.signers, BytesOf(document), "the relax document",
                               "set's");
}

std::string DescribeRelax(const RelaxDocument& document, absl::Time now) {
  const trust::v1::Relax& relax = document.relax;
  const absl::Time latest = absl::FromUnixSeconds(relax.latest());
  std::string out =
      absl::StrCat("relax document for pin set ", relax.version(), " of ", relax.trust_domain(),
                   "\nonce it is played, issuers' pins of that version are only reported, for ",
                   DurationText(relax.max_seconds()), " and never after ", TimeText(latest),
                   now >= latest ? " (which is past)" : "",
                   "; anchors, policy and revocations hold; a newer set ends it\n");
  Table table;
  for (const x509::PublicKey& key : document.pin_set.signers.keys) {
    trust::SignerSet one{.keys = {key}, .threshold = 1};
    table.Add({"signer", key.pin().ToString(),
               trust::CountSigners(one, BytesOf(document)) > 0 ? "signed" : "not signed"});
  }
  absl::StrAppend(&out, table.ToString(),
                  trust::CountSigners(document.pin_set.signers, BytesOf(document)), " signed of ",
                  document.pin_set.signers.keys.size(), " signers, ",
                  document.pin_set.signers.threshold, " needed\n");
  return out;
}

std::string EncodeFreshnessDocument(const FreshnessDocument& document) {
  const Json json = {{kFreshnessKind, 1},
                     {"freshness", Readable(document.statement)},
                     {"payload", absl::Base64Escape(document.document.payload())},
                     {"signature", absl::Base64Escape(document.document.signature())}};
  return DumpDocument(json);
}

absl::StatusOr<FreshnessDocument> DecodeFreshnessDocument(absl::string_view text,
                                                          const std::string& name) {
  const auto decode = [&]() -> absl::StatusOr<FreshnessDocument> {
    if (text.size() > kMaxPinSetDocument) return absl::InvalidArgumentError("too large");
    ASSIGN_OR_RETURN(const Json json, ParseUnambiguous(text));
    if (DocumentKind(json) != kFreshnessKind) {
      return absl::InvalidArgumentError(
          "no freshness statement: make one with linchpin pins fresh");
    }
    RETURN_IF_ERROR(CheckForm(json, kFreshnessKind, {"freshness", "payload", "signature"}));
    FreshnessDocument made;
    ASSIGN_OR_RETURN(*made.document.mutable_payload(), Base64Field(json, "payload"));
    ASSIGN_OR_RETURN(*made.document.mutable_signature(), Base64Field(json, "signature"));
    ASSIGN_OR_RETURN(made.statement, trust::ParseFreshness(made.document.payload()));
    RETURN_IF_ERROR(CheckShown(json, "freshness", Readable(made.statement)));
    return made;
  };
  absl::StatusOr<FreshnessDocument> document = decode();
  if (!document.ok()) return Bad(name, document.status());
  return document;
}

std::string DescribeFreshness(const FreshnessDocument& document, absl::Time now) {
  const trust::v1::Freshness& statement = document.statement;
  return absl::StrCat(
      "freshness statement of ", statement.trust_domain(), ": pin set ", statement.version(),
      " is the newest, said at ", TimeText(statement.issued_at()), ", good until ",
      TimeText(statement.expires_at()),
      now >= absl::FromUnixSeconds(statement.expires_at()) ? " (which is past)" : "", "\n");
}

}  // namespace linchpin::cli
