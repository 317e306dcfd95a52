// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/leaf_template.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "x509/der.h"
#include "x509/digest.h"
#include "x509/encoding.h"

namespace linchpin::x509 {
namespace {

// RFC 5280 §4.2.1.2, §4.2.1.6; with tag and length.
constexpr absl::string_view kSubjectKeyIdOid("\x06\x03\x55\x1d\x0e", 5);
constexpr absl::string_view kSubjectAltNameOid("\x06\x03\x55\x1d\x11", 5);
constexpr absl::string_view kTrue("\x01\x01\xff", 3);
constexpr absl::string_view kNoUnusedBits("\x00", 1);
constexpr int kDnsName = 2;  // of GeneralName
constexpr int kUri = 6;

// What all leaves of an issuer share, in the order of RFC 5280 §4.1; each with tag and length.
struct FixedParts {
  std::string version;
  std::string algorithm;
  std::string issuer;
  std::string subject;
  std::string usage;             // basic constraints, key usage, extended key usage
  std::string authority_key_id;  // the extension
};

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("leaf to sign: ", what));
}

absl::Status Unfit(const Certificate& issuer, absl::string_view what) {
  return absl::InternalError(
      absl::StrCat("the leaf template of ", issuer.fields().subject, " cannot be used: ", what));
}

CertificateSpec SampleSpec(const Certificate& issuer) {
  CertificateSpec spec;
  spec.serial = std::string(1, '\1');
  spec.not_before = issuer.fields().not_before;
  spec.not_after = spec.not_before + absl::Seconds(1);
  spec.digital_signature = spec.server_auth = spec.client_auth = true;
  spec.uri_sans = {"urn:linchpin:template"};  // whoever sees it can use it for nothing
  spec.dns_sans = {"template.invalid"};
  return spec;
}

absl::Status CheckProfile(const CertificateSpec& spec) {
  const bool leaf = !spec.is_ca && !spec.path_length && !spec.key_cert_sign && !spec.crl_sign;
  const bool usage = spec.digital_signature && spec.server_auth && spec.client_auth;
  if (leaf && usage && spec.organization.empty() && spec.common_name.empty()) {
    return absl::OkStatus();
  }
  return Bad(
      "expected an empty subject and digital signature for servers and clients, and nothing else");
}

// The TBSCertificate within a certificate.
std::optional<absl::string_view> TbsOf(const Certificate& of) {
  const auto certificate = der::Reader(of.der()).Next(der::kSequence);
  if (!certificate) return std::nullopt;
  const auto tbs = der::Reader(certificate->body).Next(der::kSequence);
  if (!tbs) return std::nullopt;
  return tbs->whole;
}

std::string Text(const std::optional<der::Element>& element) {
  return element ? std::string(element->whole) : "";
}

// Whatever is missing stays empty: the certificate that is then made again is another.
FixedParts Cut(absl::string_view tbs) {
  FixedParts parts;
  der::Reader fields(der::Reader(tbs).Next(der::kSequence).value_or(der::Element{}).body);
  parts.version = Text(fields.Next());
  fields.Next();  // serial
  parts.algorithm = Text(fields.Next());
  parts.issuer = Text(fields.Next());
  fields.Next();  // validity
  parts.subject = Text(fields.Next());
  fields.Next();  // key
  der::Reader explicit_tag(fields.Next().value_or(der::Element{}).body);
  der::Reader extensions(explicit_tag.Next().value_or(der::Element{}).body);
  for (int i = 0; i < 3; ++i) parts.usage += Text(extensions.Next());
  extensions.Next();  // subject key id
  parts.authority_key_id = Text(extensions.Next());
  return parts;
}

std::string SubjectKeyId(const PublicKey& key) {
  const std::string id = der::Write(der::kOctetString, {KeyIdOf(key)});
  return der::Write(der::kSequence, {kSubjectKeyIdOid, der::Write(der::kOctetString, {id})});
}

// Critical: "If the subject field contains an empty sequence, then the issuing CA MUST include a
// subjectAltName extension that is marked as critical" (RFC 5280 §4.2.1.6).
std::string SubjectAltName(const CertificateSpec& spec) {
  std::string names;
  for (const std::string& uri : spec.uri_sans) names += der::Write(der::Context(kUri), {uri});
  for (const std::string& dns : spec.dns_sans) names += der::Write(der::Context(kDnsName), {dns});
  const std::string sequence = der::Write(der::kSequence, {names});
  return der::Write(der::kSequence,
                    {kSubjectAltNameOid, kTrue, der::Write(der::kOctetString, {sequence})});
}

std::string WriteTbs(const FixedParts& fixed, const CertificateSpec& spec, const PublicKey& key) {
  const std::string validity =
      der::Write(der::kSequence, {der::WriteTime(spec.not_before), der::WriteTime(spec.not_after)});
  const std::string extensions =
      der::Write(der::kSequence,
                 {fixed.usage, SubjectKeyId(key), fixed.authority_key_id, SubjectAltName(spec)});
  return der::Write(
      der::kSequence,
      {fixed.version, der::WriteUnsigned(spec.serial), fixed.algorithm, fixed.issuer, validity,
       fixed.subject, key.spki(), der::Write(der::ContextConstructed(3), {extensions})});
}

bool HasProfile(const Certificate& leaf, const Certificate& issuer) {
  const CertificateFields& fields = leaf.fields();
  return fields.issuer_der == issuer.fields().subject_der && fields.subject.empty() &&
         fields.has_basic_constraints && !fields.is_ca && fields.has_key_usage &&
         fields.key_usage_critical && fields.digital_signature && !fields.key_cert_sign &&
         !fields.crl_sign && fields.server_auth && fields.client_auth && fields.san_critical &&
         fields.subject_key_id == issuer.fields().subject_key_id &&  // the sample has its key
         fields.authority_key_id == issuer.fields().subject_key_id && !fields.weak_signature;
}

}  // namespace

struct LeafTemplate::Data {
  Certificate issuer;
  PrivateKey key;
  FixedParts fixed;
};

absl::StatusOr<LeafTemplate> LeafTemplate::Make(const Certificate& issuer,
                                                const PrivateKey& issuer_key) {
  // Of the issuer's own key, so that nobody else could use it either; it never leaves this call.
  const CertificateSpec spec = SampleSpec(issuer);
  const PublicKey& key = issuer.public_key();
  ASSIGN_OR_RETURN(const Certificate sample, SignCertificate(spec, key, issuer, issuer_key));
  if (!sample.IsSignedBy(key)) return Unfit(issuer, "the sample's signature does not verify");
  if (!HasProfile(sample, issuer)) return Unfit(issuer, "the sample does not have the profile");
  const absl::string_view tbs = TbsOf(sample).value_or("");
  FixedParts fixed = Cut(tbs);
  if (WriteTbs(fixed, spec, key) != tbs) {
    return Unfit(issuer, "what was cut out of the sample does not make it again");
  }
  return LeafTemplate(std::make_shared<Data>(Data{issuer, issuer_key, std::move(fixed)}));
}

const Certificate& LeafTemplate::issuer() const { return data_->issuer; }

absl::StatusOr<SignedLeaf> LeafTemplate::Sign(const CertificateSpec& spec,
                                              const PublicKey& subject_key) const {
  RETURN_IF_ERROR(CheckProfile(spec));
  RETURN_IF_ERROR(CheckSpec(spec, data_->issuer));
  RETURN_IF_ERROR(CheckAltNames(spec.uri_sans, spec.dns_sans));
  RETURN_IF_ERROR(subject_key.CheckLeafKey());
  const std::string tbs = WriteTbs(data_->fixed, spec, subject_key);
  ASSIGN_OR_RETURN(const std::string signature, data_->key.Sign(tbs));
  SignedLeaf leaf;
  leaf.der = der::Write(der::kSequence, {tbs, data_->fixed.algorithm,
                                         der::Write(der::kBitString, {kNoUnusedBits, signature})});
  if (leaf.der.size() > Certificate::kMaxDer) {
    return Bad(absl::StrFormat("%d bytes; at most %d are allowed: give it fewer names",
                               leaf.der.size(), Certificate::kMaxDer));
  }
  leaf.sha256 = Sha256(leaf.der);
  return leaf;
}

}  // namespace linchpin::x509
