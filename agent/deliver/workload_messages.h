// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A process's contexts as the SPIFFE Workload API says them: what each of its streams is told, when
// it is told nothing, and when it ends. Pure.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "spiffe/workloadapi.pb.h"
#include "trust/bundle.h"

namespace linchpin::agent {

// Such clients know anchors, but no pins: they are given what `kind` says (trust/bundle.h). Hints
// are unique, as the standard demands: of equal ones the first identity's stays, so does none that
// is too long. `crl` and `federated_bundles` stay empty.
X509SVIDResponse ToX509Svids(const v1::MtlsContexts& contexts, trust::BundleKind kind,
                             absl::Time now);
X509BundlesResponse ToX509Bundles(const v1::MtlsContexts& contexts, trust::BundleKind kind,
                                  absl::Time now);

void WipeKeys(X509SVIDResponse* response);

// OK: the process has an identity. UNAVAILABLE: it may get one soon; PERMISSION_DENIED: none is
// registered for it ("If the client is not entitled to receive any X509-SVIDs, then the server
// SHOULD respond with the 'PermissionDenied' gRPC status code", SPIFFE Workload API, 5.2.1). The
// text names the selectors that were seen, and the command that would give it one.
absl::Status CheckHasIdentity(const v1::MtlsContexts& contexts, const std::string& trust_domain);

// One call of FetchX509SVID or FetchX509Bundles. Not safe for concurrent use.
template <typename Response>
class WorkloadStream {
 public:
  WorkloadStream(std::string trust_domain, trust::BundleKind kind)
      : trust_domain_(std::move(trust_domain)), kind_(kind) {}

  // The message that these contexts are to the caller; null: it has all that already. An error ends
  // the stream. UNAVAILABLE only as the first answer: what has begun goes on with what it has, and
  // ends with PERMISSION_DENIED alone.
  absl::StatusOr<std::shared_ptr<const Response>> Next(const v1::MtlsContexts& contexts,
                                                       absl::Time now);

 private:
  const std::string trust_domain_;
  const trust::BundleKind kind_;
  std::string content_;  // digest of what was said last; empty: nothing was
};

using SvidStream = WorkloadStream<X509SVIDResponse>;
using BundleStream = WorkloadStream<X509BundlesResponse>;

}  // namespace linchpin::agent
