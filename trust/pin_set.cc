// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/pin_set.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/signatures.h"
#include "trust/unknown_fields.h"

namespace linchpin::trust {
namespace {

constexpr size_t kMaxPayload = 64 * 1024;
constexpr int kMaxAnchors = 64;
constexpr int kMaxIssuers = 256;
constexpr int kMaxSigners = 32;
constexpr size_t kMaxLabel = 128;
constexpr int64_t kLatestTime = 253402300799;  // 9999-12-31T23:59:59Z, RFC 5280 §4.1.2.5

absl::Status Malformed(absl::string_view entry, absl::string_view fault) {
  return absl::InvalidArgumentError(absl::StrCat("the pin set is malformed: ", entry, ": ", fault));
}

absl::Status CheckTimes(const v1::PinSet& set) {
  if (set.issued_at() <= 0 || set.issued_at() > kLatestTime) {
    return Malformed("issued_at", absl::StrCat(set.issued_at(), " is no time of issue"));
  }
  if (set.expires_at() <= set.issued_at() || set.expires_at() > kLatestTime) {
    return Malformed("expires_at",
                     absl::StrCat(set.expires_at(), " is not after issued_at, ", set.issued_at()));
  }
  if (!v1::PinSet::OnExpiry_IsValid(set.on_expiry())) {
    return Malformed("on_expiry", absl::StrCat("the value ", static_cast<int>(set.on_expiry()),
                                               " is unknown here"));
  }
  return absl::OkStatus();
}

absl::Status CheckAnchors(const v1::PinSet& set, std::set<x509::SpkiPin>* seen) {
  if (set.anchors().empty() || set.anchors_size() > kMaxAnchors) {
    return Malformed("anchors", absl::StrCat("there are ", set.anchors_size(), ", 1 to ",
                                             kMaxAnchors, " are expected"));
  }
  for (int i = 0; i < set.anchors_size(); ++i) {
    const std::string entry = absl::StrCat("anchor ", i);
    absl::StatusOr<x509::SpkiPin> pin = x509::SpkiPin::FromBytes(set.anchors(i).spki_sha256());
    if (!pin.ok()) return Malformed(entry, pin.status().message());
    if (!seen->insert(*pin).second) {
      return Malformed(entry, absl::StrCat(pin->ToString(), " is there twice"));
    }
    if (set.anchors(i).label().size() > kMaxLabel) {
      return Malformed(entry, absl::StrCat("its label is longer than ", kMaxLabel, " bytes"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckProof(const TrustDomain& trust_domain, const x509::SpkiPin& pin,
                        const v1::PossessionProof& proof) {
  ASSIGN_OR_RETURN(const x509::PublicKey key, x509::PublicKey::FromSpki(proof.spki_der()));
  if (key.pin() != pin) {
    return absl::InvalidArgumentError(
        absl::StrCat("its proof of possession is of the key ", key.pin().ToString()));
  }
  if (proof.made_at() <= 0 || proof.made_at() > kLatestTime) {
    return absl::InvalidArgumentError("its proof of possession is not dated");
  }
  return key.Verify(PossessionInput(trust_domain, pin, proof.made_at()), proof.signature());
}

absl::Status CheckIssuers(const TrustDomain& trust_domain, const v1::PinSet& set,
                          std::set<x509::SpkiPin>* seen) {
  if (set.issuers_size() > kMaxIssuers) {
    return Malformed("issuers", absl::StrCat("there are ", set.issuers_size(), ", at most ",
                                             kMaxIssuers, " are allowed"));
  }
  if (set.any_under_anchor() && !set.issuers().empty()) {
    return Malformed("issuers", "there are some although any_under_anchor is set");
  }
  bool active = false;
  bool backup = false;
  for (int i = 0; i < set.issuers_size(); ++i) {
    const v1::IssuerPin& issuer = set.issuers(i);
    const std::string entry = absl::StrCat("issuer ", i);
    absl::StatusOr<x509::SpkiPin> pin = x509::SpkiPin::FromBytes(issuer.spki_sha256());
    if (!pin.ok()) return Malformed(entry, pin.status().message());
    if (!seen->insert(*pin).second) {
      return Malformed(entry, absl::StrCat(pin->ToString(), " is there twice"));
    }
    if (issuer.role() == v1::IssuerPin::ROLE_UNSPECIFIED ||
        !v1::IssuerPin::Role_IsValid(issuer.role())) {
      return Malformed(entry, absl::StrCat(pin->ToString(), " has no role that is known here"));
    }
    active = active || issuer.role() == v1::IssuerPin::ACTIVE;
    backup = backup || issuer.role() == v1::IssuerPin::BACKUP;
    if (!issuer.has_proof() && issuer.role() == v1::IssuerPin::BACKUP) {
      return Malformed(entry, absl::StrCat("the backup ", pin->ToString(),
                                           " has no proof that its key is held"));
    }
    if (!issuer.has_proof()) continue;
    if (absl::Status proof = CheckProof(trust_domain, *pin, issuer.proof()); !proof.ok()) {
      return Malformed(entry, absl::StrCat(pin->ToString(), ": ", proof.message()));
    }
  }
  if (set.mode() == v1::PinSet::ENFORCE && !set.any_under_anchor() && !(active && backup)) {
    return Malformed("issuers", absl::StrCat("an enforced set needs an active and a backup, the ",
                                             active ? "backup" : "active", " is missing"));
  }
  return absl::OkStatus();
}

// A key that can issue must not be able to say which keys may.
absl::Status CheckFreshnessKey(const v1::PinSet& set, const std::set<x509::SpkiPin>& issuing) {
  if (set.freshness_key().empty()) return absl::OkStatus();
  const absl::StatusOr<x509::PublicKey> key = x509::PublicKey::FromSpki(set.freshness_key());
  if (!key.ok()) return Malformed("freshness_key", key.status().message());
  if (absl::Status usable = key->CheckLeafKey(); !usable.ok()) {
    return Malformed("freshness_key", usable.message());
  }
  if (!issuing.contains(key->pin())) return absl::OkStatus();
  return Malformed("freshness_key", absl::StrCat(key->pin().ToString(),
                                                 " is also pinned as an anchor or an issuer; it "
                                                 "must be a key that the CA does not hold"));
}

absl::Status CheckSeparation(const SignerSet& signers, const std::set<x509::SpkiPin>& issuing) {
  for (const x509::PublicKey& signer : signers.keys) {
    if (issuing.contains(signer.pin())) {
      return Malformed("signers", absl::StrCat(signer.pin().ToString(),
                                               " is also pinned as an anchor or an issuer; signers "
                                               "must be keys that the CA does not hold"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SignerSet> DecodeSigners(const v1::Signers& message) {
  if (message.keys().empty() || message.keys_size() > kMaxSigners) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there are ", message.keys_size(), " signers, 1 to ", kMaxSigners, " are expected"));
  }
  SignerSet signers;
  std::set<x509::SpkiPin> seen;
  for (int i = 0; i < message.keys_size(); ++i) {
    absl::StatusOr<x509::PublicKey> key = x509::PublicKey::FromSpki(message.keys(i));
    absl::Status status = key.ok() ? key->CheckLeafKey() : key.status();
    if (status.ok() && !seen.insert(key->pin()).second) {
      status = absl::InvalidArgumentError(absl::StrCat(key->pin().ToString(), " is there twice"));
    }
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("signer ", i, ": ", status.message()));
    }
    signers.keys.push_back(*std::move(key));
  }
  if (message.threshold() < 1 || message.threshold() > signers.keys.size()) {
    return absl::InvalidArgumentError(absl::StrCat("a threshold of ", message.threshold(), " of ",
                                                   signers.keys.size(),
                                                   " signers; 1 to all are allowed"));
  }
  signers.threshold = message.threshold();
  return signers;
}

v1::Signers EncodeSigners(const SignerSet& signers) {
  v1::Signers message;
  for (const x509::PublicKey& key : signers.keys) message.add_keys(key.spki());
  message.set_threshold(signers.threshold);
  return message;
}

absl::StatusOr<PinSet> ParsePinSet(absl::string_view payload) {
  if (payload.empty() || payload.size() > kMaxPayload) {
    return Malformed("payload", absl::StrCat("it has ", payload.size(), " bytes, 1 to ",
                                             kMaxPayload, " are expected"));
  }
  v1::PinSet set;
  if (!set.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return Malformed("payload", "these bytes are no PinSet message");
  }
  if (std::string unknown = FirstUnknownField(set); !unknown.empty()) {
    return Malformed(unknown, "it is unknown here; a newer program is needed to read it");
  }
  absl::StatusOr<TrustDomain> trust_domain = TrustDomain::FromName(set.trust_domain());
  if (!trust_domain.ok()) return Malformed("trust_domain", trust_domain.status().message());
  if (set.version() == 0) return Malformed("version", "it is 0; versions begin at 1");
  if (set.mode() != v1::PinSet::ENFORCE && set.mode() != v1::PinSet::REPORT_ONLY) {
    return Malformed("mode", "it is neither ENFORCE nor REPORT_ONLY");
  }
  RETURN_IF_ERROR(CheckTimes(set));
  std::set<x509::SpkiPin> anchors;
  RETURN_IF_ERROR(CheckAnchors(set, &anchors));
  std::set<x509::SpkiPin> issuers;
  RETURN_IF_ERROR(CheckIssuers(*trust_domain, set, &issuers));
  absl::StatusOr<SignerSet> signers = DecodeSigners(set.signers());
  if (!signers.ok()) return Malformed("signers", signers.status().message());
  issuers.merge(anchors);
  RETURN_IF_ERROR(CheckSeparation(*signers, issuers));
  RETURN_IF_ERROR(CheckFreshnessKey(set, issuers));
  std::stable_sort(set.mutable_issuers()->begin(), set.mutable_issuers()->end(),
                   [](const auto& a, const auto& b) { return a.role() < b.role(); });
  return PinSet{*std::move(trust_domain), std::move(set), *std::move(signers)};
}

std::string PinSetSigningInput(absl::string_view payload) {
  return absl::StrCat("linchpin pin set v1\n", payload);
}

v1::Signature SignPinSet(absl::string_view payload, const x509::PrivateKey& signer) {
  return SignBytes(PinSetSigningInput(payload), signer);
}

std::string PossessionInput(const TrustDomain& trust_domain, const x509::SpkiPin& pin,
                            int64_t made_at) {
  return absl::StrCat("linchpin issuer key possession v1\n", trust_domain.name(), "\n",
                      pin.ToString(), "\n", made_at, "\n");
}

absl::StatusOr<v1::PossessionProof> ProvePossession(const TrustDomain& trust_domain,
                                                    const x509::PrivateKey& key, absl::Time now) {
  v1::PossessionProof proof;
  proof.set_spki_der(key.public_key().spki());
  proof.set_made_at(absl::ToUnixSeconds(now));
  ASSIGN_OR_RETURN(
      *proof.mutable_signature(),
      key.Sign(PossessionInput(trust_domain, key.public_key().pin(), proof.made_at())));
  return proof;
}

v1::EffectivePins Effective(const PinSet& set) {
  v1::EffectivePins pins;
  pins.set_version(set.message.version());
  pins.set_is_signed(true);
  pins.set_mode(set.message.mode());
  for (const v1::AnchorPin& anchor : set.message.anchors()) {
    pins.add_anchors(anchor.spki_sha256());
  }
  for (const v1::IssuerPin& issuer : set.message.issuers()) {
    pins.add_issuers(issuer.spki_sha256());
  }
  pins.set_any_under_anchor(set.message.any_under_anchor());
  pins.set_expires_at(set.message.expires_at());
  pins.set_on_expiry(set.message.on_expiry());
  pins.set_urgent(set.message.urgent());
  return pins;
}

v1::EffectivePins SetZero(const std::vector<x509::SpkiPin>& anchors,
                          const std::vector<x509::SpkiPin>& issuers) {
  v1::EffectivePins pins;
  pins.set_mode(v1::PinSet::ENFORCE);
  for (const x509::SpkiPin& pin : anchors) pins.add_anchors(pin.bytes());
  for (const x509::SpkiPin& pin : issuers) pins.add_issuers(pin.bytes());
  return pins;
}

}  // namespace linchpin::trust
