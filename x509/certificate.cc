// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/certificate.h"

#include <openssl/objects.h>

#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "x509/digest.h"
#include "x509/encoding.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"
#include "x509/pem.h"

namespace linchpin::x509 {
namespace {

constexpr absl::string_view kLabel = "CERTIFICATE";
constexpr int kMostExtensions = 64;
constexpr int kMaxSerial = 20;  // RFC 5280 §4.1.2.2
constexpr int kSecureBits = 112;

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("certificate: ", what));
}

std::string NameText(const X509_NAME* name) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) return "";
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

std::string NameDer(const X509_NAME* name) {
  const unsigned char* der = nullptr;
  size_t size = 0;
  if (X509_NAME_get0_der(name, &der, &size) != 1) return "";
  return std::string(reinterpret_cast<const char*>(der), size);
}

// RFC 5280 §4.1.2.5: in UTC ("Z"), with seconds, without fractions.
absl::StatusOr<absl::Time> ReadTime(const ASN1_TIME* time, absl::string_view which) {
  const std::string text = ToString(time);
  const size_t expected = ASN1_STRING_type(time) == V_ASN1_UTCTIME ? 13 : 15;
  std::tm broken_down{};
  if (text.size() != expected || text.back() != 'Z' || ASN1_TIME_to_tm(time, &broken_down) != 1) {
    return Bad(absl::StrCat(which, " is not a time of RFC 5280: \"",
                            absl::CHexEscape(text.substr(0, 40)), "\""));
  }
  return absl::FromTM(broken_down, absl::UTCTimeZone());
}

absl::StatusOr<std::string> ReadSerial(const X509* x509) {
  const ASN1_INTEGER* serial = X509_get0_serialNumber(x509);
  if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER) return Bad("its serial number is negative");
  std::string bytes = ToString(serial);
  if (bytes.size() > kMaxSerial) {
    return Bad(absl::StrFormat("its serial number has %d bytes; at most %d are allowed",
                               bytes.size(), kMaxSerial));
  }
  bytes.erase(0, std::min(bytes.find_first_not_of('\0'), bytes.size()));
  return bytes;
}

// RFC 5280 §4.2: "A certificate MUST NOT include more than one instance of a particular
// extension."
absl::Status CheckExtensions(X509* x509) {
  const int count = X509_get_ext_count(x509);
  if (count > kMostExtensions) {
    return Bad(absl::StrFormat("%d extensions; at most %d are read", count, kMostExtensions));
  }
  for (int i = 0; i < count; ++i) {
    const ASN1_OBJECT* object = X509_EXTENSION_get_object(X509_get_ext(x509, i));
    if (X509_get_ext_by_OBJ(x509, object, i) >= 0) {
      char name[80] = {};
      OBJ_obj2txt(name, sizeof(name), object, 0);
      return Bad(absl::StrCat("extension ", name, " occurs twice"));
    }
  }
  if ((X509_get_extension_flags(x509) & EXFLAG_INVALID) != 0) {
    return Bad("an extension cannot be parsed");
  }
  return absl::OkStatus();
}

bool IsCritical(X509* x509, int nid) {
  const int at = X509_get_ext_by_NID(x509, nid, -1);
  return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(x509, at)) == 1;
}

// What CheckExtensions() has let OpenSSL decode into the certificate already.
void ReadUsage(X509* x509, CertificateFields* fields) {
  const uint32_t flags = X509_get_extension_flags(x509);
  fields->has_basic_constraints = (flags & EXFLAG_BCONS) != 0;
  fields->is_ca = (flags & EXFLAG_CA) != 0;
  if (const long length = X509_get_pathlen(x509); fields->is_ca && length >= 0) {
    fields->path_length = static_cast<int>(length);
  }
  fields->has_key_usage = (flags & EXFLAG_KUSAGE) != 0;
  if (fields->has_key_usage) {
    const uint32_t usage = X509_get_key_usage(x509);
    fields->key_usage_critical = IsCritical(x509, NID_key_usage);
    fields->digital_signature = (usage & KU_DIGITAL_SIGNATURE) != 0;
    fields->key_cert_sign = (usage & KU_KEY_CERT_SIGN) != 0;
    fields->crl_sign = (usage & KU_CRL_SIGN) != 0;
  }
  fields->has_extended_key_usage = (flags & EXFLAG_XKUSAGE) != 0;
  if (fields->has_extended_key_usage) {
    const uint32_t usage = X509_get_extended_key_usage(x509);
    fields->server_auth = (usage & XKU_SSL_SERVER) != 0;
    fields->client_auth = (usage & XKU_SSL_CLIENT) != 0;
  }
  fields->subject_key_id = ToString(X509_get0_subject_key_id(x509));
  fields->authority_key_id = ToString(X509_get0_authority_key_id(x509));
}

absl::Status ReadSans(X509* x509, CertificateFields* fields) {
  int critical = 0;
  GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(x509, NID_subject_alt_name, &critical, nullptr)));
  if (names == nullptr) {
    if (critical == -1) return absl::OkStatus();
    return Bad("its subject alternative names cannot be parsed");
  }
  fields->san_critical = critical == 1;
  SubjectAltNames read = ReadAltNames(names.get());
  fields->uri_sans = std::move(read.uris);
  fields->dns_sans = std::move(read.dns);
  fields->other_sans = read.others;
  return absl::OkStatus();
}

bool HasWeakSignature(X509* x509) {
  int security_bits = 0;
  return X509_get_signature_info(x509, nullptr, nullptr, &security_bits, nullptr) != 1 ||
         security_bits < kSecureBits;
}

absl::StatusOr<CertificateFields> ReadFields(X509* x509) {
  CertificateFields fields;
  RETURN_IF_ERROR(CheckExtensions(x509));
  fields.subject = NameText(X509_get_subject_name(x509));
  fields.issuer = NameText(X509_get_issuer_name(x509));
  fields.subject_der = NameDer(X509_get_subject_name(x509));
  fields.issuer_der = NameDer(X509_get_issuer_name(x509));
  ASSIGN_OR_RETURN(fields.serial, ReadSerial(x509));
  ASSIGN_OR_RETURN(fields.not_before, ReadTime(X509_get0_notBefore(x509), "notBefore"));
  ASSIGN_OR_RETURN(fields.not_after, ReadTime(X509_get0_notAfter(x509), "notAfter"));
  ReadUsage(x509, &fields);
  RETURN_IF_ERROR(ReadSans(x509, &fields));
  fields.weak_signature = HasWeakSignature(x509);
  return fields;
}

// The bytes must be the one DER encoding of what was read: otherwise two different hashes would
// name one certificate.
bool IsCanonical(X509* x509, absl::string_view der) {
  unsigned char* encoded = nullptr;
  const int size = i2d_X509(x509, &encoded);
  const bool same = size >= 0 && static_cast<size_t>(size) == der.size() &&
                    std::memcmp(encoded, der.data(), der.size()) == 0;
  OPENSSL_free(encoded);
  return same;
}

absl::StatusOr<PublicKey> ReadKey(X509* x509) {
  EVP_PKEY* key = X509_get0_pubkey(x509);
  unsigned char* spki = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &spki);
  if (key == nullptr || size <= 0) {
    OPENSSL_free(spki);
    return OpenSslError(absl::StatusCode::kInvalidArgument,
                        "certificate: its public key cannot be decoded");
  }
  std::string der(reinterpret_cast<char*>(spki), static_cast<size_t>(size));
  OPENSSL_free(spki);
  return PublicKey::FromDecoded(key, std::move(der));
}

}  // namespace

struct Certificate::Data {
  Data(X509Ptr own_x509, std::string own_der, CertificateFields own_fields, PublicKey own_key)
      : x509(std::move(own_x509)),
        der(std::move(own_der)),
        sha256(Sha256(der)),
        fields(std::move(own_fields)),
        key(std::move(own_key)) {}
  X509Ptr x509;
  std::string der;
  std::string sha256;
  CertificateFields fields;
  PublicKey key;
};

absl::StatusOr<Certificate> Certificate::FromDer(absl::string_view der) {
  ErrorQueueScope scope;
  if (der.empty()) return Bad("it is empty");
  if (der.size() > kMaxDer) {
    return Bad(absl::StrFormat("%d bytes; at most %d are read", der.size(), kMaxDer));
  }
  const unsigned char* at = AsBytes(der);
  X509Ptr x509(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (x509 == nullptr) {
    return OpenSslError(absl::StatusCode::kInvalidArgument, "certificate: cannot be parsed");
  }
  if (at != AsBytes(der) + der.size()) {
    return Bad(absl::StrFormat("%d bytes follow it", AsBytes(der) + der.size() - at));
  }
  if (!IsCanonical(x509.get(), der)) return Bad("it is not encoded as DER");
  ASSIGN_OR_RETURN(PublicKey key, ReadKey(x509.get()));
  ASSIGN_OR_RETURN(CertificateFields fields, ReadFields(x509.get()));
  return Certificate(
      std::make_shared<Data>(std::move(x509), std::string(der), std::move(fields), std::move(key)));
}

absl::StatusOr<Certificate> Certificate::FromPem(absl::string_view pem) {
  ASSIGN_OR_RETURN(const Chain chain, ParsePemChain(pem, 1));
  return chain.front();
}

const std::string& Certificate::der() const { return data_->der; }
const CertificateFields& Certificate::fields() const { return data_->fields; }
const PublicKey& Certificate::public_key() const { return data_->key; }
const std::string& Certificate::sha256() const { return data_->sha256; }
X509* Certificate::x509() const { return data_->x509.get(); }

std::string Certificate::ToPem() const { return x509::ToPem(absl::MakeConstSpan(this, 1)); }

bool Certificate::IsSignedBy(const PublicKey& issuer) const {
  ErrorQueueScope scope;
  return X509_verify(x509(), issuer.evp()) == 1;
}

bool Certificate::IsSelfIssued() const {
  return (X509_get_extension_flags(x509()) & EXFLAG_SI) != 0;
}

absl::StatusOr<Chain> ParsePemChain(absl::string_view pem, size_t most) {
  ASSIGN_OR_RETURN(const std::vector<PemBlock> blocks, ReadPem(pem, most));
  Chain chain;
  for (const PemBlock& block : blocks) {
    const size_t position = chain.size() + 1;
    if (block.label != kLabel) {
      return absl::InvalidArgumentError(
          absl::StrFormat("PEM block %d: expected CERTIFICATE, found \"%s\"", position,
                          absl::CHexEscape(block.label.substr(0, 40))));
    }
    auto certificate = Certificate::FromDer(block.der);
    if (!certificate.ok()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("PEM block %d: %s", position, certificate.status().message()));
    }
    chain.push_back(*std::move(certificate));
  }
  return chain;
}

absl::StatusOr<Chain> ParseDerChain(absl::Span<const std::string> ders) {
  Chain chain;
  for (const std::string& der : ders) {
    auto certificate = Certificate::FromDer(der);
    if (!certificate.ok()) {
      return absl::InvalidArgumentError(absl::StrFormat("chain, position %d: %s", chain.size() + 1,
                                                        certificate.status().message()));
    }
    chain.push_back(*std::move(certificate));
  }
  return chain;
}

std::string ToPem(absl::Span<const Certificate> chain) {
  std::string pem;
  for (const Certificate& certificate : chain) AppendPem(kLabel, certificate.der(), &pem);
  return pem;
}

std::string SerialText(absl::string_view serial) {
  std::string text;
  for (const char c : serial) absl::StrAppendFormat(&text, "%02X", static_cast<unsigned char>(c));
  return text.empty() ? "0" : text;
}

}  // namespace linchpin::x509
