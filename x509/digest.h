// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// SHA-256, as 32 bytes in a std::string.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace linchpin::x509 {

std::string Sha256(absl::string_view data);

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
