// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/sealing.h"

#include <openssl/evp.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "x509/encoding.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {
namespace {

// version (1 byte) | nonce | ciphertext | tag. The version and the context are authenticated.
constexpr char kVersion = 1;
constexpr size_t kNonceSize = 12;
constexpr size_t kTagSize = 16;
constexpr size_t kOverhead = 1 + kNonceSize + kTagSize;
constexpr size_t kMostBytes = 64 * 1024 * 1024;

absl::Status CheckInput(const SecretBytes& key, absl::string_view data, absl::string_view context) {
  if (key.size() != kSealingKeySize) {
    return absl::InvalidArgumentError(
        absl::StrFormat("sealing key: expected %d bytes, found %d", kSealingKeySize, key.size()));
  }
  if (data.size() > kMostBytes || context.size() > kMostBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("sealing: %d bytes; at most %d are handled", data.size(), kMostBytes));
  }
  return absl::OkStatus();
}

unsigned char* At(std::string* text, size_t offset) {
  return reinterpret_cast<unsigned char*>(text->data()) + offset;
}

bool Start(EVP_CIPHER_CTX* context, bool encrypt, const SecretBytes& key, absl::string_view nonce) {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return context != nullptr && EVP_CipherInit_ex2(context, cipher, AsBytes(key.Reveal()),
                                                  AsBytes(nonce), encrypt ? 1 : 0, nullptr) == 1;
}

bool AddContext(EVP_CIPHER_CTX* context, absl::string_view bound) {
  const std::string authenticated = absl::StrCat(std::string(1, kVersion), bound);
  int size = 0;
  return EVP_CipherUpdate(context, nullptr, &size, AsBytes(authenticated),
                          static_cast<int>(authenticated.size())) == 1;
}

// Empty input must not reach EVP_CipherUpdate with a null output: it would count as context.
bool Transform(EVP_CIPHER_CTX* context, absl::string_view in, unsigned char* out) {
  int size = 0;
  return in.empty() ||
         (EVP_CipherUpdate(context, out, &size, AsBytes(in), static_cast<int>(in.size())) == 1 &&
          static_cast<size_t>(size) == in.size());
}

}  // namespace

absl::StatusOr<std::string> Seal(const SecretBytes& key, absl::string_view plaintext,
                                 absl::string_view context, base::Random& random) {
  ErrorQueueScope scope;
  if (absl::Status status = CheckInput(key, plaintext, context); !status.ok()) return status;
  const std::string nonce = base::RandomBytes(random, kNonceSize);
  std::string sealed(kOverhead + plaintext.size(), '\0');
  sealed[0] = kVersion;
  sealed.replace(1, kNonceSize, nonce);
  const size_t body = 1 + kNonceSize;
  const size_t tag = body + plaintext.size();
  EvpCipherCtxPtr cipher(EVP_CIPHER_CTX_new());
  int size = 0;
  unsigned char last[EVP_MAX_BLOCK_LENGTH];
  if (!Start(cipher.get(), true, key, nonce) || !AddContext(cipher.get(), context) ||
      !Transform(cipher.get(), plaintext, At(&sealed, body)) ||
      EVP_CipherFinal_ex(cipher.get(), last, &size) != 1 ||
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, At(&sealed, tag)) != 1) {
    WipeString(&sealed);
    return OpenSslError(absl::StatusCode::kInternal, "seal");
  }
  return sealed;
}

absl::StatusOr<SecretBytes> Unseal(const SecretBytes& key, absl::string_view sealed,
                                   absl::string_view context) {
  ErrorQueueScope scope;
  if (absl::Status status = CheckInput(key, sealed, context); !status.ok()) return status;
  if (sealed.size() < kOverhead || sealed[0] != kVersion) {
    return absl::DataLossError(absl::StrFormat(
        "unseal: expected a sealed message of version %d, found %d bytes that are none",
        int{kVersion}, sealed.size()));
  }
  const absl::string_view nonce = sealed.substr(1, kNonceSize);
  const absl::string_view body = sealed.substr(1 + kNonceSize, sealed.size() - kOverhead);
  std::string tag(sealed.substr(sealed.size() - kTagSize));
  SecretBytes plaintext = SecretBytes::OfSize(body.size());
  EvpCipherCtxPtr cipher(EVP_CIPHER_CTX_new());
  int size = 0;
  unsigned char last[EVP_MAX_BLOCK_LENGTH];
  if (!Start(cipher.get(), false, key, nonce) || !AddContext(cipher.get(), context) ||
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, tag.data()) != 1 ||
      !Transform(cipher.get(), body, reinterpret_cast<unsigned char*>(plaintext.Fill())) ||
      EVP_CipherFinal_ex(cipher.get(), last, &size) != 1) {
    return absl::DataLossError(
        "unseal: the message is damaged or was sealed with another key or for another purpose");
  }
  return plaintext;
}

}  // namespace linchpin::x509
