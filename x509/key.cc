// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/params.h>

#include <cstdlib>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"
#include "x509/pem.h"

namespace linchpin::x509 {
namespace {

constexpr size_t kMaxSpki = 4 * 1024;
constexpr size_t kMaxPkcs8 = 8 * 1024;
constexpr size_t kMaxKeyPem = 16 * 1024;
constexpr absl::string_view kKeyLabel = "PRIVATE KEY";

// The two curves' encodings are constant around the key itself (RFC 5480, RFC 5958, RFC 5915), so
// writing them needs none of OpenSSL's encoders and a private key passes through no other buffer.
struct Curve {
  KeyType type;
  const char* group;
  const char* name;
  size_t scalar;                   // bytes of the private key
  absl::string_view spki_prefix;   // followed by 04 X Y
  absl::string_view pkcs8_prefix;  // followed by the scalar
  absl::string_view pkcs8_middle;  // followed by 04 X Y
  const char* digest;

  size_t point() const { return 2 * scalar + 1; }
};

const Curve kCurves[] = {
    {KeyType::kP256, "prime256v1", "P-256", 32,
     absl::string_view("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48"
                       "\xce\x3d\x03\x01\x07\x03\x42\x00",
                       26),
     absl::string_view("\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06"
                       "\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20",
                       36),
     absl::string_view("\xa1\x44\x03\x42\x00", 5), "SHA256"},
    {KeyType::kP384, "secp384r1", "P-384", 48,
     absl::string_view("\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04"
                       "\x00\x22\x03\x62\x00",
                       23),
     absl::string_view("\x30\x81\xb6\x02\x01\x00\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06"
                       "\x05\x2b\x81\x04\x00\x22\x04\x81\x9e\x30\x81\x9b\x02\x01\x01\x04\x30",
                       35),
     absl::string_view("\xa1\x64\x03\x62\x00", 5), "SHA384"},
};

const Curve& CurveOf(KeyType type) { return kCurves[type == KeyType::kP256 ? 0 : 1]; }

// The curve of a P-256 or P-384 key in its one canonical encoding: named curve, plain point.
const Curve* CanonicalCurve(absl::string_view spki) {
  for (const Curve& curve : kCurves) {
    if (spki.size() == curve.spki_prefix.size() + curve.point() &&
        absl::StartsWith(spki, curve.spki_prefix) && spki[curve.spki_prefix.size()] == '\x04') {
      return &curve;
    }
  }
  return nullptr;
}

const unsigned char* Bytes(absl::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string* text) { return reinterpret_cast<unsigned char*>(text->data()); }

// A public key from its point: six times faster than OpenSSL 3.0's SubjectPublicKeyInfo decoder.
// Null if the point is not on the curve.
EvpPkeyPtr FromPoint(const Curve& curve, absl::string_view point) {
  std::string group = curve.group;
  std::string copy(point);
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy.data(), copy.size()),
      OSSL_PARAM_construct_end()};
  EvpPkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
    return nullptr;
  }
  return EvpPkeyPtr(key);
}

std::string GroupName(EVP_PKEY* key) {
  char name[64] = {};
  size_t size = 0;
  if (EVP_PKEY_get_group_name(key, name, sizeof(name), &size) != 1) return "";
  return name;
}

std::string Describe(EVP_PKEY* key) {
  const int bits = EVP_PKEY_get_bits(key);
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
      return absl::StrFormat("RSA of %d bits", bits);
    case EVP_PKEY_EC: {
      const std::string group = GroupName(key);
      return absl::StrCat("an elliptic curve key, ", group.empty() ? "curve unnamed" : group);
    }
    case EVP_PKEY_ED25519:
      return "Ed25519";
    default: {
      const char* name = EVP_PKEY_get0_type_name(key);
      return absl::StrFormat("%s of %d bits", name == nullptr ? "an unknown kind" : name, bits);
    }
  }
}

bool HasExplicitCurve(EVP_PKEY* key) {
  int is_explicit = 0;
  EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit);
  return is_explicit != 0;
}

}  // namespace

struct PublicKey::Data {
  EvpPkeyPtr key;
  std::string spki;
  SpkiPin pin;
};

absl::StatusOr<PublicKey> PublicKey::FromSpki(absl::string_view der) {
  ErrorQueueScope scope;
  if (der.size() > kMaxSpki) {
    return absl::InvalidArgumentError(
        absl::StrFormat("public key: %d bytes of DER; at most %d are read", der.size(), kMaxSpki));
  }
  EvpPkeyPtr key;
  if (const Curve* curve = CanonicalCurve(der)) {
    key = FromPoint(*curve, der.substr(curve->spki_prefix.size()));
  } else {
    const unsigned char* at = Bytes(der);
    key.reset(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
    if (key != nullptr && at != Bytes(der) + der.size()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "public key: %d bytes follow the SubjectPublicKeyInfo", Bytes(der) + der.size() - at));
    }
  }
  if (key == nullptr) {
    return OpenSslError(absl::StatusCode::kInvalidArgument,
                        "public key: expected the DER of a SubjectPublicKeyInfo");
  }
  return FromDecoded(key.get(), std::string(der));
}

absl::StatusOr<PublicKey> PublicKey::FromEvp(EVP_PKEY* key) {
  ErrorQueueScope scope;
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) {
    return OpenSslError(absl::StatusCode::kInvalidArgument, "public key: encode");
  }
  std::string spki(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return FromDecoded(key, std::move(spki));
}

PublicKey PublicKey::FromDecoded(EVP_PKEY* key, std::string spki) {
  auto data = std::make_shared<Data>();
  EVP_PKEY_up_ref(key);
  data->key.reset(key);
  data->pin = SpkiPin::OfSpki(spki);
  data->spki = std::move(spki);
  return PublicKey(std::move(data));
}

const std::string& PublicKey::spki() const { return data_->spki; }
const SpkiPin& PublicKey::pin() const { return data_->pin; }
EVP_PKEY* PublicKey::evp() const { return data_->key.get(); }

absl::Status PublicKey::CheckStrength() const {
  if (CanonicalCurve(spki()) != nullptr) return absl::OkStatus();
  ErrorQueueScope scope;
  const int bits = EVP_PKEY_get_bits(evp());
  switch (EVP_PKEY_get_base_id(evp())) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
      if (bits >= 2048 && bits <= 8192) return absl::OkStatus();
      break;
    case EVP_PKEY_ED25519:
      return absl::OkStatus();
    case EVP_PKEY_EC: {
      const std::string group = GroupName(evp());
      const bool known = group == "prime256v1" || group == "secp384r1" || group == "secp521r1";
      if (known && !HasExplicitCurve(evp())) return absl::OkStatus();
      break;
    }
    default:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("public key ", pin().ToString(),
                   ": expected P-256, P-384, P-521, Ed25519 or RSA of 2048 to 8192 bits, found ",
                   Describe(evp())));
}

absl::Status PublicKey::CheckLeafKey() const {
  if (CanonicalCurve(spki()) != nullptr) return absl::OkStatus();
  ErrorQueueScope scope;
  return absl::InvalidArgumentError(absl::StrCat(
      "public key ", pin().ToString(),
      ": expected P-256 or P-384 (named curve, uncompressed point), found ", Describe(evp())));
}

absl::Status PublicKey::Verify(absl::string_view data, absl::string_view signature) const {
  ErrorQueueScope scope;
  const Curve* curve = CanonicalCurve(spki());
  if (curve == nullptr) return CheckLeafKey();
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  if (context == nullptr || EVP_DigestVerifyInit_ex(context.get(), nullptr, curve->digest, nullptr,
                                                    nullptr, evp(), nullptr) != 1) {
    return OpenSslError(absl::StatusCode::kInternal, "verify signature");
  }
  if (EVP_DigestVerify(context.get(), Bytes(signature), signature.size(), Bytes(data),
                       data.size()) != 1) {
    return absl::PermissionDeniedError(
        absl::StrCat("the signature does not verify with key ", pin().ToString()));
  }
  return absl::OkStatus();
}

struct PrivateKey::Data {
  Data(EvpPkeyPtr own_key, const Curve& own_curve, PublicKey own_public_key)
      : key(std::move(own_key)), curve(own_curve), public_key(std::move(own_public_key)) {}
  EvpPkeyPtr key;
  const Curve& curve;
  PublicKey public_key;
};

namespace {

// The public half as a key of its own, so that a copy of it does not keep the private half alive.
absl::StatusOr<PublicKey> PublicHalf(const Curve& curve, EVP_PKEY* key) {
  std::string point(curve.point(), '\0');
  size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, Bytes(&point), point.size(),
                                      &size) != 1 ||
      size != point.size()) {
    return OpenSslError(absl::StatusCode::kInvalidArgument,
                        "private key: its public half is missing or compressed");
  }
  return PublicKey::FromSpki(absl::StrCat(curve.spki_prefix, point));
}

// The scalar, big-endian, appended to `out`.
bool AppendScalar(const Curve& curve, EVP_PKEY* key, std::string* out) {
  BIGNUM* scalar = nullptr;
  if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) != 1) return false;
  const size_t at = out->size();
  out->resize(at + curve.scalar);
  const bool ok = BN_bn2binpad(scalar, Bytes(out) + at, static_cast<int>(curve.scalar)) >= 0;
  BN_clear_free(scalar);
  return ok;
}

const Curve* CurveByGroup(EVP_PKEY* key) {
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || HasExplicitCurve(key)) return nullptr;
  const std::string group = GroupName(key);
  for (const Curve& curve : kCurves) {
    if (group == curve.group) return &curve;
  }
  return nullptr;
}

void FreePkcs8(PKCS8_PRIV_KEY_INFO* info) { PKCS8_PRIV_KEY_INFO_free(info); }

// OpenSSL takes the public half of an EC key as it is written; a swapped one is caught here.
bool HalvesMatch(EVP_PKEY* key) {
  EvpPkeyCtxPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  return context != nullptr && EVP_PKEY_pairwise_check(context.get()) == 1;
}

}  // namespace

absl::StatusOr<PrivateKey> PrivateKey::Generate(KeyType type) {
  ErrorQueueScope scope;
  const Curve& curve = CurveOf(type);
  EvpPkeyPtr key(EVP_EC_gen(curve.group));
  if (key == nullptr) {
    return OpenSslError(absl::StatusCode::kInternal,
                        absl::StrCat("generate a ", curve.name, " key"));
  }
  ASSIGN_OR_RETURN(PublicKey public_key, PublicHalf(curve, key.get()));
  return PrivateKey(std::make_shared<Data>(std::move(key), curve, std::move(public_key)));
}

absl::StatusOr<PrivateKey> PrivateKey::FromPkcs8(const SecretBytes& der) {
  ErrorQueueScope scope;
  if (der.size() > kMaxPkcs8) {
    return absl::InvalidArgumentError(
        absl::StrFormat("private key: %d bytes; at most %d are read", der.size(), kMaxPkcs8));
  }
  const unsigned char* at = Bytes(der.Reveal());
  OpenSslPtr<PKCS8_PRIV_KEY_INFO, FreePkcs8> info(
      d2i_PKCS8_PRIV_KEY_INFO(nullptr, &at, static_cast<long>(der.size())));
  if (info == nullptr || at != Bytes(der.Reveal()) + der.size()) {
    return absl::InvalidArgumentError(
        "private key: expected the DER of one unencrypted PKCS#8 key and nothing after it");
  }
  EvpPkeyPtr key(EVP_PKCS82PKEY(info.get()));
  if (key == nullptr) {
    return absl::InvalidArgumentError("private key: its PKCS#8 holds no key that can be decoded");
  }
  const Curve* curve = CurveByGroup(key.get());
  if (curve == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("private key: expected P-256 or P-384, found ", Describe(key.get())));
  }
  if (!HalvesMatch(key.get())) {
    return absl::InvalidArgumentError("private key: its public half belongs to another key");
  }
  ASSIGN_OR_RETURN(PublicKey public_key, PublicHalf(*curve, key.get()));
  return PrivateKey(std::make_shared<Data>(std::move(key), *curve, std::move(public_key)));
}

absl::StatusOr<PrivateKey> PrivateKey::FromPem(const SecretBytes& pem) {
  if (pem.size() > kMaxKeyPem) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "private key: %d bytes of PEM; at most %d are read", pem.size(), kMaxKeyPem));
  }
  auto blocks = ReadPem(pem.Reveal(), 1);
  if (!blocks.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("private key: expected one PEM block: ", blocks.status().message()));
  }
  const SecretBytes der = SecretBytes::TakeAndWipe(&blocks->front().der);
  if (blocks->front().label != kKeyLabel) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "private key: expected -----BEGIN PRIVATE KEY----- (unencrypted PKCS#8), found \"%s\"; "
        "convert it with openssl pkcs8 -topk8 -nocrypt",
        absl::CHexEscape(blocks->front().label.substr(0, 40))));
  }
  return FromPkcs8(der);
}

SecretBytes PrivateKey::ToPkcs8() const {
  const Curve& curve = data_->curve;
  std::string der;
  der.reserve(curve.pkcs8_prefix.size() + curve.scalar + curve.pkcs8_middle.size() + curve.point());
  der.append(curve.pkcs8_prefix.data(), curve.pkcs8_prefix.size());
  if (!AppendScalar(curve, evp(), &der)) std::abort();  // this room makes only keys that have one
  der.append(curve.pkcs8_middle.data(), curve.pkcs8_middle.size());
  der.append(public_key().spki(), curve.spki_prefix.size(), std::string::npos);
  return SecretBytes::TakeAndWipe(&der);
}

SecretBytes PrivateKey::ToPem() const {
  const SecretBytes der = ToPkcs8();
  std::string pem;
  pem.reserve(PemSize(kKeyLabel, der.size()));
  AppendPem(kKeyLabel, der.Reveal(), &pem);
  return SecretBytes::TakeAndWipe(&pem);
}

const PublicKey& PrivateKey::public_key() const { return data_->public_key; }
EVP_PKEY* PrivateKey::evp() const { return data_->key.get(); }

absl::StatusOr<std::string> PrivateKey::Sign(absl::string_view data) const {
  ErrorQueueScope scope;
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  std::string signature(static_cast<size_t>(EVP_PKEY_get_size(evp())), '\0');
  size_t size = signature.size();
  if (context == nullptr ||
      EVP_DigestSignInit_ex(context.get(), nullptr, data_->curve.digest, nullptr, nullptr, evp(),
                            nullptr) != 1 ||
      EVP_DigestSign(context.get(), Bytes(&signature), &size, Bytes(data), data.size()) != 1) {
    return OpenSslError(absl::StatusCode::kInternal, "sign");
  }
  signature.resize(size);
  return signature;
}

}  // namespace linchpin::x509
