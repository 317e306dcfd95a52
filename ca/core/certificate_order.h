// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Certificates from orders: the dear part of issuing, apart from the core's thread. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/events.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "x509/certificate_builder.h"
#include "x509/key.h"
#include "x509/leaf_template.h"

namespace linchpin::ca {

// All is decided but whose key it is, where only a request says so.
struct CertificateOrder {
  x509::CertificateSpec spec;
  std::string spiffe_id;
  std::string node_id;                 // through which it is issued; empty: the CA's own
  std::optional<x509::PublicKey> key;  // nothing: that of `request`, which is to be checked
  std::string request;                 // DER
};

struct CertificatesMade {
  MadeCertificates certificates;  // in the order of the orders
  std::vector<v1::LogEntry>
      entries;  // of those that were made; index and hash are the log's to set
};

// Parses the requests, verifies possession, refuses what asks for more than its order, and signs.
// An error is of the signing as a whole.
absl::StatusOr<CertificatesMade> MakeCertificates(const std::vector<CertificateOrder>& orders,
                                                  const x509::LeafTemplate& issuer, absl::Time now);

}  // namespace linchpin::ca
