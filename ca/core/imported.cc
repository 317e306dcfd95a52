// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/imported.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/text.h"
#include "x509/certificate_request.h"
#include "x509/foreign_issuer.h"

namespace linchpin::ca {
namespace {

using Issuers = std::map<std::string, x509::Certificate>;
constexpr char kNotSelfSigned[] =
    "it is not self-signed; issuers are certified by a self-signed root itself, an intermediate "
    "between them is not supported";
// Beyond this, leaf, issuer and root together may be more than anybody takes (kMaxChainBytes).
constexpr size_t kMostBytes = 8192;
constexpr absl::Duration kClocksLag = absl::Minutes(5);
constexpr char kAsk[] = "linchpin ca csr prints what is asked for";

std::string NameOf(const x509::Certificate& certificate) {
  return absl::StrCat("the certificate ", trust::Quoted(certificate.fields().subject), " (",
                      certificate.public_key().pin().ToString(), ")");
}

absl::Status Bad(const x509::Certificate& certificate, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(NameOf(certificate), " is not taken: ", what, "; nothing was imported"));
}

absl::StatusOr<x509::Chain> Parse(const std::vector<std::string>& ders) {
  if (ders.empty() || ders.size() > kMostImported) {
    return absl::InvalidArgumentError(absl::StrCat(ders.size(), " certificates were given; 1 to ",
                                                   kMostImported, " are expected"));
  }
  x509::Chain chain;
  for (const std::string& der : ders) {
    const auto certificate = x509::Certificate::FromDer(der);
    if (!certificate.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("number ", chain.size() + 1, " of what was given: ",
                       std::string(certificate.status().message()), "; nothing was imported"));
    }
    if (std::find(chain.begin(), chain.end(), *certificate) != chain.end()) {
      return Bad(*certificate, "it is given twice");
    }
    chain.push_back(*certificate);
  }
  return chain;
}

// Of whatever is to sign others, root and issuer alike.
absl::Status CheckCa(const x509::Certificate& ca, absl::Time now) {
  const x509::CertificateFields& fields = ca.fields();
  if (fields.subject.empty()) return Bad(ca, "a CA needs a subject");
  if (!fields.is_ca) return Bad(ca, "it is no CA; basicConstraints=critical,CA:TRUE is expected");
  if (fields.has_key_usage && !fields.key_cert_sign) {
    return Bad(ca, "its key usage lacks keyCertSign");
  }
  if (fields.subject_key_id.empty()) {
    return Bad(ca, "it has no subject key identifier; subjectKeyIdentifier=hash is expected");
  }
  if (const absl::Status weak = ca.public_key().CheckStrength(); !weak.ok()) {
    return Bad(ca, weak.message());
  }
  if (fields.weak_signature) {
    return Bad(ca, "it is signed with a weak algorithm; SHA-256 or better is expected");
  }
  if (fields.has_extended_key_usage && !(fields.server_auth && fields.client_auth)) {
    return Bad(ca, "its extended key usage lacks serverAuth or clientAuth, which leaves have");
  }
  const std::string hindering = x509::HinderingExtension(ca);
  if (!hindering.empty()) {
    return Bad(ca, absl::StrCat("it has ", hindering, ", for which ends would refuse its leaves"));
  }
  if (fields.not_before > now) {
    return Bad(ca,
               absl::StrCat("it is valid from ", trust::TimeText(fields.not_before), " and it is ",
                            trust::TimeText(now), "; wait, or check the clocks"));
  }
  if (fields.not_after <= now) {
    return Bad(ca, absl::StrCat("it expired at ", trust::TimeText(fields.not_after)));
  }
  return absl::OkStatus();
}

absl::Status CheckRoot(const x509::Certificate& root, absl::Time now) {
  if (!root.IsSignedBy(root.public_key())) return Bad(root, kNotSelfSigned);
  RETURN_IF_ERROR(CheckCa(root, now));
  const std::optional<int> length = root.fields().path_length;
  if (length.has_value() && *length < 1) {
    return Bad(root,
               "its path length is 0, so it may have no issuer under it; 1 or more, or none "
               "is expected");
  }
  return absl::OkStatus();
}

absl::Status CheckNames(const ImportRules& rules, const x509::Certificate& issuer) {
  const x509::CertificateFields& fields = issuer.fields();
  const std::string own = rules.profile.trust_domain.IdString();
  if (fields.uri_sans.size() > 1 || (fields.uri_sans.size() == 1 && fields.uri_sans[0] != own)) {
    return Bad(issuer, absl::StrCat("it names ", trust::Quoted(fields.uri_sans[0]),
                                    "; of URIs just ", own, ", or none, is expected"));
  }
  for (const x509::Certificate& other : rules.others) {
    if (!x509::HaveSameSubject(other, issuer)) continue;
    return Bad(issuer, absl::StrCat("its subject is that of the authority ",
                                    other.public_key().pin().ToString(),
                                    "; each needs one of its own: take that of its request"));
  }
  return absl::OkStatus();
}

// May it issue here, under `root`?
absl::Status CheckIssuer(const ImportRules& rules, const x509::Certificate& issuer,
                         const x509::Certificate& root, absl::Time now) {
  const x509::CertificateFields& fields = issuer.fields();
  if (fields.issuer_der != root.fields().subject_der || !issuer.IsSignedBy(root.public_key())) {
    return Bad(issuer, absl::StrCat("it is not signed by ", NameOf(root),
                                    "; issuers are certified by the root itself, an intermediate "
                                    "between them is not supported"));
  }
  RETURN_IF_ERROR(CheckCa(issuer, now));
  if (fields.path_length != 0) {
    return Bad(issuer,
               "an issuer's path length is 0; basicConstraints=critical,CA:TRUE,pathlen:0 "
               "is expected");
  }
  if (!fields.has_key_usage) return Bad(issuer, "it has no key usage; keyCertSign is expected");
  if (fields.authority_key_id.empty()) {
    return Bad(issuer,
               "it has no authority key identifier; authorityKeyIdentifier=keyid is expected");
  }
  if (fields.authority_key_id != root.fields().subject_key_id) {
    return Bad(issuer, "its authority key identifier is not the root's subject key identifier");
  }
  if (issuer.der().size() + root.der().size() > kMostBytes) {
    return Bad(issuer, absl::StrCat("it and its root have ", issuer.der().size(), " and ",
                                    root.der().size(), " bytes, together more than the ",
                                    kMostBytes, " that ends can be sent: leave texts out of them"));
  }
  if (fields.not_after > root.fields().not_after) {
    return Bad(issuer, absl::StrCat("it would expire at ", trust::TimeText(fields.not_after),
                                    ", after the root at ",
                                    trust::TimeText(root.fields().not_after), "; lifetimes nest"));
  }
  const absl::Duration least = std::max(rules.profile.node_ttl, rules.profile.leaf_ttl);
  if (fields.not_after - now < least) {
    return Bad(issuer, absl::StrCat("it expires at ", trust::TimeText(fields.not_after),
                                    ", sooner than what it is to issue, which lives ",
                                    absl::FormatDuration(least)));
  }
  return CheckNames(rules, issuer);
}

// Of what is left when those that were asked for are taken out: the root, or why it is none.
absl::StatusOr<x509::Certificate> TheRoot(const ImportRules& rules, const Issuers& issuers,
                                          const x509::Chain& rest, absl::Time now) {
  x509::Chain roots;
  for (const x509::Certificate& one : rest) {
    if (rules.root.has_value() && one == *rules.root) continue;
    if (one.fields().subject_der != one.fields().issuer_der) {
      const bool has_issued = std::any_of(issuers.begin(), issuers.end(), [&](const auto& entry) {
        return entry.second.fields().issuer_der == one.fields().subject_der;
      });
      if (has_issued) return Bad(one, kNotSelfSigned);
      return Bad(one, absl::StrCat("its key is not one that was asked for; ", kAsk));
    }
    for (const x509::Certificate& other : rules.others) {
      if (!(other.public_key() == one.public_key())) continue;
      return Bad(one, "its key is that of an authority that is here already");
    }
    roots.push_back(one);
  }
  if (rules.root.has_value()) {
    if (roots.empty()) return *rules.root;
    return Bad(roots[0], absl::StrCat("the issuers are to be certified by ", NameOf(*rules.root),
                                      "; for another root: linchpin rotate prepare --what root"));
  }
  if (roots.size() == 1) {
    RETURN_IF_ERROR(CheckRoot(roots[0], now));
    return roots[0];
  }
  if (!roots.empty()) return Bad(roots[1], "there is another root; just one is expected");
  return absl::FailedPreconditionError(
      "the root's own certificate is missing; give it too: linchpin ca import ISSUERS... ROOT");
}

}  // namespace

absl::StatusOr<x509::PublicKey> KeyOfAwaited(const state::v1::AwaitedRecord& awaited) {
  const auto request = x509::CertificateRequest::FromDer(awaited.certificate_request());
  if (request.ok()) return request->public_key();
  return absl::DataLossError(
      absl::StrCat("the request for the key ", awaited.key_name(), " cannot be read: ",
                   std::string(request.status().message()), "; restore the store from a backup"));
}

absl::StatusOr<Imported> CheckImport(const ImportRules& rules, const std::vector<std::string>& ders,
                                     absl::Time now) {
  ASSIGN_OR_RETURN(x509::Chain rest, Parse(ders));
  Issuers issuers;
  ImportRules with_new = rules;
  for (const state::v1::AwaitedRecord& awaited : rules.awaited) {
    ASSIGN_OR_RETURN(const x509::PublicKey key, KeyOfAwaited(awaited));
    const auto has_key = [&](const x509::Certificate& one) { return one.public_key() == key; };
    const auto found = std::find_if(rest.begin(), rest.end(), has_key);
    if (found == rest.end()) continue;
    issuers.emplace(key.pin().bytes(), *found);
    rest.erase(found);
    const auto again = std::find_if(rest.begin(), rest.end(), has_key);
    if (again != rest.end()) return Bad(*again, "there is another one for the same key");
  }
  ASSIGN_OR_RETURN(x509::Certificate root, TheRoot(rules, issuers, rest, now));
  if (!rules.root.has_value()) with_new.others.push_back(root);
  for (const auto& [pin, issuer] : issuers) {
    RETURN_IF_ERROR(CheckIssuer(with_new, issuer, root, now));
    with_new.others.push_back(issuer);
  }
  for (const state::v1::AwaitedRecord& awaited : rules.awaited) {
    ASSIGN_OR_RETURN(const x509::PublicKey key, KeyOfAwaited(awaited));
    if (issuers.count(key.pin().bytes()) > 0) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "the certificate of the ", awaited.state(), " issuer (", key.pin().ToString(),
        ") is missing; give all of them in one command, nothing was imported. ", kAsk));
  }
  return Imported{.root = std::move(root), .issuers = std::move(issuers)};
}

std::string ImportWarning(const Profile& profile, const x509::Certificate& issuer, absl::Time now) {
  const x509::CertificateFields& fields = issuer.fields();
  if (issuer.IsSignedBy(issuer.public_key())) return "";
  const absl::Duration life = fields.not_after - fields.not_before;
  std::string warning;
  if (life > 2 * profile.issuer_ttl) {
    warning = absl::StrCat("it lives ", absl::ToInt64Hours(life), "h, authority.issuer_ttl is ",
                           absl::ToInt64Hours(profile.issuer_ttl),
                           "h: whoever steals its key has it as long");
  }
  if (now - fields.not_before < kClocksLag) {
    absl::StrAppend(&warning, warning.empty() ? "" : "; ", "it is valid from ",
                    trust::TimeText(fields.not_before),
                    " on: ends whose clocks are behind that refuse what it signs, so wait ",
                    absl::FormatDuration(kClocksLag), " before it is activated");
  }
  return warning;
}

}  // namespace linchpin::ca
