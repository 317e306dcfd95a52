// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/certificate_builder.h"

#include <openssl/objects.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "x509/encoding.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {
namespace {

constexpr size_t kMaxSerial = 20;  // RFC 5280 §4.1.2.2
constexpr int kMaxPathLength = 8;

// What a twin shares with its issuer beside subject, key and validity.
constexpr std::array kTwinExtensions = {
    NID_basic_constraints,    NID_key_usage,          NID_ext_key_usage,
    NID_subject_alt_name,     NID_name_constraints,   NID_policy_constraints,
    NID_certificate_policies, NID_inhibit_any_policy, NID_subject_key_identifier};

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("certificate to sign: ", what));
}

absl::Status Failed() { return OpenSslError(absl::StatusCode::kInternal, "make certificate"); }

// RFC 5280 §4.1.2.2: "The serial number MUST be a positive integer" of at most 20 octets.
absl::Status CheckSerial(absl::string_view serial) {
  const bool negative_when_full =
      serial.size() == kMaxSerial && (static_cast<unsigned char>(serial[0]) & 0x80) != 0;
  if (serial.empty() || serial.size() > kMaxSerial || serial[0] == '\0' || negative_when_full) {
    return Bad(
        absl::StrFormat("serial number %s: expected a positive number of at most %d bytes "
                        "as DER, without leading zeros",
                        SerialText(serial.substr(0, 2 * kMaxSerial)), kMaxSerial));
  }
  return absl::OkStatus();
}

absl::Status CheckTimes(absl::Time not_before, absl::Time not_after) {
  const absl::Time first = absl::FromUnixSeconds(0);
  const absl::Time last =
      absl::FromCivil(absl::CivilSecond(9999, 12, 31, 23, 59, 59), absl::UTCTimeZone());
  const bool whole = absl::FromUnixSeconds(absl::ToUnixSeconds(not_before)) == not_before &&
                     absl::FromUnixSeconds(absl::ToUnixSeconds(not_after)) == not_after;
  if (whole && first <= not_before && not_before < not_after && not_after <= last) {
    return absl::OkStatus();
  }
  return Bad(absl::StrCat("validity from ", absl::FormatTime(not_before, absl::UTCTimeZone()),
                          " to ", absl::FormatTime(not_after, absl::UTCTimeZone()),
                          ": expected whole seconds, the first before the second"));
}

absl::Status CheckConsistent(const CertificateSpec& spec) {
  RETURN_IF_ERROR(CheckSerial(spec.serial));
  RETURN_IF_ERROR(CheckTimes(spec.not_before, spec.not_after));
  if (spec.is_ca != spec.key_cert_sign) {
    return Bad("is_ca and key_cert_sign go together (RFC 5280 §4.2.1.9)");
  }
  if (spec.path_length.has_value() &&
      (!spec.is_ca || *spec.path_length < 0 || *spec.path_length > kMaxPathLength)) {
    return Bad(absl::StrFormat("path length %d: expected 0 to %d, on a CA only", *spec.path_length,
                               kMaxPathLength));
  }
  if (!spec.digital_signature && !spec.key_cert_sign && !spec.crl_sign) {
    return Bad("it has no key usage");
  }
  if (spec.organization.empty() && spec.common_name.empty()) {
    if (spec.is_ca) return Bad("a CA needs a subject (RFC 5280 §4.1.2.6)");
    if (spec.uri_sans.empty() && spec.dns_sans.empty()) return Bad("it names nobody");
  }
  return absl::OkStatus();
}

bool AddNamePart(X509_NAME* name, int nid, const std::string& value) {
  return value.empty() || X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, AsBytes(value),
                                                     static_cast<int>(value.size()), -1, 0) == 1;
}

absl::Status SetSubject(X509* x509, const CertificateSpec& spec) {
  X509_NAME* name = X509_get_subject_name(x509);
  if (AddNamePart(name, NID_organizationName, spec.organization) &&
      AddNamePart(name, NID_commonName, spec.common_name)) {
    return absl::OkStatus();
  }
  return OpenSslError(absl::StatusCode::kInvalidArgument,
                      "certificate to sign: organization and common name must be UTF-8 of at "
                      "most 64 characters");
}

bool SetSerial(X509* x509, absl::string_view serial) {
  OpenSslPtr<BIGNUM, BN_free> number(
      BN_bin2bn(AsBytes(serial), static_cast<int>(serial.size()), nullptr));
  return number != nullptr &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(x509)) != nullptr;
}

bool SetValidity(X509* x509, absl::Time not_before, absl::Time not_after) {
  return ASN1_TIME_set(X509_getm_notBefore(x509), absl::ToTimeT(not_before)) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(x509), absl::ToTimeT(not_after)) != nullptr;
}

bool AddExtension(X509* x509, int nid, bool critical, void* value) {
  return X509_add1_ext_i2d(x509, nid, value, critical ? 1 : 0, X509V3_ADD_APPEND) == 1;
}

bool AddBasicConstraints(X509* x509, const CertificateSpec& spec) {
  OpenSslPtr<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free> value(BASIC_CONSTRAINTS_new());
  if (value == nullptr) return false;
  value->ca = spec.is_ca ? 0xFF : 0;
  if (spec.path_length.has_value()) {
    value->pathlen = ASN1_INTEGER_new();
    if (value->pathlen == nullptr || ASN1_INTEGER_set(value->pathlen, *spec.path_length) != 1) {
      return false;
    }
  }
  return AddExtension(x509, NID_basic_constraints, true, value.get());
}

bool AddKeyUsage(X509* x509, const CertificateSpec& spec) {
  constexpr int kDigitalSignature = 0, kKeyCertSign = 5, kCrlSign = 6;  // RFC 5280 §4.2.1.3
  OpenSslPtr<ASN1_BIT_STRING, ASN1_BIT_STRING_free> value(ASN1_BIT_STRING_new());
  return value != nullptr &&
         (!spec.digital_signature ||
          ASN1_BIT_STRING_set_bit(value.get(), kDigitalSignature, 1) == 1) &&
         (!spec.key_cert_sign || ASN1_BIT_STRING_set_bit(value.get(), kKeyCertSign, 1) == 1) &&
         (!spec.crl_sign || ASN1_BIT_STRING_set_bit(value.get(), kCrlSign, 1) == 1) &&
         AddExtension(x509, NID_key_usage, true, value.get());
}

bool AddExtendedKeyUsage(X509* x509, const CertificateSpec& spec) {
  if (!spec.server_auth && !spec.client_auth) return true;
  OpenSslPtr<EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free> value(EXTENDED_KEY_USAGE_new());
  return value != nullptr &&
         (!spec.server_auth ||
          sk_ASN1_OBJECT_push(value.get(), OBJ_nid2obj(NID_server_auth)) > 0) &&
         (!spec.client_auth ||
          sk_ASN1_OBJECT_push(value.get(), OBJ_nid2obj(NID_client_auth)) > 0) &&
         AddExtension(x509, NID_ext_key_usage, false, value.get());
}

bool AddSubjectKeyId(X509* x509, std::string* key_id) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  OpenSslPtr<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> value(ASN1_OCTET_STRING_new());
  if (value == nullptr || X509_pubkey_digest(x509, EVP_sha1(), digest, &size) != 1 ||
      ASN1_OCTET_STRING_set(value.get(), digest, static_cast<int>(size)) != 1) {
    return false;
  }
  key_id->assign(reinterpret_cast<char*>(digest), size);
  return AddExtension(x509, NID_subject_key_identifier, false, value.get());
}

bool AddAuthorityKeyId(X509* x509, const std::string& key_id) {
  OpenSslPtr<AUTHORITY_KEYID, AUTHORITY_KEYID_free> value(AUTHORITY_KEYID_new());
  if (value == nullptr) return false;
  value->keyid = ASN1_OCTET_STRING_new();
  return value->keyid != nullptr &&
         ASN1_OCTET_STRING_set(value->keyid, AsBytes(key_id), static_cast<int>(key_id.size())) ==
             1 &&
         AddExtension(x509, NID_authority_key_identifier, false, value.get());
}

// RFC 5280 §4.2.1.6: "If the subject field contains an empty sequence, then the issuing CA MUST
// include a subjectAltName extension that is marked as critical."
absl::Status AddSans(X509* x509, const CertificateSpec& spec) {
  if (spec.uri_sans.empty() && spec.dns_sans.empty()) return absl::OkStatus();
  const bool critical = spec.organization.empty() && spec.common_name.empty();
  ASSIGN_OR_RETURN(const X509ExtensionPtr san,
                   MakeAltNames(spec.uri_sans, spec.dns_sans, critical));
  return X509_add_ext(x509, san.get(), -1) == 1 ? absl::OkStatus() : Failed();
}

absl::StatusOr<Certificate> SignAndParse(X509* x509, const PrivateKey& key) {
  if (X509_sign(x509, key.evp(), SigningDigest(key.evp())) <= 0) {
    return OpenSslError(absl::StatusCode::kInternal, "sign certificate");
  }
  unsigned char* der = nullptr;
  const int size = i2d_X509(x509, &der);
  if (size <= 0) return Failed();
  auto certificate = Certificate::FromDer(
      absl::string_view(reinterpret_cast<char*>(der), static_cast<size_t>(size)));
  OPENSSL_free(der);
  return certificate;
}

bool SetKey(X509* x509, const PublicKey& key) {
  return SetPlainKey(key, X509_get_X509_PUBKEY(x509)) || X509_set_pubkey(x509, key.evp()) == 1;
}

// Of a checked `spec`; `issuer` is null for a self-signed certificate.
absl::StatusOr<Certificate> Make(const CertificateSpec& spec, const PublicKey& subject_key,
                                 const Certificate* issuer, const PrivateKey& issuer_key) {
  ErrorQueueScope scope;
  RETURN_IF_ERROR(subject_key.CheckStrength());
  X509Ptr x509(X509_new());
  if (x509 == nullptr || X509_set_version(x509.get(), X509_VERSION_3) != 1 ||
      !SetSerial(x509.get(), spec.serial) ||
      !SetValidity(x509.get(), spec.not_before, spec.not_after) ||
      !SetKey(x509.get(), subject_key)) {
    return Failed();
  }
  RETURN_IF_ERROR(SetSubject(x509.get(), spec));
  const X509_NAME* issuer_name =
      X509_get_subject_name(issuer == nullptr ? x509.get() : issuer->x509());
  std::string key_id;
  if (X509_set_issuer_name(x509.get(), issuer_name) != 1 ||
      !AddBasicConstraints(x509.get(), spec) || !AddKeyUsage(x509.get(), spec) ||
      !AddExtendedKeyUsage(x509.get(), spec) || !AddSubjectKeyId(x509.get(), &key_id) ||
      !AddAuthorityKeyId(x509.get(),
                         issuer == nullptr ? key_id : issuer->fields().subject_key_id)) {
    return Failed();
  }
  RETURN_IF_ERROR(AddSans(x509.get(), spec));
  return SignAndParse(x509.get(), issuer_key);
}

// The extension's DER, criticality included; empty if it is not there.
std::string ExtensionDer(X509* x509, int nid) {
  const int at = X509_get_ext_by_NID(x509, nid, -1);
  if (at < 0) return "";
  unsigned char* der = nullptr;
  const int size = i2d_X509_EXTENSION(X509_get_ext(x509, at), &der);
  if (size <= 0) return "";
  std::string result(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return result;
}

bool IsTwinExtension(X509_EXTENSION* extension) {
  const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
  return std::find(kTwinExtensions.begin(), kTwinExtensions.end(), nid) != kTwinExtensions.end();
}

absl::Status CheckTwinIssuer(const Certificate& issuer, const PrivateKey& issuer_key,
                             absl::string_view serial) {
  const CertificateFields& fields = issuer.fields();
  if (!(issuer.public_key() == issuer_key.public_key())) {
    return Bad(absl::StrCat("the twin of ", fields.subject, " needs the issuer's own key"));
  }
  if (!fields.is_ca || !fields.key_cert_sign || fields.subject_key_id.empty()) {
    return Bad(absl::StrCat("a twin is made of an issuer; ", fields.subject,
                            " is no CA, may not sign certificates or has no subject key id"));
  }
  return CheckSerial(serial);
}

}  // namespace

absl::Status CheckSpec(const CertificateSpec& spec, const Certificate& issuer) {
  const CertificateFields& by = issuer.fields();
  if (spec.not_after > by.not_after) {
    return Bad(absl::StrCat("it would expire at ",
                            absl::FormatTime(spec.not_after, absl::UTCTimeZone()),
                            ", after its issuer ", by.subject, " at ",
                            absl::FormatTime(by.not_after, absl::UTCTimeZone())));
  }
  return CheckConsistent(spec);
}

absl::StatusOr<Certificate> SignCertificate(const CertificateSpec& spec,
                                            const PublicKey& subject_key, const Certificate& issuer,
                                            const PrivateKey& issuer_key) {
  const CertificateFields& by = issuer.fields();
  if (!(issuer.public_key() == issuer_key.public_key())) {
    return Bad(absl::StrCat("the signing key is not that of the issuer ", by.subject));
  }
  if (by.subject_key_id.empty()) {
    return Bad(absl::StrCat("the issuer ", by.subject, " has no subject key id"));
  }
  RETURN_IF_ERROR(CheckSpec(spec, issuer));
  return Make(spec, subject_key, &issuer, issuer_key);
}

absl::StatusOr<Certificate> SelfSign(const CertificateSpec& spec, const PrivateKey& key) {
  RETURN_IF_ERROR(CheckConsistent(spec));
  return Make(spec, key.public_key(), nullptr, key);
}

absl::StatusOr<Certificate> MakeTwin(const Certificate& issuer, const PrivateKey& issuer_key,
                                     absl::string_view serial) {
  ErrorQueueScope scope;
  RETURN_IF_ERROR(CheckTwinIssuer(issuer, issuer_key, serial));
  X509Ptr x509(X509_new());
  const X509_NAME* name = X509_get_subject_name(issuer.x509());
  if (x509 == nullptr || X509_set_version(x509.get(), X509_VERSION_3) != 1 ||
      !SetSerial(x509.get(), serial) ||
      !SetValidity(x509.get(), issuer.fields().not_before, issuer.fields().not_after) ||
      X509_set_subject_name(x509.get(), name) != 1 || X509_set_issuer_name(x509.get(), name) != 1 ||
      !SetKey(x509.get(), issuer.public_key())) {
    return Failed();
  }
  for (int i = 0; i < X509_get_ext_count(issuer.x509()); ++i) {
    X509_EXTENSION* extension = X509_get_ext(issuer.x509(), i);
    if (IsTwinExtension(extension) && X509_add_ext(x509.get(), extension, -1) != 1) {
      return Failed();
    }
  }
  if (!AddAuthorityKeyId(x509.get(), issuer.fields().subject_key_id)) return Failed();
  return SignAndParse(x509.get(), issuer_key);
}

bool IsTwinOf(const Certificate& twin, const Certificate& issuer) {
  const CertificateFields& fields = twin.fields();
  if (!fields.is_ca || !fields.key_cert_sign || fields.weak_signature ||
      fields.subject_key_id.empty() || fields.subject_der != issuer.fields().subject_der ||
      fields.issuer_der != fields.subject_der || !(twin.public_key() == issuer.public_key()) ||
      fields.not_after != issuer.fields().not_after) {
    return false;
  }
  size_t known = 0;
  for (const int nid : kTwinExtensions) {
    const std::string der = ExtensionDer(twin.x509(), nid);
    if (der != ExtensionDer(issuer.x509(), nid)) return false;
    if (!der.empty()) ++known;
  }
  if (!fields.authority_key_id.empty()) {
    if (fields.authority_key_id != fields.subject_key_id) return false;
    ++known;
  }
  return static_cast<size_t>(X509_get_ext_count(twin.x509())) == known &&
         twin.IsSignedBy(twin.public_key());
}

}  // namespace linchpin::x509
