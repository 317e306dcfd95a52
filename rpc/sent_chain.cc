// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/sent_chain.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
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

absl::string_view Property(const grpc_auth_context* context, const char* name) {
  grpc_auth_property_iterator it = grpc_auth_context_find_properties_by_name(context, name);
  const grpc_auth_property* const property = grpc_auth_property_iterator_next(&it);
  if (property == nullptr) return {};
  return absl::string_view(property->value, property->value_length);
}

absl::StatusOr<trust::RawChain> PeerChain(grpc_call* call, trust::Direction direction) {
  const std::unique_ptr<grpc_auth_context, decltype(&grpc_auth_context_release)> peer(
      grpc_call_auth_context(call), grpc_auth_context_release);
  trust::RawChain chain;
  if (peer == nullptr) return chain;
  const absl::string_view leaf = Property(peer.get(), GRPC_X509_PEM_CERT_PROPERTY_NAME);
  const absl::string_view all = Property(peer.get(), GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME);
  // On a server's side the leaf is not part of the chain property.
  const bool with_leaf = direction == trust::Direction::kInbound || all.empty();
  if (with_leaf && !leaf.empty()) RETURN_IF_ERROR(AppendSentChain(leaf, &chain));
  if (!all.empty()) RETURN_IF_ERROR(AppendSentChain(all, &chain));
  return chain;
}

}  // namespace linchpin::rpc
