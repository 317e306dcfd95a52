// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What is certified for whom: the registry decides, never the request. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "trust/spiffe_id.h"
#include "x509/certificate_builder.h"
#include "x509/certificate_request.h"
#include "x509/key.h"
#include "x509/leaf_template.h"

namespace linchpin::ca {

// A certificate that has been decided: signing it needs no further thought.
struct LeafOrder {
  x509::CertificateSpec spec;
  x509::PublicKey key;
  std::string spiffe_id;
  std::string node_id;  // through which it is issued; empty: the CA's own
};

struct SignedOrders {
  std::vector<std::string> certificates;  // DER, in the order of the orders
  std::vector<v1::LogEntry> entries;      // index and hash are the log's to set
};

// Whole or nothing. `issuer` is the template that is kept of the issuer and its key.
absl::StatusOr<SignedOrders> SignOrders(const std::vector<LeafOrder>& orders,
                                        const x509::LeafTemplate& issuer, absl::Time now);

// INVALID_ARGUMENT if the request asks for CA:TRUE, for a SPIFFE ID other than `id`, for a DNS name
// that is not in `dns_names`, or for a name of another kind. Asking for nothing is fine.
absl::Status CheckAsks(const x509::CertificateRequest& request, const trust::SpiffeId& id,
                       const std::vector<std::string>& dns_names);

}  // namespace linchpin::ca
