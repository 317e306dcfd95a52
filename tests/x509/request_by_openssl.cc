// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/x509/request_by_openssl.h"

#include <openssl/x509.h>

#include "x509/encoding.h"
#include "x509/openssl_ptr.h"

namespace linchpin::test {
namespace {

void FreeExtensions(STACK_OF(X509_EXTENSION) * stack) {
  sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
}

std::string SpkiOf(X509_REQ* request) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(request), &der);
  const std::string spki(reinterpret_cast<char*>(der), size > 0 ? static_cast<size_t>(size) : 0);
  OPENSSL_free(der);
  return spki;
}

}  // namespace

std::string DifferenceFromOpenSsl(absl::string_view der, const x509::CertificateRequest& request) {
  const unsigned char* at = x509::AsBytes(der);
  const x509::X509ReqPtr read(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
  if (read == nullptr) return "it cannot be parsed";
  if (at != x509::AsBytes(der) + der.size()) return "bytes follow it";
  if (X509_REQ_get_version(read.get()) != X509_REQ_VERSION_1) return "it has another version";
  if (X509_REQ_verify(read.get(), X509_REQ_get0_pubkey(read.get())) != 1) {
    return "its signature does not verify";
  }
  if (SpkiOf(read.get()) != request.public_key().spki()) return "it has another key";
  const x509::OpenSslPtr<STACK_OF(X509_EXTENSION), FreeExtensions> extensions(
      X509_REQ_get_extensions(read.get()));
  if (extensions == nullptr) return "its extensions cannot be parsed";
  const x509::GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(
      X509V3_get_d2i(extensions.get(), NID_subject_alt_name, nullptr, nullptr)));
  const x509::SubjectAltNames sans = x509::ReadAltNames(names.get());
  if (sans.uris != request.uri_sans() || sans.dns != request.dns_sans() ||
      (sans.others > 0) != request.asks_for_other_sans()) {
    return "it asks for other names";
  }
  return "";
}

}  // namespace linchpin::test
