// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Bytes that must not leak: wiped when they go, never printed, compared in constant time only; on
// the locked heap (locked_heap.h) where the program has one and they are short.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace linchpin::x509 {

class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(absl::string_view secret);
  // A copy of the string, which is wiped.
  static SecretBytes TakeAndWipe(std::string* source);
  // `size` zero bytes to be written through Fill(), by what would otherwise leave a copy elsewhere.
  static SecretBytes OfSize(size_t size);

  SecretBytes(const SecretBytes& other) : SecretBytes(other.Reveal()) {}
  SecretBytes& operator=(const SecretBytes& other);
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  ~SecretBytes();

  // The one way to the bytes, so that every use can be found by name. Valid while *this lives.
  absl::string_view Reveal() const { return absl::string_view(data_, size_); }
  char* Fill() { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  bool ConstantTimeEquals(const SecretBytes& other) const;
  bool operator==(const SecretBytes&) const = delete;

 private:
  void Wipe();
  char* data_ = nullptr;
  size_t size_ = 0;
};

// Wipes a string that a library insists on holding a secret in.
void WipeString(std::string* secret);

// A value with secrets in it, which its last holder wipes.
template <typename T>
std::shared_ptr<T> ShareWiped(T value, void (*wipe)(T*)) {
  return std::shared_ptr<T>(new T(std::move(value)), [wipe](T* last) {
    wipe(last);
    delete last;
  });
}

bool ConstantTimeEquals(absl::string_view a, absl::string_view b);

}  // namespace linchpin::x509
