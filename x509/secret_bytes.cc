// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/secret_bytes.h"

#include <openssl/crypto.h>

#include <utility>

namespace linchpin::x509 {

SecretBytes SecretBytes::TakeAndWipe(std::string* source) {
  SecretBytes secret;
  secret.bytes_ = std::move(*source);
  WipeString(source);
  return secret;
}

SecretBytes& SecretBytes::operator=(const SecretBytes& other) {
  if (this == &other) return *this;
  Wipe();
  bytes_ = other.bytes_;
  return *this;
}

// A short string lives inside the object, so moving it copies it: the source is wiped as well.
SecretBytes::SecretBytes(SecretBytes&& other) noexcept : bytes_(std::move(other.bytes_)) {
  other.Wipe();
}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this == &other) return *this;
  Wipe();
  bytes_ = std::move(other.bytes_);
  other.Wipe();
  return *this;
}

SecretBytes::~SecretBytes() { Wipe(); }

void SecretBytes::Wipe() { WipeString(&bytes_); }

bool SecretBytes::ConstantTimeEquals(const SecretBytes& other) const {
  return x509::ConstantTimeEquals(bytes_, other.bytes_);
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
