// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/certificate_request.h"

#include <openssl/objects.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "x509/der.h"
#include "x509/encoding.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {
namespace {

constexpr absl::string_view kVersion1("\x00", 1);
constexpr absl::string_view kNoUnusedBits("\x00", 1);
constexpr absl::string_view kEmptyName("\x30\x00", 2);
// RFC 5758 §3.2: ecdsa-with-SHA256, -384 and -512 but for their last byte.
constexpr absl::string_view kEcdsaWithSha2("\x06\x08\x2a\x86\x48\xce\x3d\x04\x03", 9);

void FreeExtensions(STACK_OF(X509_EXTENSION) * stack) {
  sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
}
using ExtensionsPtr = OpenSslPtr<STACK_OF(X509_EXTENSION), FreeExtensions>;

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("certificate request: ", what));
}

absl::Status Malformed() { return Bad("expected the DER of a PKCS#10 request (RFC 2986)"); }

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

// What RFC 2986 §4 lays out, not yet looked into.
struct Layout {
  absl::string_view info;  // CertificationRequestInfo: what is signed
  absl::string_view subject;
  absl::string_view spki;
  absl::string_view attributes;  // one after the other
  absl::string_view algorithm;
  absl::string_view signature;
};

std::optional<Layout> Read(absl::string_view request) {
  Layout layout;
  der::Reader parts(request);
  const auto info = parts.Next(der::kSequence);
  const auto algorithm = parts.Next(der::kSequence);
  const auto signature = parts.Next(der::kBitString);
  if (!info || !algorithm || !signature || !parts.AtEnd()) return std::nullopt;
  layout.info = info->whole;
  layout.algorithm = algorithm->body;
  layout.signature = signature->body;
  if (!absl::ConsumePrefix(&layout.signature, kNoUnusedBits)) return std::nullopt;

  der::Reader fields(info->body);
  const auto version = fields.Next(der::kInteger);
  const auto subject = fields.Next(der::kSequence);
  const auto key = fields.Next(der::kSequence);
  if (!version || version->body != kVersion1 || !subject || !key) return std::nullopt;
  layout.subject = subject->whole;
  layout.spki = key->whole;
  if (fields.AtEnd()) return layout;  // attributes are not optional, but some leave them out
  const auto attributes = fields.Next(der::ContextConstructed(0));
  if (!attributes || !fields.AtEnd()) return std::nullopt;
  layout.attributes = attributes->body;
  return layout;
}

// Names and attributes may hold anything: OpenSSL decodes them, which only keys make dear.
bool IsName(absl::string_view subject) {
  if (subject == kEmptyName) return true;
  const unsigned char* at = AsBytes(subject);
  const OpenSslPtr<X509_NAME, X509_NAME_free> name(
      d2i_X509_NAME(nullptr, &at, static_cast<long>(subject.size())));
  return name != nullptr;
}

// The extensions in an attribute that asks for some; null if they cannot be parsed.
ExtensionsPtr ExtensionsOf(X509_ATTRIBUTE* attribute) {
  const ASN1_TYPE* value = X509_ATTRIBUTE_get0_type(attribute, 0);
  if (value == nullptr || ASN1_TYPE_get(value) != V_ASN1_SEQUENCE) return nullptr;
  const std::string encoded = ToString(value->value.sequence);
  const unsigned char* at = AsBytes(encoded);
  return ExtensionsPtr(d2i_X509_EXTENSIONS(nullptr, &at, static_cast<long>(encoded.size())));
}

// The requested extensions; null if there are none. RFC 2985 §5.4.2: the attribute has a single
// value, and the attributes of a request have distinct types (RFC 2986 §4.1).
absl::StatusOr<ExtensionsPtr> RequestedExtensions(absl::string_view attributes) {
  ExtensionsPtr extensions;
  for (der::Reader rest(attributes); !rest.AtEnd();) {
    const auto element = rest.Next(der::kSequence);
    if (!element) return Malformed();
    const unsigned char* at = AsBytes(element->whole);
    const OpenSslPtr<X509_ATTRIBUTE, X509_ATTRIBUTE_free> attribute(
        d2i_X509_ATTRIBUTE(nullptr, &at, static_cast<long>(element->whole.size())));
    if (attribute == nullptr) return Bad("an attribute cannot be parsed");
    const int nid = OBJ_obj2nid(X509_ATTRIBUTE_get0_object(attribute.get()));
    if (nid != NID_ext_req && nid != NID_ms_ext_req) continue;
    if (extensions != nullptr || X509_ATTRIBUTE_count(attribute.get()) != 1) {
      return Bad("it asks for extensions more than once");
    }
    extensions = ExtensionsOf(attribute.get());
    if (extensions == nullptr) return Bad("the extensions that it asks for cannot be parsed");
  }
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

std::string AlgorithmName(absl::string_view algorithm) {
  const auto oid = der::Reader(algorithm).Next(der::kOid);
  if (!oid) return "an unknown algorithm";
  const unsigned char* at = AsBytes(oid->whole);
  const OpenSslPtr<ASN1_OBJECT, ASN1_OBJECT_free> object(
      d2i_ASN1_OBJECT(nullptr, &at, static_cast<long>(oid->whole.size())));
  char name[80] = {};
  OBJ_obj2txt(name, sizeof(name), object.get(), 0);
  return name;
}

// Proofs are made with SHA-256 or better; nothing else is worth verifying. RFC 5758 §3.2: "the
// encoding MUST omit the parameters field".
absl::StatusOr<Hash> HashOf(absl::string_view algorithm) {
  absl::string_view kind = algorithm;
  if (absl::ConsumePrefix(&kind, kEcdsaWithSha2) && kind.size() == 1) {
    if (kind == "\x02") return Hash::kSha256;
    if (kind == "\x03") return Hash::kSha384;
    if (kind == "\x04") return Hash::kSha512;
  }
  return Bad(absl::StrCat("expected a signature by ECDSA with SHA-256 or better, found ",
                          AlgorithmName(algorithm)));
}

absl::Status CheckProof(const Layout& layout, const PublicKey& key) {
  ASSIGN_OR_RETURN(const Hash hash, HashOf(layout.algorithm));
  const absl::Status status = key.Verify(hash, layout.info, layout.signature);
  if (!absl::IsPermissionDenied(status)) return status;
  return absl::PermissionDeniedError(
      absl::StrCat("certificate request: its signature does not prove possession of the key ",
                   key.pin().ToString()));
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
  der::Reader whole(der);
  const auto request = whole.Next(der::kSequence);
  if (!request) return Malformed();
  if (!whole.AtEnd()) {
    return Bad(absl::StrFormat("%d bytes follow it", der.size() - request->whole.size()));
  }
  const std::optional<Layout> layout = Read(request->body);
  if (!layout || !IsName(layout->subject)) return Malformed();
  ASSIGN_OR_RETURN(PublicKey key, PublicKey::FromSpki(layout->spki));
  RETURN_IF_ERROR(key.CheckLeafKey());
  RETURN_IF_ERROR(CheckProof(*layout, key));
  CertificateRequest result(std::move(key));
  ASSIGN_OR_RETURN(const ExtensionsPtr extensions, RequestedExtensions(layout->attributes));
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
