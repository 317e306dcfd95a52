// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The material in tests/golden/certificates, and the openssl program that made it.
#pragma once

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "x509/certificate.h"

namespace linchpin::x509 {

// The instant at which the golden certificates are judged.
inline absl::Time GoldenNow() {
  return absl::FromCivil(absl::CivilSecond(2026, 6, 1), absl::UTCTimeZone());
}

inline std::string GoldenFile(const std::string& name) {
  const std::string path = absl::StrCat(LINCHPIN_SOURCE_DIR, "/tests/golden/certificates/", name);
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    ADD_FAILURE() << "cannot read " << path;
    return "";
  }
  std::ostringstream contents;
  contents << file.rdbuf();
  return contents.str();
}

inline Certificate Golden(const std::string& name) {
  auto certificate = Certificate::FromPem(GoldenFile(name + ".pem"));
  if (!certificate.ok()) {
    ADD_FAILURE() << name << ": " << certificate.status();
    std::abort();
  }
  return *std::move(certificate);
}

inline void WriteText(const std::string& path, absl::string_view contents) {
  std::ofstream(path, std::ios::binary) << contents;
}

struct ProgramResult {
  int exit_code = -1;
  std::string output;  // both streams
};

// Runs `openssl ARGUMENTS` through the shell.
inline ProgramResult RunOpenSsl(const std::string& arguments) {
  ProgramResult result;
  FILE* pipe = popen(absl::StrCat("openssl ", arguments, " 2>&1").c_str(), "r");
  if (pipe == nullptr) return result;
  std::array<char, 4096> buffer;
  size_t size = 0;
  while ((size = fread(buffer.data(), 1, buffer.size(), pipe)) > 0) {
    result.output.append(buffer.data(), size);
  }
  result.exit_code = pclose(pipe);
  return result;
}

}  // namespace linchpin::x509
