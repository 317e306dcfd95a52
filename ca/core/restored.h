// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A store that was put back from a copy does not know what was issued after the copy was made, nor
// through whom: until when that matters, and which nodes may be taken by it all the same. Pure.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/admin.h"
#include "ca/core/registry.h"
#include "trust/trust_state.h"

namespace linchpin::ca {

using TrustPtr = std::shared_ptr<const trust::TrustState>;

// Among the nodes that a gate does not wait for: those that the copy does not know. No node's name.
inline constexpr char kUnknownNodes[] = "@unknown";

// What was issued since the copy is valid until then at the latest, by this CA's clock; the
// infinite past: the store never was put back, so far as operators have said.
absl::Time UnknownUntil(const Registry& registry);
// A sentence about it, where that is what something waits for `until` then; else empty.
std::string UnknownSentence(const Registry& registry, absl::Time now, absl::Time until);
// What helps a node whose key, or which, the copy does not know, after "; "; empty: nothing of it.
std::string HelpForRenewed(const Registry& registry, const std::string& node_id, absl::Time now);

// The record of the node that shows `leaf` (DER), as it is to be from now on. OK only while an
// operator wants nodes to be taken whatever their key (`ca restored --take-renewed-nodes`), and if
// the certificate passes `own`, is of a node that is neither banned nor was forgotten, is not of
// what was issued here since the store was put back, and begins later than the one of before that
// the recorded one comes of: of several keys the last one that was certified wins, whatever another
// was given here meanwhile, and none over one that attested here. Nodes of a Kubernetes cluster
// that are not known are not taken: their pods' tokens attest them. FAILED_PRECONDITION: not now;
// PERMISSION_DENIED: not this one.
absl::StatusOr<state::v1::NodeRecord> TakenByCertificate(const Tables& tables, const TrustPtr& own,
                                                         const std::string& leaf, absl::Time now);

// What is issued from then on is issued by this store as it is now, by this CA's clock: since its
// start, or the start in which it was first said to be put back, until that is over.
absl::Time IssuedHereFrom(const Tables& tables, absl::Time now);
// For an operator's word that the store was put back.
void SetIssuedHere(const Tables& tables, absl::Time now, state::v1::Meta* meta);
// At a start, where the store was put back before and that is not over: it may have been put back
// again, and then what was issued after the last that it knows of, and before this start, was
// issued by another past, and takes nodes. If not, nothing was. Empty: nothing is to be noted.
std::vector<Write> LostBeforeStart(const Tables& tables, absl::Time now);
// Before the recorded certificate is replaced by one that its key asks for: what that comes of.
void KeepOrigin(const Tables& tables, absl::Time now, state::v1::NodeRecord* node);

// What keeps a node that is forgotten from being taken, until no certificate that was issued to it
// is valid, be it by a past that this store does not know.
std::vector<Write> RememberForgotten(const Tables& tables, const state::v1::NodeRecord& node,
                                     absl::Time now);

}  // namespace linchpin::ca
