// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/node_evidence.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {
namespace {

constexpr size_t kMaxJoinToken = 4096;
constexpr size_t kMaxKubernetesToken = 16 * 1024;

absl::StatusOr<std::string> ReadToken(absl::string_view what, const std::string& file,
                                      size_t most) {
  ASSIGN_OR_RETURN(std::string token, base::ReadFile(file, most));
  absl::StripAsciiWhitespace(&token);
  const bool one_word = std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (token.empty() || !one_word) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the ", what, " file ", file, token.empty() ? " is empty" : " holds more than a token"));
  }
  return token;
}

}  // namespace

absl::StatusOr<std::string> ReadJoinToken(const std::string& file) {
  if (file.empty()) {
    return absl::FailedPreconditionError(
        "the node needs a join token: give --join-token-file (linchpin node token makes one)");
  }
  return ReadToken("join token", file, kMaxJoinToken);
}

NodeEvidence EvidenceByJoinToken(std::string file) {
  return [file = std::move(file)](ca::v1::AttestRequest* request) {
    ASSIGN_OR_RETURN(std::string token, ReadJoinToken(file));
    request->set_join_token(token);
    x509::WipeString(&token);
    return absl::OkStatus();
  };
}

NodeEvidence EvidenceByKubernetes(std::string cluster, std::string file) {
  return [cluster = std::move(cluster), file = std::move(file)](ca::v1::AttestRequest* request) {
    ASSIGN_OR_RETURN(std::string token,
                     ReadToken("service-account token", file, kMaxKubernetesToken));
    request->mutable_kubernetes()->set_cluster(cluster);
    request->mutable_kubernetes()->set_token(token);
    x509::WipeString(&token);
    return absl::OkStatus();
  };
}

}  // namespace linchpin::agent
