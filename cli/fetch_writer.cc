// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/fetch_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "cli/output.h"
#include "trust/spiffe_id.h"
#include "x509/certificate.h"

namespace linchpin::cli {
namespace {

using agent::v1::Identity;
using agent::v1::MtlsContexts;

constexpr std::array<const char*, 4> kFiles = {"chain.pem", "key.pem", "bundle.pem", "trust.json"};

absl::StatusOr<std::string> PemOf(const google::protobuf::RepeatedPtrField<std::string>& field) {
  const std::vector<std::string> ders(field.begin(), field.end());
  ASSIGN_OR_RETURN(const x509::Chain chain, x509::ParseDerChain(absl::MakeConstSpan(ders)));
  return x509::ToPem(chain);
}

absl::StatusOr<std::string> BundleOf(const MtlsContexts& contexts, const Identity& identity) {
  ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::SpiffeId::Parse(identity.spiffe_id()));
  for (const auto& context : contexts.trust_domains()) {
    if (context.trust_domain() == id.trust_domain().name()) return PemOf(context.anchors());
  }
  return absl::DataLossError(
      absl::StrCat("the agent sent no bundle of the trust domain ", id.trust_domain().name()));
}

absl::Status WriteFiles(const std::string& directory, const MtlsContexts& contexts) {
  const Identity& identity = contexts.identities(0);
  ASSIGN_OR_RETURN(const std::string chain, PemOf(identity.chain()));
  ASSIGN_OR_RETURN(const std::string bundle, BundleOf(contexts, identity));
  ASSIGN_OR_RETURN(const std::string trust, ToJson(WithoutKeys(contexts), true));
  ASSIGN_OR_RETURN(const x509::PrivateKey key,
                   x509::PrivateKey::FromPkcs8(x509::SecretBytes(identity.private_key())));
  ASSIGN_OR_RETURN(const x509::Certificate leaf, x509::Certificate::FromDer(identity.chain(0)));
  if (!(leaf.public_key() == key.public_key())) {
    return absl::DataLossError("the agent sent a key that is not its certificate's");
  }
  RETURN_IF_ERROR(base::WriteFileDurably(directory + "/key.pem", key.ToPem().Reveal(), 0600));
  RETURN_IF_ERROR(base::WriteFileDurably(directory + "/chain.pem", chain, 0644));
  RETURN_IF_ERROR(base::WriteFileDurably(directory + "/bundle.pem", bundle, 0644));
  return base::WriteFileDurably(directory + "/trust.json", trust + "\n", 0644);
}

// Whatever is in the directory must be ours to replace.
absl::Status CheckContents(const std::string& directory) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (absl::c_linear_search(kFiles, name)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " holds another file, ", name,
                     ", and would be replaced whole: name a directory of its own"));
  }
  if (error) return base::ErrnoStatus(error.value(), absl::StrCat("list ", directory));
  return absl::OkStatus();
}

absl::Status Swap(const std::string& made, const std::string& directory) {
  if (renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, directory.c_str(), RENAME_NOREPLACE) == 0) {
    return absl::OkStatus();
  }
  if (errno != EEXIST) return base::ErrnoStatus(errno, absl::StrCat("make ", directory));
  RETURN_IF_ERROR(CheckContents(directory));
  if (renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, directory.c_str(), RENAME_EXCHANGE) != 0) {
    return base::ErrnoStatus(errno, absl::StrCat("replace ", directory));
  }
  return absl::OkStatus();
}

}  // namespace

MtlsContexts WithoutKeys(const MtlsContexts& contexts) {
  MtlsContexts copy = contexts;
  for (Identity& identity : *copy.mutable_identities()) {
    x509::WipeString(identity.mutable_private_key());
    identity.clear_private_key();
  }
  return copy;
}

absl::Status WriteContextDirectory(const std::string& directory, const MtlsContexts& contexts) {
  if (contexts.identities().empty()) return absl::NotFoundError("there is no identity to write");
  std::string target = directory;
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  std::string made = target + ".XXXXXX";
  if (mkdtemp(made.data()) == nullptr) {
    return base::ErrnoStatus(errno, absl::StrCat("make a directory beside ", target));
  }
  // After the swap this is the old one.
  const absl::Cleanup remove = [&made] {
    std::error_code ignored;
    std::filesystem::remove_all(made, ignored);
  };
  RETURN_IF_ERROR(WriteFiles(made, contexts));
  RETURN_IF_ERROR(Swap(made, target));
  const std::string parent = std::filesystem::path(target).parent_path().string();
  return base::SyncDirectory(parent.empty() ? "." : parent);
}

}  // namespace linchpin::cli
