// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// TLS server credentials for gRPC whose certificate follows an OwnIdentity at each new connection
// and whose peers are judged at each call.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "rpc/own_identity.h"
#include "trust/judge.h"
#include "trust/spiffe_id.h"
#include "x509/key.h"

namespace grpc {
class ServerContextBase;
}

namespace linchpin::rpc {

// The context that is shown and judged with; null before the first. Any thread, at each handshake
// and at each call.
using CurrentContext = std::function<std::shared_ptr<const trust::MtlsContext>()>;
// Told of each verdict that was not memoised. From gRPC's threads; must not block.
using JudgedCaller = std::function<void(const trust::Verdict&, const trust::MtlsContext&)>;

struct ServerPolicy {
  // Methods ("/package.Service/Method") that may be called without a client certificate.
  std::vector<std::string> open_methods;
  trust::Expect expect = trust::Expect::AnyAllowed();
  JudgedCaller judged;  // where it is empty, refusals are logged
};

// A call from a peer without a certificate (outside open_methods) or that Judge refuses ends with
// UNAUTHENTICATED or PERMISSION_DENIED and the reason's text. Verdicts are memoised per chain and
// trust digest. A certificate that is shown is judged on open methods too. Until `identity` has a
// certificate, one that nobody allows is shown, and no call passes: UNAVAILABLE.
// TLS 1.3 is what both ends of this project negotiate; gRPC 1.51 also lets a client ask for 1.2.
std::shared_ptr<grpc::ServerCredentials> JudgedServerCredentials(
    std::shared_ptr<const OwnIdentity> identity, ServerPolicy policy, const base::Clock& clock);
std::shared_ptr<grpc::ServerCredentials> JudgedServerCredentials(CurrentContext current,
                                                                 ServerPolicy policy,
                                                                 const base::Clock& clock);

// Who is calling, as judged: nothing for a peer without a certificate. Only in calls that came
// through JudgedServerCredentials, which let no call through whose certificate was refused.
struct JudgedPeer {
  trust::SpiffeId id;
  std::string leaf;  // DER
  x509::SpkiPin pin;
};
// Null for a peer without a certificate. Decoded at the first call of many, because that costs more
// than a signature.
std::shared_ptr<const JudgedPeer> PeerOf(const grpc::ServerContextBase& context);
std::optional<trust::SpiffeId> PeerId(const grpc::ServerContextBase& context);
// The leaf that the caller showed (DER), if any.
std::optional<std::string> PeerLeaf(const grpc::ServerContextBase& context);

}  // namespace linchpin::rpc
