// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/sent_chain.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "x509/pem.h"

namespace linchpin::rpc {
namespace {

constexpr size_t kMostBlocks = 4 * trust::kMaxChainCertificates;

}  // namespace

absl::Status AppendSentChain(absl::string_view pem, trust::RawChain* chain) {
  absl::StatusOr<std::vector<x509::PemBlock>> blocks = x509::ReadPem(pem, kMostBlocks);
  if (!blocks.ok()) {
    return absl::UnauthenticatedError(
        absl::StrCat("the chain that the peer sent is unusable: ", blocks.status().message()));
  }
  for (x509::PemBlock& block : *blocks) chain->push_back(std::move(block.der));
  return absl::OkStatus();
}

}  // namespace linchpin::rpc
