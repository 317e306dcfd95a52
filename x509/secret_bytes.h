// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Bytes that must not leak: wiped when they go, never printed, compared in constant time only.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace linchpin::x509 {

class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(absl::string_view secret) : bytes_(secret) {}
  // Takes the string's contents and wipes the source.
  static SecretBytes TakeAndWipe(std::string* source);

  SecretBytes(const SecretBytes&) = default;
  SecretBytes& operator=(const SecretBytes& other);
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  ~SecretBytes();

  // The one way to the bytes, so that every use can be found by name. Valid while *this lives.
  absl::string_view Reveal() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  bool ConstantTimeEquals(const SecretBytes& other) const;
  bool operator==(const SecretBytes&) const = delete;

 private:
  void Wipe();
  std::string bytes_;
};

// Wipes a string that a library insists on holding a secret in.
void WipeString(std::string* secret);

bool ConstantTimeEquals(absl::string_view a, absl::string_view b);

}  // namespace linchpin::x509
