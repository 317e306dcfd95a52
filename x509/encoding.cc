// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/encoding.h"

#include <openssl/objects.h>

#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "x509/curve.h"
#include "x509/openssl_error.h"

namespace linchpin::x509 {
namespace {

constexpr size_t kMaxName = 2048;

absl::Status CheckName(absl::string_view name) {
  bool plain = !name.empty() && name.size() <= kMaxName;
  for (const char c : name) plain = plain && absl::ascii_isgraph(static_cast<unsigned char>(c));
  if (plain) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "subject alternative name \"%s\": expected 1 to %d printable ASCII characters",
      absl::CHexEscape(name.substr(0, 80)), kMaxName));
}

bool PushName(int type, const std::string& text, GENERAL_NAMES* names) {
  OpenSslPtr<ASN1_IA5STRING, ASN1_IA5STRING_free> value(ASN1_IA5STRING_new());
  OpenSslPtr<GENERAL_NAME, GENERAL_NAME_free> name(GENERAL_NAME_new());
  if (value == nullptr || name == nullptr ||
      ASN1_STRING_set(value.get(), text.data(), static_cast<int>(text.size())) != 1) {
    return false;
  }
  GENERAL_NAME_set0_value(name.get(), type, value.release());
  if (sk_GENERAL_NAME_push(names, name.get()) <= 0) return false;
  name.release();
  return true;
}

}  // namespace

std::string ToString(const ASN1_STRING* string) {
  if (string == nullptr) return "";
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                     static_cast<size_t>(ASN1_STRING_length(string)));
}

SubjectAltNames ReadAltNames(const GENERAL_NAMES* names) {
  SubjectAltNames result;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_URI) {
      result.uris.push_back(ToString(name->d.uniformResourceIdentifier));
    } else if (name->type == GEN_DNS) {
      result.dns.push_back(ToString(name->d.dNSName));
    } else {
      ++result.others;
    }
  }
  return result;
}

absl::Status CheckAltNames(const std::vector<std::string>& uris,
                           const std::vector<std::string>& dns) {
  for (const std::vector<std::string>* names : {&uris, &dns}) {
    for (const std::string& name : *names) {
      if (absl::Status status = CheckName(name); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<X509ExtensionPtr> MakeAltNames(const std::vector<std::string>& uris,
                                              const std::vector<std::string>& dns, bool critical) {
  if (absl::Status status = CheckAltNames(uris, dns); !status.ok()) return status;
  GeneralNamesPtr names(GENERAL_NAMES_new());
  bool ok = names != nullptr;
  for (const std::string& uri : uris) ok = ok && PushName(GEN_URI, uri, names.get());
  for (const std::string& name : dns) ok = ok && PushName(GEN_DNS, name, names.get());
  X509ExtensionPtr extension(
      ok ? X509V3_EXT_i2d(NID_subject_alt_name, critical ? 1 : 0, names.get()) : nullptr);
  if (extension == nullptr) {
    return OpenSslError(absl::StatusCode::kInternal, "make subject alternative names");
  }
  return extension;
}

std::string KeyIdOf(const PublicKey& key) {
  // Fetched once: OpenSSL 3 otherwise looks the algorithm up by name at each use.
  static const EVP_MD* const sha1 = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  const Curve* curve = CanonicalCurve(key.spki());
  std::string id(20, '\0');
  unsigned int size = 0;
  if (curve == nullptr ||
      EVP_Digest(key.spki().data() + curve->spki_prefix.size(), curve->point(),
                 reinterpret_cast<unsigned char*>(id.data()), &size, sha1, nullptr) != 1) {
    return "";
  }
  return id;
}

bool SetPlainKey(const PublicKey& key, X509_PUBKEY* out) {
  const Curve* curve = CanonicalCurve(key.spki());
  if (curve == nullptr) return false;
  const size_t size = curve->point();
  auto* point = static_cast<unsigned char*>(OPENSSL_malloc(size));
  if (point == nullptr) return false;
  std::memcpy(point, key.spki().data() + curve->spki_prefix.size(), size);
  const int nid = curve->type == KeyType::kP256 ? NID_X9_62_prime256v1 : NID_secp384r1;
  if (X509_PUBKEY_set0_param(out, OBJ_nid2obj(NID_X9_62_id_ecPublicKey), V_ASN1_OBJECT,
                             OBJ_nid2obj(nid), point, static_cast<int>(size)) != 1) {
    OPENSSL_free(point);
    return false;
  }
  return true;
}

const EVP_MD* SigningDigest(EVP_PKEY* key) {
  return EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();
}

}  // namespace linchpin::x509
