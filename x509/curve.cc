// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/curve.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include <cstdlib>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "x509/encoding.h"

namespace linchpin::x509 {
namespace {

const Curve kCurves[] = {
    {KeyType::kP256, "prime256v1", "P-256", 32,
     absl::string_view("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48"
                       "\xce\x3d\x03\x01\x07\x03\x42\x00",
                       26),
     absl::string_view("\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06"
                       "\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20",
                       36),
     absl::string_view("\xa1\x44\x03\x42\x00", 5), Hash::kSha256},
    {KeyType::kP384, "secp384r1", "P-384", 48,
     absl::string_view("\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04"
                       "\x00\x22\x03\x62\x00",
                       23),
     absl::string_view("\x30\x81\xb6\x02\x01\x00\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06"
                       "\x05\x2b\x81\x04\x00\x22\x04\x81\x9e\x30\x81\x9b\x02\x01\x01\x04\x30",
                       35),
     absl::string_view("\xa1\x64\x03\x62\x00", 5), Hash::kSha384},
};

// A key of the curve without a key: looking a curve up by its name costs more than all else here.
EvpPkeyPtr MakeParameters(const Curve& curve) {
  std::string group = curve.group;
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.data(), 0),
      OSSL_PARAM_construct_end()};
  EvpPkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEY_PARAMETERS, params) != 1) {
    std::abort();  // the library itself is missing
  }
  return EvpPkeyPtr(key);
}

const EVP_PKEY* ParametersOf(const Curve& curve) {
  static const EVP_PKEY* const p256 = MakeParameters(CurveOf(KeyType::kP256)).release();
  static const EVP_PKEY* const p384 = MakeParameters(CurveOf(KeyType::kP384)).release();
  return curve.type == KeyType::kP256 ? p256 : p384;
}

}  // namespace

const Curve& CurveOf(KeyType type) { return kCurves[type == KeyType::kP256 ? 0 : 1]; }

const Curve* CanonicalCurve(absl::string_view spki) {
  for (const Curve& curve : kCurves) {
    if (spki.size() == curve.spki_prefix.size() + curve.point() &&
        absl::StartsWith(spki, curve.spki_prefix) && spki[curve.spki_prefix.size()] == '\x04') {
      return &curve;
    }
  }
  return nullptr;
}

const Curve* CurveByGroup(EVP_PKEY* key) {
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || HasExplicitCurve(key)) return nullptr;
  const std::string group = GroupName(key);
  for (const Curve& curve : kCurves) {
    if (group == curve.group) return &curve;
  }
  return nullptr;
}

EvpPkeyPtr FromPoint(const Curve& curve, absl::string_view point) {
  EvpPkeyPtr key(EVP_PKEY_new());
  if (key == nullptr || EVP_PKEY_copy_parameters(key.get(), ParametersOf(curve)) != 1 ||
      EVP_PKEY_set1_encoded_public_key(key.get(), AsBytes(point), point.size()) != 1) {
    return nullptr;
  }
  return key;
}

EVP_PKEY* LendFromPoint(const Curve& curve, absl::string_view point) {
  struct Lent {
    EvpPkeyPtr key;
    std::string point;  // that it has; empty: not known
  };
  thread_local Lent of_curves[std::size(kCurves)];
  Lent& lent = of_curves[&curve - kCurves];
  if (lent.key != nullptr && lent.point == point) return lent.key.get();
  lent.point.clear();
  if (lent.key == nullptr) {
    lent.key = FromPoint(curve, point);
    if (lent.key == nullptr) return nullptr;
  } else if (EVP_PKEY_set1_encoded_public_key(lent.key.get(), AsBytes(point), point.size()) != 1) {
    return nullptr;
  }
  lent.point = std::string(point);
  return lent.key.get();
}

const char* NameOf(Hash hash) {
  switch (hash) {
    case Hash::kSha256:
      return "SHA256";
    case Hash::kSha384:
      return "SHA384";
    case Hash::kSha512:
      break;
  }
  return "SHA512";
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

}  // namespace linchpin::x509
