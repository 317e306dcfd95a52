// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/key_files.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "x509/pem.h"

namespace linchpin::cli {
namespace {

constexpr size_t kMaxPem = 16 * 1024;

absl::Status Bad(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

bool Exists(const std::string& path) {
  struct stat found = {};
  return lstat(path.c_str(), &found) == 0 || errno != ENOENT;
}

}  // namespace

absl::StatusOr<x509::PublicKey> MakeKeyFile(const std::string& path) {
  const std::string public_path = path + ".pub";
  for (const std::string& file : {path, public_path}) {
    if (Exists(file)) {
      return absl::AlreadyExistsError(absl::StrCat(file, " exists: it is kept; name another file"));
    }
  }
  ASSIGN_OR_RETURN(const x509::PrivateKey key, x509::PrivateKey::Generate(x509::KeyType::kP256));
  RETURN_IF_ERROR(base::WriteFileDurably(path, key.ToPem().Reveal(), 0600));
  std::string pem;
  x509::AppendPem("PUBLIC KEY", key.public_key().spki(), &pem);
  RETURN_IF_ERROR(base::WriteFileDurably(public_path, pem, 0644));
  return key.public_key();
}

absl::StatusOr<x509::PrivateKey> ReadPrivateKeyFile(const std::string& path) {
  struct stat found = {};
  if (stat(path.c_str(), &found) == 0 && (found.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the key file %s has mode %04o: chmod 600 it if nobody else has read it, "
                        "else make another key",
                        path, found.st_mode & 07777));
  }
  ASSIGN_OR_RETURN(std::string pem, base::ReadFile(path, kMaxPem));
  absl::StatusOr<x509::PrivateKey> key =
      x509::PrivateKey::FromPem(x509::SecretBytes::TakeAndWipe(&pem));
  if (!key.ok()) return Bad(path, key.status());
  return key;
}

absl::StatusOr<x509::PublicKey> ReadPublicKeyFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::string pem, base::ReadFile(path, kMaxPem));
  const x509::SecretBytes text = x509::SecretBytes::TakeAndWipe(&pem);
  absl::StatusOr<std::vector<x509::PemBlock>> blocks = x509::ReadPem(text.Reveal(), 1);
  if (!blocks.ok()) return Bad(path, blocks.status());
  x509::PemBlock& block = blocks->front();
  if (block.label == "PUBLIC KEY") {
    absl::StatusOr<x509::PublicKey> key = x509::PublicKey::FromSpki(block.der);
    if (!key.ok()) return Bad(path, key.status());
    return key;
  }
  x509::WipeString(&block.der);
  ASSIGN_OR_RETURN(const x509::PrivateKey key, ReadPrivateKeyFile(path));
  return key.public_key();
}

}  // namespace linchpin::cli
