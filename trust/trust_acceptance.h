// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a holder of trust makes of a trust state that a CA offers: the one place where a CA's word
// is weighed against the pins. Pure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "trust/pin_set.h"
#include "trust/relax.h"
#include "trust/trust_state.h"
#include "trust/twins.h"
#include "x509/spki_pin.h"

namespace linchpin::trust {

inline constexpr size_t kMaxDeclared = 1024;  // issuers that one set 0 is kept account of
inline constexpr size_t kMaxLeft = 32;        // lives of the CA's store, likewise

// Everything that decides what may be accepted next. Sealed by the agent.
struct TrustHeld {
  PinSetCursor cursor;
  bool set_zero = false;                      // begun with --ca-pin and no signed set accepted yet
  std::vector<x509::SpkiPin> frozen_anchors;  // of set 0: the roots of the first connection
  std::vector<x509::SpkiPin> declared;        // by set 0, ever: issuers, also those dropped since
  v1::TrustState message;                     // as accepted last
  std::shared_ptr<const TrustState> state;    // null before first contact
  CheckedTwins twins;                         // of message.twins(); no part of the state
  std::shared_ptr<const PinSet> pin_set;      // the signed set in force; null under set 0
  Relaxed relaxed;                            // of that set
  bool expired = false;                       // of that set, which says fail_closed: for good
  std::optional<v1::Freshness> freshness;     // the newest that verified; signed in message
  std::vector<std::string> faults;            // of what was left out: sentences
  // Why not all that was offered was taken, though the rest was: it is to be reported as refused.
  std::string refused;
  std::vector<v1::CanaryVerdict> canaries;  // of message.canaries(), judged by the state
  // OfferDigest of what a CA offered last, if this is just what came of it; empty: it is not.
  std::string offered;
  std::string incarnation;        // of the CA's store that offered it: the epoch counts its changes
  std::vector<std::string> left;  // those before it, the last ones: none of them is a new life
};

// Whether this life of the CA's store was left for another once: nothing is taken of it any more,
// whatever its epoch. A CA that is to go on with it begins another one (linchpin ca restored).
bool WasLeft(const TrustHeld& held, absl::string_view incarnation);

// What a CA offers, by content: two states of one epoch may differ, since a store that was put back
// from a copy counts on from the copy's epoch. Of the pin sets only the last counts, so that all
// who were offered this state, whatever they held, say the same. SHA-256.
std::string OfferDigest(const v1::TrustState& offered);

// Takes `incoming` whole or not at all. Under a signed set: new sets are followed from the cursor,
// anchors are those that the set names, issuers' certificates are only path candidates. Under set
// 0: anchors stay frozen, issuers are incoming.declared_issuers, and the first signed set that
// comes ends set 0 for ever. A relax document begins; a freshness statement is kept if it is newer,
// and one that is not of the key that the set names is left out. Where the sets that are offered
// end before the one in force, that one stays, and the rest is taken: a set that came by another
// way must not keep revocations out. So is the rest of what comes with a wrong relax document; both
// are said in `refused`. FAILED_PRECONDITION: other trust domain, an epoch that goes back (unless
// another store's life begins: pins and signers never go back, whatever it says), a life of the
// store that was left for another once, no set although signers are known and none is in force; the
// codes of FollowPinSets; INVALID_ARGUMENT: malformed. A wrong twin is no reason to refuse: it is
// left out and named in `twins`.
struct AcceptOptions {
  absl::Time now;
  bool first_contact = false;
  // Of the CA's store that offers it; empty: no CA does, and what it offered last stays known.
  std::string incarnation = {};
  absl::Duration skew = absl::Seconds(60);
  // As in PinTimes: until when a relax may begin, and when the one that began ends.
  absl::Time latest = absl::InfinitePast();
  absl::Time since_relax = absl::InfinitePast();
  // `incoming` is what `held` had accepted when it was sealed: no relax document begins by it that
  // had not begun then.
  bool sealed = false;
};
absl::StatusOr<TrustHeld> AcceptTrust(const TrustHeld& held, const v1::TrustState& incoming,
                                      const AcceptOptions& options);

// First contact with --ca-pin: `ca_chain` is what the CA sent, leaf to root. It must hold a path to
// a self-signed root, be `/linchpin/ca`, and the root's or the leaf issuer's key must be among
// `ca_pins`. Returns set 0 with the shown root frozen, without a trust state yet.
absl::StatusOr<TrustHeld> BeginSetZero(const TrustDomain& trust_domain,
                                       const std::vector<std::string>& ca_chain,
                                       const std::vector<x509::SpkiPin>& ca_pins, absl::Time now,
                                       absl::Duration skew);

// Set 0 again, of a holder who was away while issuers changed: `ca_chain` is what the CA shows now.
// None if it passes as it is. A key that set 0 never knew is taken if it is among `ca_pins`, a path
// leads from it to a frozen root, and nothing in it is revoked. One that was declared once and
// dropped is not: it may have been stolen since. PERMISSION_DENIED says which pin is needed.
absl::StatusOr<std::optional<TrustHeld>> ContinueSetZero(const TrustHeld& held,
                                                         const std::vector<std::string>& ca_chain,
                                                         const std::vector<x509::SpkiPin>& ca_pins,
                                                         const AcceptOptions& options);

// First contact with --signers: `sets` are what the CA served before authentication; `ca_chain` is
// judged under the set that they end in.
absl::StatusOr<TrustHeld> BeginSigned(const v1::SignersFile& signers,
                                      const std::vector<v1::SignedPinSet>& sets,
                                      const std::vector<std::string>& ca_chain, absl::Time now,
                                      absl::Duration skew);

}  // namespace linchpin::trust
