// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"
#include "x509/secret_bytes.h"

namespace linchpin::x509 {
namespace {

constexpr size_t kMaxText = 1024 * 1024;
constexpr size_t kBytesPerLine = 48;  // 64 characters

void WipeAll(std::vector<PemBlock>* blocks) {
  for (PemBlock& block : *blocks) WipeString(&block.der);
}

size_t CountBegins(absl::string_view text) {
  constexpr absl::string_view kBegin = "-----BEGIN";
  size_t count = 0;
  for (size_t at = text.find(kBegin); at != absl::string_view::npos;
       at = text.find(kBegin, at + kBegin.size())) {
    ++count;
  }
  return count;
}

absl::Status ReadBlock(BIO* bio, size_t position, PemBlock* block) {
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (PEM_read_bio(bio, &label, &header, &data, &size) != 1) {
    return OpenSslError(absl::StatusCode::kInvalidArgument,
                        absl::StrFormat("read PEM block %d", position));
  }
  const bool encrypted = header[0] != '\0';
  block->label = label;
  block->der.assign(reinterpret_cast<char*>(data), static_cast<size_t>(size));
  OPENSSL_free(label);
  OPENSSL_free(header);
  OPENSSL_clear_free(data, static_cast<size_t>(size));
  if (!encrypted) return absl::OkStatus();
  WipeString(&block->der);
  return absl::InvalidArgumentError(absl::StrFormat(
      "read PEM block %d: it is encrypted or has headers; expected a plain block", position));
}

}  // namespace

absl::StatusOr<std::vector<PemBlock>> ReadPem(absl::string_view text, size_t most) {
  ErrorQueueScope scope;
  if (text.size() > kMaxText) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "read PEM: the text has %d bytes; at most %d are read", text.size(), kMaxText));
  }
  // OpenSSL skips what it does not recognise; a block that was cut must not vanish so.
  const size_t expected = CountBegins(text);
  if (expected == 0) return absl::InvalidArgumentError("read PEM: no -----BEGIN line found");
  if (expected > most) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("read PEM: %d blocks found, at most %d are read", expected, most));
  }
  BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (bio == nullptr) return OpenSslError(absl::StatusCode::kInternal, "read PEM");
  std::vector<PemBlock> blocks(expected);
  for (size_t i = 0; i < expected; ++i) {
    if (absl::Status status = ReadBlock(bio.get(), i + 1, &blocks[i]); !status.ok()) {
      WipeAll(&blocks);
      return status;
    }
  }
  return blocks;
}

size_t PemSize(absl::string_view label, size_t der_size) {
  const size_t characters = (der_size + 2) / 3 * 4;
  const size_t lines = (der_size + kBytesPerLine - 1) / kBytesPerLine;
  return 2 * label.size() + 32 + characters + lines + 2;
}

void AppendPem(absl::string_view label, absl::string_view der, std::string* out) {
  absl::StrAppend(out, "-----BEGIN ", label, "-----\n");
  unsigned char line[kBytesPerLine / 3 * 4 + 1];
  for (size_t at = 0; at < der.size(); at += kBytesPerLine) {
    const absl::string_view part = der.substr(at, kBytesPerLine);
    const int size = EVP_EncodeBlock(line, reinterpret_cast<const unsigned char*>(part.data()),
                                     static_cast<int>(part.size()));
    out->append(reinterpret_cast<char*>(line), static_cast<size_t>(size));
    out->push_back('\n');
  }
  OPENSSL_cleanse(line, sizeof(line));
  absl::StrAppend(out, "-----END ", label, "-----\n");
}

}  // namespace linchpin::x509
