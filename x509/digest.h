// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// SHA-256, as 32 bytes in a std::string.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace linchpin::x509 {

std::string Sha256(absl::string_view data);

// The same of data that comes in pieces.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(const Sha256Stream&) = delete;
  Sha256Stream& operator=(const Sha256Stream&) = delete;

  void Add(absl::string_view data);
  std::string Finish();  // once

 private:
  void* context_;  // EVP_MD_CTX
};

// Hashes fields without ambiguity: each is preceded by its length.
class FieldHasher {
 public:
  explicit FieldHasher(absl::string_view domain_separator);
  ~FieldHasher();
  FieldHasher(const FieldHasher&) = delete;
  FieldHasher& operator=(const FieldHasher&) = delete;

  FieldHasher& Add(absl::string_view field);
  FieldHasher& Add(uint64_t number);
  std::string Finish();  // once

 private:
  void* context_;  // EVP_MD_CTX
};

}  // namespace linchpin::x509
