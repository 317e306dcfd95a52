// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/certificate_request.h"

#include <openssl/objects.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "x509/encoding.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {
namespace {

void FreeExtensions(STACK_OF(X509_EXTENSION) * stack) {
  sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
}
using ExtensionsPtr = OpenSslPtr<STACK_OF(X509_EXTENSION), FreeExtensions>;

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("certificate request: ", what));
}

absl::Status AddSan(X509_REQ* request, absl::string_view uri) {
  ASSIGN_OR_RETURN(X509ExtensionPtr san, MakeAltNames({std::string(uri)}, {}, true));
  ExtensionsPtr extensions(sk_X509_EXTENSION_new_null());
  if (extensions == nullptr || sk_X509_EXTENSION_push(extensions.get(), san.get()) <= 0) {
    return OpenSslError(absl::StatusCode::kInternal, "make certificate request");
  }
  san.release();
  if (X509_REQ_add_extensions(request, extensions.get()) != 1) {
    return OpenSslError(absl::StatusCode::kInternal, "make certificate request");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> EncodeRequest(X509_REQ* request) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request, &der);
  if (size <= 0) {
    return OpenSslError(absl::StatusCode::kInternal, "encode certificate request");
  }
  std::string result(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return result;
}

// The requested extensions; null if there are none. RFC 2985 §5.4.2: the attribute has a single
// value, and the attributes of a request have distinct types (RFC 2986 §4.1).
absl::StatusOr<ExtensionsPtr> RequestedExtensions(X509_REQ* request) {
  int found = 0;
  for (int i = 0; i < X509_REQ_get_attr_count(request); ++i) {
    X509_ATTRIBUTE* attribute = X509_REQ_get_attr(request, i);
    const int nid = OBJ_obj2nid(X509_ATTRIBUTE_get0_object(attribute));
    if (nid != NID_ext_req && nid != NID_ms_ext_req) continue;
    if (++found > 1 || X509_ATTRIBUTE_count(attribute) != 1) {
      return Bad("it asks for extensions more than once");
    }
  }
  ExtensionsPtr extensions;
  if (found == 0) return extensions;
  extensions.reset(X509_REQ_get_extensions(request));
  if (extensions == nullptr) return Bad("the extensions that it asks for cannot be parsed");
  return extensions;
}

// One requested extension, decoded; null if it is not there.
template <typename T, auto Free>
absl::StatusOr<OpenSslPtr<T, Free>> Decode(const STACK_OF(X509_EXTENSION) * extensions, int nid) {
  int critical = 0;
  OpenSslPtr<T, Free> value(static_cast<T*>(X509V3_get_d2i(extensions, nid, &critical, nullptr)));
  if (value == nullptr && critical != -1) {
    return Bad(absl::StrCat("the ", OBJ_nid2sn(nid),
                            " that it asks for cannot be parsed or occurs twice"));
  }
  return value;
}

absl::StatusOr<bool> AsksForCa(const STACK_OF(X509_EXTENSION) * extensions) {
  ASSIGN_OR_RETURN(const auto constraints, (Decode<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free>(
                                               extensions, NID_basic_constraints)));
  ASSIGN_OR_RETURN(const auto usage,
                   (Decode<ASN1_BIT_STRING, ASN1_BIT_STRING_free>(extensions, NID_key_usage)));
  constexpr int kKeyCertSignBit = 5;
  return (constraints != nullptr && constraints->ca != 0) ||
         (usage != nullptr && ASN1_BIT_STRING_get_bit(usage.get(), kKeyCertSignBit) == 1);
}

// Proofs are made with SHA-256 or better; nothing else is worth verifying.
absl::Status CheckProof(X509_REQ* request, const PublicKey& key) {
  const int algorithm = X509_REQ_get_signature_nid(request);
  if (algorithm != NID_ecdsa_with_SHA256 && algorithm != NID_ecdsa_with_SHA384 &&
      algorithm != NID_ecdsa_with_SHA512) {
    const char* name = OBJ_nid2sn(algorithm);
    return Bad(absl::StrCat("expected a signature by ECDSA with SHA-256 or better, found ",
                            name == nullptr ? "an unknown algorithm" : name));
  }
  if (X509_REQ_verify(request, key.evp()) != 1) {
    return absl::PermissionDeniedError(
        absl::StrCat("certificate request: its signature does not prove possession of the key ",
                     key.pin().ToString()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> MakeCertificateRequest(const PrivateKey& key,
                                                   absl::string_view uri_san) {
  ErrorQueueScope scope;
  X509ReqPtr request(X509_REQ_new());
  if (request == nullptr || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      !SetPlainKey(key.public_key(), X509_REQ_get_X509_PUBKEY(request.get()))) {
    return OpenSslError(absl::StatusCode::kInternal, "make certificate request");
  }
  if (!uri_san.empty()) RETURN_IF_ERROR(AddSan(request.get(), uri_san));
  if (X509_REQ_sign(request.get(), key.evp(), SigningDigest(key.evp())) <= 0) {
    return OpenSslError(absl::StatusCode::kInternal, "sign certificate request");
  }
  return EncodeRequest(request.get());
}

absl::StatusOr<CertificateRequest> CertificateRequest::FromDer(absl::string_view der) {
  ErrorQueueScope scope;
  if (der.empty()) return Bad("it is empty");
  if (der.size() > kMaxDer) {
    return Bad(absl::StrFormat("%d bytes; at most %d are read", der.size(), kMaxDer));
  }
  const unsigned char* at = AsBytes(der);
  X509ReqPtr request(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
  if (request == nullptr) {
    return OpenSslError(absl::StatusCode::kInvalidArgument,
                        "certificate request: cannot be parsed");
  }
  if (at != AsBytes(der) + der.size()) {
    return Bad(absl::StrFormat("%d bytes follow it", AsBytes(der) + der.size() - at));
  }
  unsigned char* encoded = nullptr;
  const int size = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(request.get()), &encoded);
  if (size <= 0) {
    return OpenSslError(absl::StatusCode::kInvalidArgument, "certificate request: its public key");
  }
  const std::string spki(reinterpret_cast<char*>(encoded), static_cast<size_t>(size));
  OPENSSL_free(encoded);
  ASSIGN_OR_RETURN(PublicKey key, PublicKey::FromSpki(spki));
  RETURN_IF_ERROR(key.CheckLeafKey());
  RETURN_IF_ERROR(CheckProof(request.get(), key));
  CertificateRequest result(std::move(key));
  ASSIGN_OR_RETURN(const ExtensionsPtr extensions, RequestedExtensions(request.get()));
  if (extensions == nullptr) return result;
  ASSIGN_OR_RETURN(result.asks_for_ca_, AsksForCa(extensions.get()));
  ASSIGN_OR_RETURN(const auto names, (Decode<GENERAL_NAMES, GENERAL_NAMES_free>(
                                         extensions.get(), NID_subject_alt_name)));
  if (names == nullptr) return result;
  SubjectAltNames sans = ReadAltNames(names.get());
  result.uri_sans_ = std::move(sans.uris);
  result.dns_sans_ = std::move(sans.dns);
  result.asks_for_other_sans_ = sans.others > 0;
  return result;
}

}  // namespace linchpin::x509
