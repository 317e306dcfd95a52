// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/certificate_order.h"

#include <utility>

#include "base/status_macros.h"
#include "ca/core/issuing.h"
#include "trust/spiffe_id.h"
#include "x509/certificate_request.h"

namespace linchpin::ca {
namespace {

absl::StatusOr<x509::PublicKey> KeyOf(const CertificateOrder& order) {
  if (order.key.has_value()) return *order.key;
  ASSIGN_OR_RETURN(const auto request, x509::CertificateRequest::FromDer(order.request));
  ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::SpiffeId::Parse(order.spiffe_id));
  RETURN_IF_ERROR(CheckAsks(request, id, order.spec.dns_sans));
  return request.public_key();
}

}  // namespace

absl::StatusOr<CertificatesMade> MakeCertificates(const std::vector<CertificateOrder>& orders,
                                                  const x509::LeafTemplate& issuer,
                                                  absl::Time now) {
  CertificatesMade made;
  made.certificates.reserve(orders.size());
  std::vector<LeafOrder> leaves;
  leaves.reserve(orders.size());
  for (const CertificateOrder& order : orders) {
    absl::StatusOr<x509::PublicKey> key = KeyOf(order);
    if (!key.ok()) {
      made.certificates.emplace_back(key.status());
      continue;
    }
    made.certificates.emplace_back(std::string());
    leaves.push_back({order.spec, *std::move(key), order.spiffe_id, order.node_id});
  }
  if (leaves.empty()) return made;
  ASSIGN_OR_RETURN(SignedOrders signed_orders, SignOrders(leaves, issuer, now));
  size_t next = 0;
  for (absl::StatusOr<std::string>& certificate : made.certificates) {
    if (certificate.ok()) certificate = std::move(signed_orders.certificates[next++]);
  }
  made.entries = std::move(signed_orders.entries);
  return made;
}

}  // namespace linchpin::ca
