// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Judge: the one function that says whether a peer may be talked to. Pure: no clock, no I/O.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "trust/mtls_context.h"
#include "trust/verdict.h"
#include "x509/certificate.h"
#include "x509/path.h"

namespace linchpin::trust {

inline constexpr size_t kMaxChainCertificates = 8;
inline constexpr size_t kMaxChainBytes = 16 * 1024;

// Whom the one who judges is ready to talk to. A mismatch is UNEXPECTED_PEER and always blocks.
class Expect {
 public:
  enum class Kind { kId, kCa, kNode, kOperator, kCanary, kAnyAllowed };
  // A service of exactly this ID, that policy also allows.
  static Expect Id(SpiffeId id) { return Expect(Kind::kId, std::move(id)); }
  // Roles: the reserved IDs, exactly; peer policy does not apply to them.
  static Expect Ca() { return Expect(Kind::kCa, std::nullopt); }
  static Expect Node() { return Expect(Kind::kNode, std::nullopt); }
  static Expect Operator() { return Expect(Kind::kOperator, std::nullopt); }
  static Expect Canary() { return Expect(Kind::kCanary, std::nullopt); }  // canary.h alone
  // Whomever policy allows: for servers.
  static Expect AnyAllowed() { return Expect(Kind::kAnyAllowed, std::nullopt); }

  Kind kind() const { return kind_; }
  const std::optional<SpiffeId>& id() const { return id_; }

 private:
  Expect(Kind kind, std::optional<SpiffeId> id) : kind_(kind), id_(std::move(id)) {}
  Kind kind_;
  std::optional<SpiffeId> id_;
};

// The chain as received, in DER: limits are checked before anything is parsed.
using RawChain = std::vector<std::string>;

// Steps 1 to 5 of the verdict (docs/architecture.md). `memo` may be null; a chain whose path it
// knows is not decoded or validated again, all else is judged each time.
Verdict Judge(const RawChain& chain, const MtlsContext& context, Direction direction,
              const Expect& expect, absl::Time now, x509::PathMemo* memo);

// A connection that was allowed at `handshake_time`, judged again under a new context: path
// validity as at the handshake; pins, policy and revocations as now.
Verdict JudgeAgain(const RawChain& chain, const MtlsContext& context, Direction direction,
                   const Expect& expect, absl::Time handshake_time, absl::Time now,
                   x509::PathMemo* memo);

}  // namespace linchpin::trust
