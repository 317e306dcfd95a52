// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <openssl/core_names.h>

#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "x509/curve.h"
#include "x509/encoding.h"
#include "x509/key.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"
#include "x509/pem.h"

namespace linchpin::x509 {
namespace {

constexpr size_t kMaxPkcs8 = 8 * 1024;
constexpr size_t kMaxKeyPem = 16 * 1024;
constexpr absl::string_view kKeyLabel = "PRIVATE KEY";

unsigned char* Bytes(std::string* text) { return reinterpret_cast<unsigned char*>(text->data()); }

}  // namespace

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
  const unsigned char* at = AsBytes(der.Reveal());
  OpenSslPtr<PKCS8_PRIV_KEY_INFO, FreePkcs8> info(
      d2i_PKCS8_PRIV_KEY_INFO(nullptr, &at, static_cast<long>(der.size())));
  if (info == nullptr || at != AsBytes(der.Reveal()) + der.size()) {
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
      EVP_DigestSignInit_ex(context.get(), nullptr, NameOf(data_->curve.hash), nullptr, nullptr,
                            evp(), nullptr) != 1 ||
      EVP_DigestSign(context.get(), Bytes(&signature), &size, AsBytes(data), data.size()) != 1) {
    return OpenSslError(absl::StatusCode::kInternal, "sign");
  }
  signature.resize(size);
  return signature;
}

}  // namespace linchpin::x509
