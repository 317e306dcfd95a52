// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/keys/file_key_manager.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/durable_file.h"
#include "base/status_macros.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMaxPem = 16 * 1024;

}  // namespace

absl::StatusOr<std::unique_ptr<FileKeyManager>> FileKeyManager::Make(const std::string& directory) {
  RETURN_IF_ERROR(base::EnsureDirectory(directory, 0700));
  return std::unique_ptr<FileKeyManager>(new FileKeyManager(directory));
}

std::string FileKeyManager::PathOf(const std::string& name) const {
  return absl::StrCat(directory_, "/", name, ".pem");
}

absl::StatusOr<x509::PrivateKey> FileKeyManager::Create(const std::string& name,
                                                        x509::KeyType type) {
  RETURN_IF_ERROR(CheckKeyName(name));
  ASSIGN_OR_RETURN(x509::PrivateKey key, x509::PrivateKey::Generate(type));
  RETURN_IF_ERROR(Put(name, key));
  return key;
}

absl::Status FileKeyManager::Import(const std::string& name, const x509::PrivateKey& key) {
  RETURN_IF_ERROR(CheckKeyName(name));
  const absl::Status status = Put(name, key);
  if (!absl::IsAlreadyExists(status)) return status;
  ASSIGN_OR_RETURN(const x509::PrivateKey there, Open(name));
  return there.public_key() == key.public_key() ? absl::OkStatus() : status;
}

absl::Status FileKeyManager::Put(const std::string& name, const x509::PrivateKey& key) {
  const std::string path = PathOf(name);
  const std::string unlinked = path + ".new";
  base::MutexLock lock(mutex_);
  RETURN_IF_ERROR(base::WriteFileDurably(unlinked, key.ToPem().Reveal(), 0600));
  const absl::Cleanup remove = [&] { unlink(unlinked.c_str()); };
  // Unlike rename(2), link(2) never replaces what is there.
  if (link(unlinked.c_str(), path.c_str()) != 0) {
    if (errno == EEXIST) {
      return absl::AlreadyExistsError(absl::StrCat("key file ", path, " exists: it is kept"));
    }
    return base::ErrnoStatus(errno, absl::StrCat("make key file ", path));
  }
  return base::SyncDirectory(directory_);
}

absl::StatusOr<x509::PrivateKey> FileKeyManager::Open(const std::string& name) {
  RETURN_IF_ERROR(CheckKeyName(name));
  const std::string path = PathOf(name);
  struct stat found = {};
  if (lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return absl::NotFoundError(absl::StrCat("no key file ", path));
    return base::ErrnoStatus(errno, absl::StrCat("look at key file ", path));
  }
  if (!S_ISREG(found.st_mode) || (found.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "key file %s has mode %04o: it must be a regular file that only its owner may read; if "
        "nobody else has read it, chmod 600 it, else replace the key",
        path, found.st_mode & 07777));
  }
  ASSIGN_OR_RETURN(std::string pem, base::ReadFile(path, kMaxPem));
  absl::StatusOr<x509::PrivateKey> key =
      x509::PrivateKey::FromPem(x509::SecretBytes::TakeAndWipe(&pem));
  if (!key.ok()) {
    return absl::DataLossError(absl::StrCat("key file ", path, ": ", key.status().message(),
                                            ": restore it from a backup"));
  }
  return key;
}

absl::Status FileKeyManager::Delete(const std::string& name) {
  RETURN_IF_ERROR(CheckKeyName(name));
  const std::string path = PathOf(name);
  if (access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    return absl::NotFoundError(absl::StrCat("no key file ", path));
  }
  return base::RemoveFileDurably(path);
}

}  // namespace linchpin::ca
