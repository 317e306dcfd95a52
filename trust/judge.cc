// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/judge.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "trust/text.h"
#include "trust/x509_svid.h"
#include "x509/digest.h"

namespace linchpin::trust {
namespace {

Reason ReasonOf(x509::PathError error) {
  switch (error) {
    case x509::PathError::kNoPath:
      return v1::NO_PATH;
    case x509::PathError::kExpired:
      return v1::EXPIRED;
    case x509::PathError::kNotYetValid:
      return v1::NOT_YET_VALID;
    case x509::PathError::kBadSignature:
      return v1::BAD_SIGNATURE;
    case x509::PathError::kPathLength:
      return v1::PATH_LENGTH;
    case x509::PathError::kNameConstraint:
      return v1::NAME_CONSTRAINT;
    case x509::PathError::kIssuerNotCa:
      return v1::ISSUER_NOT_CA;
    case x509::PathError::kWeakKey:
      return v1::WEAK_KEY;
    case x509::PathError::kWeakSignature:
      return v1::WEAK_SIGNATURE;
    case x509::PathError::kNone:
    case x509::PathError::kInvalid:
      break;
  }
  return v1::PATH_INVALID;
}

// One peer before the court: each step adds its findings.
class Judging {
 public:
  struct Times {
    absl::Time path;  // what the path must be valid at
    absl::Time now;   // what pins are judged at
  };

  Judging(const MtlsContext& context, const Expect& expect, Times times, x509::PathMemo* memo)
      : context_(context), expect_(expect), times_(times), memo_(memo) {}

  Verdict Run(const RawChain& chain, Direction direction) {
    if (CheckLimits(chain) && (Recall(chain) || Parse(chain))) {
      CheckProfile();
      if (id_.has_value()) {
        CheckPath();
        authenticated_ = verdict_.findings.empty();
        CheckPins();
        CheckPolicy(direction);
        CheckRevocations();
      }
    }
    return Conclude();
  }

 private:
  void Add(Reason reason, std::string detail, bool blocks = true) {
    verdict_.findings.push_back({reason, std::move(detail), blocks, true});
  }

  bool CheckLimits(const RawChain& chain);
  bool Recall(const RawChain& chain);
  bool Parse(const RawChain& chain);
  const x509::Certificate* FindHeld(const std::string& der) const;
  void CheckProfile();
  const x509::Certificate& leaf() const { return known_ ? known_->front() : sent_.front(); }
  void CheckPath();
  std::string PathDetail(const x509::PathResult& result) const;
  void CheckPins();
  void CheckPolicy(Direction direction);
  bool IsRole() const {
    return expect_.kind() != Expect::Kind::kId && expect_.kind() != Expect::Kind::kAnyAllowed;
  }
  std::string RoleFault() const;
  void CheckRevocations();
  Verdict Conclude();

  const MtlsContext& context_;
  const Expect& expect_;
  const Times times_;
  x509::PathMemo* const memo_;
  std::string memo_key_;
  std::optional<x509::Chain> known_;  // the path, if the memo has it
  x509::Chain sent_;                  // decoded, if not
  std::optional<SpiffeId> id_;
  const TrustState* trust_ = nullptr;  // of the peer's own trust domain
  bool authenticated_ = false;         // steps 1 and 2 passed
  Verdict verdict_;
};

bool Judging::CheckLimits(const RawChain& chain) {
  if (chain.empty()) {
    Add(v1::NO_CERTIFICATE, "the peer sent no certificate");
    return false;
  }
  if (chain.size() > kMaxChainCertificates) {
    Add(v1::TOO_MANY_CERTIFICATES,
        absl::StrCat("the peer sent ", chain.size(), " certificates, at most ",
                     kMaxChainCertificates, " are allowed"));
    return false;
  }
  size_t bytes = 0;
  for (const std::string& der : chain) bytes += der.size();
  if (bytes > kMaxChainBytes) {
    Add(v1::CHAIN_TOO_LARGE,
        absl::StrCat("the peer sent ", bytes, " bytes of certificates, at most ", kMaxChainBytes,
                     " are allowed"));
    return false;
  }
  return true;
}

// The key stands for the very bytes and for everything that decides over a path but the time.
bool Judging::Recall(const RawChain& chain) {
  if (memo_ == nullptr) return false;
  x509::FieldHasher hasher("linchpin valid path v1");
  hasher.Add(context_.path_digest()).Add(chain.size());
  for (const std::string& der : chain) hasher.Add(der);
  memo_key_ = hasher.Finish();
  known_ = memo_->Find(memo_key_, times_.path);
  return known_.has_value();
}

// Decoding a certificate costs more than a signature: those held already are not decoded again.
const x509::Certificate* Judging::FindHeld(const std::string& der) const {
  for (const auto& [trust_domain, state] : context_.trust()) {
    for (const x509::Chain* held : {&state->issuers(), &state->anchors()}) {
      for (const x509::Certificate& certificate : *held) {
        if (certificate.der() == der) return &certificate;
      }
    }
  }
  return nullptr;
}

bool Judging::Parse(const RawChain& chain) {
  for (size_t i = 0; i < chain.size(); ++i) {
    if (const x509::Certificate* held = i == 0 ? nullptr : FindHeld(chain[i])) {
      sent_.push_back(*held);
      continue;
    }
    absl::StatusOr<x509::Certificate> certificate = x509::Certificate::FromDer(chain[i]);
    if (!certificate.ok()) {
      Add(v1::MALFORMED_CERTIFICATE,
          absl::StrCat("certificate ", i, " of the chain (0 is the leaf) is malformed: ",
                       certificate.status().message()));
      return false;
    }
    sent_.push_back(*std::move(certificate));
  }
  return true;
}

// Step 1.
void Judging::CheckProfile() {
  LeafCheck check = CheckLeaf(leaf());
  verdict_.findings = std::move(check.findings);
  id_ = std::move(check.id);
  if (id_.has_value() && id_->IsReserved() && !IsRole()) {
    Add(v1::RESERVED_SPIFFE_ID,
        absl::StrCat(id_->ToString(),
                     " is reserved for the CA, nodes and operators; a service is "
                     "expected here"));
  }
}

// Step 2.
void Judging::CheckPath() {
  trust_ = context_.TrustFor(id_->trust_domain());
  if (trust_ == nullptr) {
    Add(v1::UNKNOWN_TRUST_DOMAIN,
        absl::StrCat(id_->ToString(), " is of trust domain ", id_->trust_domain().name(),
                     ", of which no anchor is held here"));
    return;
  }
  if (known_.has_value()) {
    verdict_.path = *known_;
    return;
  }
  x509::PathResult result = x509::ValidatePath({.chain = sent_,
                                                .anchors = trust_->anchors(),
                                                .candidates = trust_->issuers(),
                                                .now = times_.path,
                                                .skew = trust_->skew()});
  if (result.ok()) {
    if (memo_ != nullptr) memo_->Insert(memo_key_, result.path, trust_->skew());
    verdict_.path = std::move(result.path);
    return;
  }
  const Reason reason = ReasonOf(result.error);
  // The profile has said it already of the leaf.
  const bool said = std::any_of(verdict_.findings.begin(), verdict_.findings.end(),
                                [reason](const Finding& f) { return f.reason == reason; });
  if (!said || result.depth > 0) Add(reason, PathDetail(result));
}

std::string Judging::PathDetail(const x509::PathResult& result) const {
  const x509::CertificateFields& leaf = this->leaf().fields();
  const std::string here = TimeText(times_.path);
  if (result.error == x509::PathError::kNotYetValid && result.depth == 0) {
    return absl::StrCat("the leaf of ", id_->ToString(), " is not valid before ",
                        TimeText(leaf.not_before), "; it is ", here, " here: check both clocks");
  }
  if (result.error == x509::PathError::kExpired && result.depth == 0) {
    return absl::StrCat("the leaf of ", id_->ToString(), " expired at ", TimeText(leaf.not_after),
                        "; it is ", here, " here: check its renewal and both clocks");
  }
  const bool clocks =
      result.error == x509::PathError::kNotYetValid || result.error == x509::PathError::kExpired;
  return absl::StrCat(id_->ToString(), ": ", result.detail, clocks ? ": check both clocks" : "");
}

// Why a finding of step 3 does not block although the set enforces; empty if it does.
std::string WhySoftened(const v1::EffectivePins& pins, absl::Time now) {
  const absl::Time until = absl::FromUnixSeconds(pins.relaxed_until());
  if (now < until) return absl::StrCat("; the set is relaxed until ", TimeText(until));
  if (pins.expired() && pins.on_expiry() == v1::PinSet::RELAX) {
    return "; the set has expired and is relaxed";
  }
  return "";
}

// Step 3.
void Judging::CheckPins() {
  if (trust_ == nullptr || verdict_.path.empty()) return;
  const v1::EffectivePins& pins = trust_->pins();
  const auto set = [&pins]() -> std::string {
    if (!pins.is_signed()) return "the unsigned pin set 0";
    return absl::StrCat("pin set version ", pins.version());
  };
  const std::string softened = WhySoftened(pins, times_.now);
  const bool blocks = pins.mode() == v1::PinSet::ENFORCE && softened.empty();
  if (pins.expired() && pins.on_expiry() == v1::PinSet::FAIL_CLOSED) {
    Add(v1::PINS_EXPIRED,
        absl::StrCat(set(), " of ", trust_->trust_domain().name(), " expired at ",
                     TimeText(absl::FromUnixSeconds(pins.expires_at())),
                     " and says fail_closed; it is ", TimeText(times_.now),
                     " here: publish a newer set", softened),
        blocks);
  }
  // The key that signed the leaf: never one that was merely sent, nor only an anchor.
  const x509::Chain& path = verdict_.path;
  const x509::Certificate& issuer = path[std::min<size_t>(1, path.size() - 1)];
  const x509::SpkiPin& pin = issuer.public_key().pin();
  if (pins.any_under_anchor() || trust_->IsIssuerPinned(pin)) return;
  Add(v1::ISSUER_NOT_PINNED,
      absl::StrCat("the leaf of ", id_->ToString(), " is signed by the key ", pin.ToString(),
                   " of ", Quoted(issuer.fields().subject), ", which ", set(), " of ",
                   trust_->trust_domain().name(), " does not name as an issuer", softened),
      blocks);
}

// Which rule of the expected role the peer breaks, if any. The roles are of our own trust domain.
std::string Judging::RoleFault() const {
  std::optional<TrustDomain> own;
  if (context_.id().has_value()) {
    own = context_.id()->trust_domain();
  } else if (context_.trust().size() == 1) {
    own = context_.trust().begin()->first;
  }
  std::string role;
  bool plays = false;
  switch (expect_.kind()) {
    case Expect::Kind::kCa:
      role = "the CA";
      plays = id_->IsCa();
      break;
    case Expect::Kind::kNode:
      role = "a node";
      plays = id_->IsNode();
      break;
    case Expect::Kind::kOperator:
      role = "an operator";
      plays = id_->IsOperator();
      break;
    case Expect::Kind::kCanary:
      role = "the canary";
      plays = id_->IsCanary();
      break;
    case Expect::Kind::kId:
    case Expect::Kind::kAnyAllowed:
      return "";
  }
  if (plays && own == id_->trust_domain()) return "";
  return absl::StrCat(role, " of ", own ? own->name() : "our own trust domain",
                      " is expected, the peer is ", id_->ToString());
}

// Step 4.
void Judging::CheckPolicy(Direction direction) {
  if (IsRole()) {
    if (std::string fault = RoleFault(); !fault.empty()) Add(v1::UNEXPECTED_PEER, fault);
    return;
  }
  if (expect_.id().has_value() && *expect_.id() != *id_) {
    Add(v1::UNEXPECTED_PEER,
        absl::StrCat(expect_.id()->ToString(), " is expected, the peer is ", id_->ToString()));
  }
  if (id_->IsReserved()) return;  // said in step 1; no rule can name it
  const PolicyAnswer answer = context_.policy().Ask(direction, *id_);
  if (answer == PolicyAnswer::kAllowed) return;
  const bool inbound = direction == Direction::kInbound;
  const std::string self = context_.id() ? context_.id()->ToString() : "this end";
  Add(v1::PEER_NOT_ALLOWED,
      absl::StrCat("peer policy of ", self, " does not allow ", id_->ToString(),
                   inbound ? " to call it" : " to be called",
                   answer == PolicyAnswer::kAudited ? "; the pair is only audited" : ""),
      answer == PolicyAnswer::kDenied);
}

// Step 5.
void Judging::CheckRevocations() {
  if (trust_ == nullptr) return;
  const x509::Chain leaf_alone(verdict_.path.empty() ? 1 : 0, leaf());
  const x509::Chain& path = verdict_.path.empty() ? leaf_alone : verdict_.path;
  if (std::optional<std::string> denied = trust_->revocations().Denies(*id_, path)) {
    Add(v1::REVOKED, *std::move(denied));
  }
}

Verdict Judging::Conclude() {
  verdict_.allowed = authenticated_;
  for (Finding& finding : verdict_.findings) {
    finding.authenticated = authenticated_;
    if (finding.blocks) verdict_.allowed = false;
  }
  if (authenticated_) verdict_.peer = id_;
  return std::move(verdict_);
}

}  // namespace

Verdict Judge(const RawChain& chain, const MtlsContext& context, Direction direction,
              const Expect& expect, absl::Time now, x509::PathMemo* memo) {
  return Judging(context, expect, {.path = now, .now = now}, memo).Run(chain, direction);
}

Verdict JudgeAgain(const RawChain& chain, const MtlsContext& context, Direction direction,
                   const Expect& expect, absl::Time handshake_time, absl::Time now,
                   x509::PathMemo* memo) {
  return Judging(context, expect, {.path = handshake_time, .now = now}, memo).Run(chain, direction);
}

}  // namespace linchpin::trust
