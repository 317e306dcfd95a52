// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/foreign_issuer.h"

#include <openssl/objects.h>

#include <utility>

#include "base/status_macros.h"
#include "x509/encoding.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {
namespace {

constexpr size_t kMaxNamePart = 64;  // RFC 5280 appendix A.1

void FreeExtensions(STACK_OF(X509_EXTENSION) * stack) {
  sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
}
using ExtensionStackPtr = OpenSslPtr<STACK_OF(X509_EXTENSION), FreeExtensions>;

absl::Status Failed() {
  return OpenSslError(absl::StatusCode::kInternal, "make certificate request");
}

bool AddNamePart(X509_NAME* name, int nid, const std::string& value) {
  return value.size() <= kMaxNamePart &&
         X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, AsBytes(value),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

bool Push(STACK_OF(X509_EXTENSION) * extensions, X509ExtensionPtr extension) {
  if (extension == nullptr || sk_X509_EXTENSION_push(extensions, extension.get()) <= 0) {
    return false;
  }
  extension.release();
  return true;
}

X509ExtensionPtr Extension(int nid, const char* value) {
  return X509ExtensionPtr(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
}

absl::Status AddExtensions(X509_REQ* request, const std::string& uri_san) {
  ASSIGN_OR_RETURN(X509ExtensionPtr san, MakeAltNames({uri_san}, {}, false));
  ExtensionStackPtr all(sk_X509_EXTENSION_new_null());
  if (all == nullptr ||
      !Push(all.get(), Extension(NID_basic_constraints, "critical,CA:TRUE,pathlen:0")) ||
      !Push(all.get(), Extension(NID_key_usage, "critical,keyCertSign,cRLSign")) ||
      !Push(all.get(), std::move(san)) || X509_REQ_add_extensions(request, all.get()) != 1) {
    return Failed();
  }
  return absl::OkStatus();
}

std::string NameOf(X509_EXTENSION* extension) {
  char name[80] = {};
  OBJ_obj2txt(name, sizeof(name), X509_EXTENSION_get_object(extension), 0);
  return name;
}

}  // namespace

absl::StatusOr<std::string> MakeIssuerRequest(const IssuerRequest& asked, const PrivateKey& key) {
  ErrorQueueScope scope;
  X509ReqPtr request(X509_REQ_new());
  if (request == nullptr || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.evp()) != 1) {
    return Failed();
  }
  X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  if (!AddNamePart(subject, NID_organizationName, asked.organization) ||
      !AddNamePart(subject, NID_commonName, asked.common_name)) {
    return OpenSslError(absl::StatusCode::kInvalidArgument,
                        "certificate request: organization and common name must be UTF-8 of 1 to "
                        "64 characters");
  }
  RETURN_IF_ERROR(AddExtensions(request.get(), asked.uri_san));
  if (X509_REQ_sign(request.get(), key.evp(), SigningDigest(key.evp())) <= 0) return Failed();
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request.get(), &der);
  if (size <= 0) return Failed();
  std::string result(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return result;
}

std::string HinderingExtension(const Certificate& ca) {
  for (int i = 0; i < X509_get_ext_count(ca.x509()); ++i) {
    X509_EXTENSION* extension = X509_get_ext(ca.x509(), i);
    const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    if (nid == NID_name_constraints) return "name constraints";
    if (nid == NID_policy_constraints || nid == NID_inhibit_any_policy) {
      return "policy constraints";
    }
    if (nid == NID_policy_mappings) return "policy mappings";
    const bool critical = X509_EXTENSION_get_critical(extension) == 1;
    if (nid == NID_basic_constraints && !critical) return "basic constraints that are not critical";
    if (critical && X509_supported_extension(extension) != 1) {
      return "the critical extension " + NameOf(extension) + ", which is not known";
    }
  }
  return "";
}

bool HaveSameSubject(const Certificate& a, const Certificate& b) {
  return X509_NAME_cmp(X509_get_subject_name(a.x509()), X509_get_subject_name(b.x509())) == 0;
}

}  // namespace linchpin::x509
