// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/secret_bytes.h"

#include <openssl/crypto.h>

#include <cstring>
#include <new>
#include <utility>

#include "x509/locked_heap.h"

namespace linchpin::x509 {

SecretBytes::SecretBytes(absl::string_view secret) : SecretBytes(OfSize(secret.size())) {
  if (!secret.empty()) std::memcpy(data_, secret.data(), secret.size());
}

SecretBytes SecretBytes::TakeAndWipe(std::string* source) {
  SecretBytes secret(*source);
  WipeString(source);
  return secret;
}

SecretBytes SecretBytes::OfSize(size_t size) {
  SecretBytes secret;
  if (size == 0) return secret;
  if (size <= kMostLockedBytes && CRYPTO_secure_malloc_initialized() == 1 &&
      CRYPTO_secure_used() < kLockedHeapBytes / 2) {
    secret.data_ = static_cast<char*>(OPENSSL_secure_zalloc(size));
  }
  if (secret.data_ == nullptr) secret.data_ = static_cast<char*>(OPENSSL_zalloc(size));
  if (secret.data_ == nullptr) throw std::bad_alloc();
  secret.size_ = size;
  return secret;
}

SecretBytes& SecretBytes::operator=(const SecretBytes& other) {
  return this == &other ? *this : *this = SecretBytes(other);
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this == &other) return *this;
  Wipe();
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

SecretBytes::~SecretBytes() { Wipe(); }

void SecretBytes::Wipe() {
  OPENSSL_secure_clear_free(data_, size_);  // of either heap
  data_ = nullptr;
  size_ = 0;
}

bool SecretBytes::ConstantTimeEquals(const SecretBytes& other) const {
  return x509::ConstantTimeEquals(Reveal(), other.Reveal());
}

void WipeString(std::string* secret) {
  secret->resize(secret->capacity());  // never allocates; reaches what an earlier resize left
  OPENSSL_cleanse(secret->data(), secret->size());
  secret->clear();
}

bool ConstantTimeEquals(absl::string_view a, absl::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace linchpin::x509
