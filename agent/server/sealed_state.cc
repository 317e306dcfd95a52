// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/sealed_state.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "x509/sealing.h"

namespace linchpin::agent {
namespace {

constexpr char kContext[] = "linchpin agent state v1";
constexpr int kMostAside = 1000;

std::string StatePath(const std::string& directory) { return directory + "/state.sealed"; }
std::string KeyPath(const std::string& directory) { return directory + "/seal.key"; }

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

absl::StatusOr<x509::SecretBytes> ReadKey(const std::string& path, const std::string& state) {
  struct stat found {};
  if (stat(path.c_str(), &found) == 0 && (found.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("others may read the sealing key ", path, ": chmod 600 it"));
  }
  absl::StatusOr<std::string> bytes = base::ReadFile(path, 4096);
  if (absl::IsNotFound(bytes.status())) {
    return absl::DataLossError(
        absl::StrCat("the sealing key ", path, " is missing, so ", state, " cannot be opened"));
  }
  RETURN_IF_ERROR(bytes.status());
  x509::SecretBytes key = x509::SecretBytes::TakeAndWipe(&*bytes);
  if (key.size() != x509::kSealingKeySize) {
    return absl::DataLossError(absl::StrCat("the sealing key ", path, " has ", key.size(),
                                            " bytes, expected ", x509::kSealingKeySize));
  }
  return key;
}

}  // namespace

absl::StatusOr<SealedState> SealedState::Open(const std::string& directory) {
  const std::string path = StatePath(directory);
  const std::string key_path = KeyPath(directory);
  if (!Exists(key_path) && !Exists(path)) {
    std::string fresh = base::RandomBytes(base::SystemRandom(), x509::kSealingKeySize);
    const absl::Status written = base::WriteFileDurably(key_path, fresh, 0600);
    x509::WipeString(&fresh);
    RETURN_IF_ERROR(written);
  }
  ASSIGN_OR_RETURN(x509::SecretBytes key, ReadKey(key_path, path));
  return SealedState(path, std::move(key));
}

absl::StatusOr<x509::SecretBytes> ReadSealingKey(const std::string& directory) {
  return ReadKey(KeyPath(directory), StatePath(directory));
}

absl::StatusOr<std::optional<state::v1::AgentState>> SealedState::Load() const {
  const absl::StatusOr<std::string> sealed = base::ReadFile(path_, kMaxBytes);
  if (absl::IsNotFound(sealed.status())) return std::optional<state::v1::AgentState>();
  RETURN_IF_ERROR(sealed.status());
  const absl::StatusOr<x509::SecretBytes> bytes = x509::Unseal(key_, *sealed, kContext);
  if (!bytes.ok()) {
    return absl::DataLossError(
        absl::StrCat("the sealed state ", path_, " cannot be opened: ", bytes.status().message()));
  }
  state::v1::AgentState state;
  if (!state.ParseFromArray(bytes->Reveal().data(), static_cast<int>(bytes->size()))) {
    return absl::DataLossError(absl::StrCat("the sealed state ", path_, " is no agent state"));
  }
  return std::make_optional(std::move(state));
}

absl::Status SealedState::Save(const state::v1::AgentState& state) const {
  if (state.ByteSizeLong() > kMaxBytes / 2) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the state has ", state.ByteSizeLong(), " bytes, at most ", kMaxBytes / 2, " are sealed"));
  }
  x509::SecretBytes plain = x509::SecretBytes::OfSize(state.ByteSizeLong());
  if (!state.SerializeToArray(plain.Fill(), static_cast<int>(plain.size()))) {
    return absl::InternalError("the state cannot be encoded");
  }
  ASSIGN_OR_RETURN(const std::string sealed,
                   x509::Seal(key_, plain.Reveal(), kContext, base::SystemRandom()));
  return base::WriteFileDurably(path_, sealed, 0600);
}

absl::StatusOr<std::string> MoveStateAside(const std::string& directory) {
  const std::string from = StatePath(directory);
  for (int i = 1; i <= kMostAside; ++i) {
    const std::string to = absl::StrCat(from, ".damaged-", i);
    const std::string key = absl::StrCat(KeyPath(directory), ".damaged-", i);
    if (Exists(to) || Exists(key)) continue;
    if (rename(from.c_str(), to.c_str()) != 0) {
      return base::ErrnoStatus(errno, absl::StrCat("rename ", from));
    }
    if (Exists(KeyPath(directory)) && rename(KeyPath(directory).c_str(), key.c_str()) != 0) {
      return base::ErrnoStatus(errno, absl::StrCat("rename ", KeyPath(directory)));
    }
    RETURN_IF_ERROR(base::SyncDirectory(directory));
    return to;
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("there are ", kMostAside, " damaged states in ", directory, " already"));
}

}  // namespace linchpin::agent
