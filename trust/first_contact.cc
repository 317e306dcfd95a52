// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "trust/judge.h"
#include "trust/text.h"
#include "trust/trust_acceptance.h"

namespace linchpin::trust {
namespace {

std::string PinList(const std::vector<x509::SpkiPin>& pins) {
  return absl::StrJoin(pins, ", ", [](std::string* out, const x509::SpkiPin& pin) {
    absl::StrAppend(out, pin.ToString());
  });
}

bool Contains(const std::vector<x509::SpkiPin>& pins, const x509::SpkiPin& pin) {
  return std::find(pins.begin(), pins.end(), pin) != pins.end();
}

// The self-signed certificates that came after the leaf: what a path could be anchored at.
absl::StatusOr<x509::Chain> ShownRoots(const std::vector<std::string>& chain) {
  if (chain.size() > kMaxChainCertificates) {
    return absl::InvalidArgumentError(absl::StrCat("the CA sent ", chain.size(),
                                                   " certificates, at most ", kMaxChainCertificates,
                                                   " are allowed"));
  }
  ASSIGN_OR_RETURN(const x509::Chain parsed, x509::ParseDerChain(chain));
  x509::Chain roots;
  for (size_t i = 1; i < parsed.size(); ++i) {
    if (parsed[i].IsSelfIssued() && parsed[i].IsSignedBy(parsed[i].public_key())) {
      roots.push_back(parsed[i]);
    }
  }
  if (roots.empty()) {
    return absl::PermissionDeniedError(
        "the CA showed no self-signed root after its leaf; it must send leaf, issuer and root");
  }
  return roots;
}

absl::StatusOr<Verdict> JudgeCa(TrustStateParts parts, const std::vector<std::string>& ca_chain,
                                absl::Time now) {
  const TrustDomain trust_domain = parts.trust_domain;
  ASSIGN_OR_RETURN(std::shared_ptr<const TrustState> state, TrustState::Make(std::move(parts)));
  MtlsContextParts context_parts;
  context_parts.trust.emplace(trust_domain, std::move(state));
  ASSIGN_OR_RETURN(const std::shared_ptr<const MtlsContext> context,
                   MtlsContext::Make(std::move(context_parts)));
  return Judge(ca_chain, *context, Direction::kOutbound, Expect::Ca(), now, nullptr);
}

absl::Status Refused(const TrustDomain& trust_domain, const std::string& why) {
  return absl::PermissionDeniedError(
      absl::StrCat("the CA of ", trust_domain.name(), " is not accepted: ", why));
}

}  // namespace

absl::StatusOr<TrustHeld> BeginSetZero(const TrustDomain& trust_domain,
                                       const std::vector<std::string>& ca_chain,
                                       const std::vector<x509::SpkiPin>& ca_pins, absl::Time now,
                                       absl::Duration skew) {
  if (ca_pins.empty()) return absl::InvalidArgumentError("no --ca-pin is given");
  ASSIGN_OR_RETURN(const x509::Chain roots, ShownRoots(ca_chain));
  std::string why;
  // A stranger's root may stand beside the true one; a path to either counts only by itself.
  for (const x509::Certificate& root : roots) {
    const x509::SpkiPin& root_pin = root.public_key().pin();
    v1::EffectivePins pins = SetZero({root_pin}, {});
    pins.set_any_under_anchor(true);  // which key is pinned is decided below, on the path
    ASSIGN_OR_RETURN(const Verdict verdict, JudgeCa({.trust_domain = trust_domain,
                                                     .anchors = {root},
                                                     .pins = std::move(pins),
                                                     .skew = skew},
                                                    ca_chain, now));
    if (!verdict.allowed) {
      if (why.empty()) why = verdict.ToString();
      continue;
    }
    const x509::Chain& path = verdict.path;
    const x509::SpkiPin& issuer_pin = path[std::min<size_t>(1, path.size() - 1)].public_key().pin();
    if (Contains(ca_pins, root_pin) || Contains(ca_pins, issuer_pin)) {
      TrustHeld held{.cursor = {.trust_domain = trust_domain}};
      held.set_zero = true;
      held.frozen_anchors = {root_pin};
      held.message.set_trust_domain(trust_domain.name());
      return held;
    }
    why = absl::StrCat("its validated path has the root key ", root_pin.ToString(),
                       " and the issuer key ", issuer_pin.ToString(), "; --ca-pin names ",
                       PinList(ca_pins), " (linchpin ca pins prints the right ones)");
  }
  return Refused(trust_domain, why);
}

absl::StatusOr<std::optional<TrustHeld>> ContinueSetZero(const TrustHeld& held,
                                                         const std::vector<std::string>& ca_chain,
                                                         const std::vector<x509::SpkiPin>& ca_pins,
                                                         const AcceptOptions& options) {
  const TrustDomain& trust_domain = held.cursor.trust_domain;
  ASSIGN_OR_RETURN(const x509::Chain roots, ShownRoots(ca_chain));
  if (std::none_of(roots.begin(), roots.end(), [&](const x509::Certificate& root) {
        return Contains(held.frozen_anchors, root.public_key().pin());
      })) {
    return Refused(
        trust_domain,
        absl::StrCat("it shows the root key ", roots.front().public_key().pin().ToString(),
                     ", and ", PinList(held.frozen_anchors),
                     " was frozen at first contact, with no signed pin set since. If linchpin ca "
                     "pins shows that root too, give the agent an empty data directory, a join "
                     "token and --ca-pin ",
                     roots.front().public_key().pin().ToString()));
  }
  v1::EffectivePins pins = SetZero(held.frozen_anchors, {});
  pins.set_any_under_anchor(true);  // which key is pinned is decided below, on the path
  ASSIGN_OR_RETURN(const Verdict verdict, JudgeCa({.trust_domain = trust_domain,
                                                   .anchors = roots,
                                                   .pins = std::move(pins),
                                                   .revocations = held.state->revocations(),
                                                   .skew = options.skew},
                                                  ca_chain, options.now));
  if (!verdict.allowed) return Refused(trust_domain, verdict.ToString());
  // An anchor's key is pinned as an anchor's, and never becomes an issuer's.
  if (verdict.path.size() < 3) {
    return Refused(trust_domain, "its certificate is of the root itself, and not of an issuer");
  }
  const x509::SpkiPin& issuer = verdict.path[1].public_key().pin();
  if (held.state->IsIssuerPinned(issuer)) return std::nullopt;
  // Dropped because it is not to be used any more: to whomever has it now it must not open
  // anything.
  if (Contains(held.declared, issuer) || held.declared.size() >= kMaxDeclared) {
    return Refused(
        trust_domain,
        absl::StrCat("its certificate is of the issuer key ", issuer.ToString(),
                     ", which the CA declared before and then dropped: whoever shows it may have "
                     "stolen it. If linchpin ca pins shows that key as the active issuer's, give "
                     "the agent an empty data directory, a join token and that --ca-pin"));
  }
  if (!Contains(ca_pins, issuer)) {
    return Refused(
        trust_domain,
        absl::StrCat("its certificate is of the issuer key ", issuer.ToString(),
                     ", which was not declared while this node was there, and no signed pin set is "
                     "held that could say so. If linchpin ca pins shows that key too, restart the "
                     "agent with --ca-pin ",
                     issuer.ToString()));
  }
  v1::TrustState incoming = held.message;
  incoming.add_declared_issuers(issuer.bytes());
  for (size_t i = 1; i + 1 < verdict.path.size(); ++i) {
    incoming.add_issuers(verdict.path[i].der());
  }
  ASSIGN_OR_RETURN(TrustHeld next, AcceptTrust(held, incoming, options));
  next.offered.clear();  // no CA offered this: it is to say anew what it has
  return next;
}

absl::StatusOr<TrustHeld> BeginSigned(const v1::SignersFile& signers,
                                      const std::vector<v1::SignedPinSet>& sets,
                                      const std::vector<std::string>& ca_chain, absl::Time now,
                                      absl::Duration skew) {
  ASSIGN_OR_RETURN(const TrustDomain trust_domain, TrustDomain::FromName(signers.trust_domain()));
  PinSetCursor cursor{.trust_domain = trust_domain};
  ASSIGN_OR_RETURN(cursor.signers, DecodeSigners(signers.signers()));
  cursor.minimum_version = signers.minimum_version();
  ASSIGN_OR_RETURN(AcceptedPinSets accepted, FollowPinSets(cursor, sets, now, true));

  ASSIGN_OR_RETURN(x509::Chain roots, ShownRoots(ca_chain));
  absl::StatusOr<Verdict> verdict = JudgeCa({.trust_domain = trust_domain,
                                             .anchors = std::move(roots),
                                             .pins = Effective(*accepted.in_force),
                                             .skew = skew},
                                            ca_chain, now);
  if (absl::IsFailedPrecondition(verdict.status())) {
    return Refused(trust_domain, std::string(verdict.status().message()));
  }
  RETURN_IF_ERROR(verdict.status());
  if (!verdict->allowed) return Refused(trust_domain, verdict->ToString());

  TrustHeld held{.cursor = std::move(accepted.cursor)};
  held.message.set_trust_domain(trust_domain.name());
  *held.message.add_pin_sets() = sets.back();
  return held;
}

}  // namespace linchpin::trust
