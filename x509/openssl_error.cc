// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/openssl_error.h"

#include <openssl/err.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace linchpin::x509 {
namespace {

constexpr int kMostReasons = 4;

std::string Reason(unsigned long error) {
  const char* reason = ERR_reason_error_string(error);
  if (reason != nullptr) return reason;
  return absl::StrFormat("error %08x", error);
}

}  // namespace

absl::Status OpenSslError(absl::StatusCode code, absl::string_view doing) {
  std::string reasons;
  for (int count = 0; count < kMostReasons; ++count) {
    const unsigned long error = ERR_get_error();
    if (error == 0) break;
    absl::StrAppend(&reasons, reasons.empty() ? "" : ", ", Reason(error));
  }
  ERR_clear_error();
  if (reasons.empty()) reasons = "OpenSSL gave no reason";
  return absl::Status(code, absl::StrCat(doing, ": ", reasons));
}

ErrorQueueScope::ErrorQueueScope() { ERR_clear_error(); }
ErrorQueueScope::~ErrorQueueScope() { ERR_clear_error(); }

}  // namespace linchpin::x509
