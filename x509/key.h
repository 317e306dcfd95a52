// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Public and private keys. Cheap to copy (shared, immutable), safe for concurrent use.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "x509/secret_bytes.h"
#include "x509/spki_pin.h"

typedef struct evp_pkey_st EVP_PKEY;

namespace linchpin::x509 {

enum class KeyType { kP256, kP384 };
enum class Hash { kSha256, kSha384, kSha512 };

class PublicKey {
 public:
  // At most 4 KiB of DER; INVALID_ARGUMENT otherwise, and for trailing bytes. Any algorithm parses;
  // CheckStrength() judges it.
  static absl::StatusOr<PublicKey> FromSpki(absl::string_view der);
  static absl::StatusOr<PublicKey> FromEvp(EVP_PKEY* key);  // takes a reference of its own
  // `key` is what `spki` decodes to, so that a parsed certificate's key is not decoded twice.
  static PublicKey FromDecoded(EVP_PKEY* key, std::string spki);

  const std::string& spki() const;  // DER
  const SpkiPin& pin() const;
  // INVALID_ARGUMENT unless P-256, P-384, P-521, Ed25519 or RSA of 2048 to 8192 bits; names what
  // was found.
  absl::Status CheckStrength() const;
  // Of a workload, node or signer: P-256 or P-384 only.
  absl::Status CheckLeafKey() const;
  // ECDSA with SHA-256 (P-256) or SHA-384 (P-384) over `data`; DER signature. PERMISSION_DENIED
  // if it does not verify.
  absl::Status Verify(absl::string_view data, absl::string_view signature) const;
  // The same with the hash that the signer says it has used.
  absl::Status Verify(Hash hash, absl::string_view data, absl::string_view signature) const;

  bool operator==(const PublicKey& other) const { return spki() == other.spki(); }
  EVP_PKEY* evp() const;  // borrowed

 private:
  struct Data;
  explicit PublicKey(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

class PrivateKey {
 public:
  static absl::StatusOr<PrivateKey> Generate(KeyType type);
  // Unencrypted PKCS#8 of a P-256 or P-384 key. INVALID_ARGUMENT for anything else, also over
  // 8 KiB or if its public half is another key's; never quotes it.
  static absl::StatusOr<PrivateKey> FromPkcs8(const SecretBytes& der);
  static absl::StatusOr<PrivateKey> FromPem(const SecretBytes& pem);

  SecretBytes ToPkcs8() const;
  SecretBytes ToPem() const;  // PKCS#8 PEM
  const PublicKey& public_key() const;
  // The inverse of PublicKey::Verify.
  absl::StatusOr<std::string> Sign(absl::string_view data) const;

  EVP_PKEY* evp() const;  // borrowed

 private:
  struct Data;
  explicit PrivateKey(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

}  // namespace linchpin::x509
