// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/digest.h"

#include <openssl/evp.h>

#include <cstdlib>

namespace linchpin::x509 {
namespace {

// Fetched once: OpenSSL 3 otherwise looks the algorithm up by name at each use.
const EVP_MD* Sha256Method() {
  static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return method;
}

// SHA-256 fails only when memory or the library itself is missing; nothing can go on without it.
void Require(bool ok) {
  if (!ok) std::abort();
}

EVP_MD_CTX* Context(void* context) { return static_cast<EVP_MD_CTX*>(context); }

std::string FinishDigest(void* context) {
  std::string digest(32, '\0');
  unsigned int size = 0;
  Require(EVP_DigestFinal_ex(Context(context), reinterpret_cast<unsigned char*>(digest.data()),
                             &size) == 1);
  return digest;
}

}  // namespace

std::string Sha256(absl::string_view data) {
  std::string digest(32, '\0');
  unsigned int size = 0;
  Require(EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(digest.data()),
                     &size, Sha256Method(), nullptr) == 1);
  Require(size == digest.size());
  return digest;
}

Sha256Stream::Sha256Stream() : context_(EVP_MD_CTX_new()) {
  Require(context_ != nullptr);
  Require(EVP_DigestInit_ex(Context(context_), Sha256Method(), nullptr) == 1);
}

Sha256Stream::~Sha256Stream() { EVP_MD_CTX_free(Context(context_)); }

void Sha256Stream::Add(absl::string_view data) {
  Require(EVP_DigestUpdate(Context(context_), data.data(), data.size()) == 1);
}

std::string Sha256Stream::Finish() { return FinishDigest(context_); }

FieldHasher::FieldHasher(absl::string_view domain_separator) : context_(EVP_MD_CTX_new()) {
  Require(context_ != nullptr);
  Require(EVP_DigestInit_ex(Context(context_), Sha256Method(), nullptr) == 1);
  Add(domain_separator);
}

FieldHasher::~FieldHasher() { EVP_MD_CTX_free(Context(context_)); }

FieldHasher& FieldHasher::Add(absl::string_view field) {
  Add(static_cast<uint64_t>(field.size()));
  Require(EVP_DigestUpdate(Context(context_), field.data(), field.size()) == 1);
  return *this;
}

FieldHasher& FieldHasher::Add(uint64_t number) {
  unsigned char bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(number >> (56 - 8 * i));
  Require(EVP_DigestUpdate(Context(context_), bytes, sizeof(bytes)) == 1);
  return *this;
}

std::string FieldHasher::Finish() { return FinishDigest(context_); }

}  // namespace linchpin::x509
