// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/key.h"

#include <cstdlib>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "x509/curve.h"
#include "x509/encoding.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {
namespace {

constexpr size_t kMaxSpki = 4 * 1024;

absl::string_view PointOf(const Curve& curve, absl::string_view spki) {
  return spki.substr(curve.spki_prefix.size());
}

}  // namespace

struct PublicKey::Data {
  std::string spki;
  SpkiPin pin;
  // One that was made from its point is made when it is first asked for: most never are.
  mutable std::once_flag make_key;
  mutable EvpPkeyPtr key;
};

absl::StatusOr<PublicKey> PublicKey::FromSpki(absl::string_view der) {
  ErrorQueueScope scope;
  if (der.size() > kMaxSpki) {
    return absl::InvalidArgumentError(
        absl::StrFormat("public key: %d bytes of DER; at most %d are read", der.size(), kMaxSpki));
  }
  EvpPkeyPtr key;
  bool is_key = false;
  if (const Curve* curve = CanonicalCurve(der)) {
    is_key = LendFromPoint(*curve, PointOf(*curve, der)) != nullptr;
  } else {
    const unsigned char* at = AsBytes(der);
    key.reset(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
    is_key = key != nullptr;
    if (is_key && at != AsBytes(der) + der.size()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "public key: %d bytes follow the SubjectPublicKeyInfo", AsBytes(der) + der.size() - at));
    }
  }
  if (!is_key) {
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
  if (key != nullptr) EVP_PKEY_up_ref(key);
  data->key.reset(key);
  data->pin = SpkiPin::OfSpki(spki);
  data->spki = std::move(spki);
  return PublicKey(std::move(data));
}

const std::string& PublicKey::spki() const { return data_->spki; }
const SpkiPin& PublicKey::pin() const { return data_->pin; }

EVP_PKEY* PublicKey::evp() const {
  std::call_once(data_->make_key, [&data = *data_] {
    if (data.key != nullptr) return;
    const Curve& curve = *CanonicalCurve(data.spki);
    data.key = FromPoint(curve, PointOf(curve, data.spki));
    if (data.key == nullptr) std::abort();  // it is on the curve: memory has run out
  });
  return data_->key.get();
}

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
  const Curve* curve = CanonicalCurve(spki());
  return Verify(curve == nullptr ? Hash::kSha256 : curve->hash, data, signature);
}

absl::Status PublicKey::Verify(Hash hash, absl::string_view data,
                               absl::string_view signature) const {
  ErrorQueueScope scope;
  const Curve* curve = CanonicalCurve(spki());
  if (curve == nullptr) return CheckLeafKey();
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  EVP_PKEY* const key = LendFromPoint(*curve, PointOf(*curve, spki()));
  if (context == nullptr || key == nullptr ||
      EVP_DigestVerifyInit_ex(context.get(), nullptr, NameOf(hash), nullptr, nullptr, key,
                              nullptr) != 1) {
    return OpenSslError(absl::StatusCode::kInternal, "verify signature");
  }
  if (EVP_DigestVerify(context.get(), AsBytes(signature), signature.size(), AsBytes(data),
                       data.size()) != 1) {
    return absl::PermissionDeniedError(
        absl::StrCat("the signature does not verify with key ", pin().ToString()));
  }
  return absl::OkStatus();
}

}  // namespace linchpin::x509
