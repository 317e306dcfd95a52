// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "sync/projection.h"
#include "trust/spiffe_id.h"

namespace linchpin::sync {
namespace {

using ca::v1::CaMessage;
using trust::v1::TrustState;

absl::Status CheckServiceId(absl::string_view text, absl::string_view where) {
  const absl::StatusOr<trust::SpiffeId> id = trust::SpiffeId::Parse(text);
  if (!id.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the CA sent ", where, " with a malformed ID: ", id.status().message()));
  }
  if (id->IsReserved()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the CA sent ", where, " with the reserved ID ", text));
  }
  return absl::OkStatus();
}

absl::Status TooMany(absl::string_view what, size_t most) {
  return absl::InvalidArgumentError(
      absl::StrCat("the CA sent more than ", most, " ", what, ": a node takes no more"));
}

}  // namespace

absl::Status Receiver::CheckFollows(const CaMessage& message) const {
  const bool known = !at_.incarnation.empty();
  const bool nothing_held = held_.identities.empty() && held_.rules.empty();
  if (known && message.incarnation() != at_.incarnation) {
    return absl::FailedPreconditionError(
        "the CA's store is another one than before: a snapshot was expected, a change came");
  }
  if (known && message.revision() < at_.revision) {
    return absl::FailedPreconditionError(
        absl::StrCat("revision ", message.revision(), " came after revision ", at_.revision));
  }
  if ((known || nothing_held) && message.base_revision() != 0 &&
      message.base_revision() != at_.revision) {
    return absl::FailedPreconditionError(
        absl::StrCat("a change of revision ", message.base_revision(), " to ", message.revision(),
                     " came, but revision ", at_.revision, " is held"));
  }
  return absl::OkStatus();
}

absl::Status Receiver::Begin(const CaMessage& message) {
  if (message.part() != 0) {
    return absl::InvalidArgumentError(absl::StrCat("part ", message.part(), " of revision ",
                                                   message.revision(), " came without its begin"));
  }
  if (!message.reset()) RETURN_IF_ERROR(CheckFollows(message));
  change_ = Change();
  if (!message.reset()) change_.projection = held_;
  change_.stamp = {message.incarnation(), message.revision(), message.ca_time(),
                   message.base_revision()};
  next_part_ = 0;
  trust_bytes_ = 0;
  pending_ = true;
  return absl::OkStatus();
}

absl::Status Receiver::CheckContinues(const CaMessage& message) const {
  const Stamp& stamp = change_.stamp;
  if (message.incarnation() != stamp.incarnation || message.revision() != stamp.revision ||
      message.reset()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "revision ", message.revision(), " began in the middle of revision ", stamp.revision));
  }
  if (message.part() != next_part_) {
    return absl::InvalidArgumentError(absl::StrCat("part ", message.part(), " of revision ",
                                                   stamp.revision, " came where part ", next_part_,
                                                   " was expected"));
  }
  return absl::OkStatus();
}

absl::Status Receiver::AddTrust(const TrustState& part) {
  if (change_.has_trust && (part.trust_domain() != change_.trust.trust_domain() ||
                            part.epoch() != change_.trust.epoch())) {
    return absl::InvalidArgumentError("parts of two trust states came in one change");
  }
  trust_bytes_ += part.ByteSizeLong();
  if (trust_bytes_ > kMaxTrustBytes) return TooMany("bytes of trust state", kMaxTrustBytes);
  change_.trust.MergeFrom(part);
  change_.has_trust = true;
  return absl::OkStatus();
}

absl::Status Receiver::AddEntries(const CaMessage& message) {
  Projection& projection = change_.projection;
  if (message.has_trust()) RETURN_IF_ERROR(AddTrust(message.trust()));
  for (const auto& id : message.removed_identities()) projection.identities.erase(id);
  for (const auto& rule : message.removed_rules()) {
    projection.rules.erase({rule.from(), rule.to()});
  }
  for (const auto& identity : message.identities()) {
    if (identity.identity_id().empty()) {
      return absl::InvalidArgumentError("the CA sent an identity without its identity_id");
    }
    RETURN_IF_ERROR(CheckServiceId(
        identity.spiffe_id(),
        absl::StrCat("the identity '", absl::CHexEscape(identity.identity_id()), "'")));
    projection.identities[identity.identity_id()] = identity;
  }
  for (const auto& rule : message.rules()) {
    RETURN_IF_ERROR(CheckServiceId(rule.from(), "a peer rule"));
    RETURN_IF_ERROR(CheckServiceId(rule.to(), "a peer rule"));
    projection.rules[{rule.from(), rule.to()}] = rule;
  }
  if (projection.identities.size() > kMaxIdentities) return TooMany("identities", kMaxIdentities);
  if (projection.rules.size() > kMaxRules) return TooMany("peer rules", kMaxRules);
  return absl::OkStatus();
}

absl::StatusOr<bool> Receiver::Add(const CaMessage& message) {
  if (message.has_goodbye()) return false;
  absl::Status status = pending_ ? CheckContinues(message) : Begin(message);
  if (status.ok()) status = AddEntries(message);
  if (!status.ok()) {
    pending_ = false;
    change_ = Change();
    return status;
  }
  ++next_part_;
  if (!message.complete()) return false;
  pending_ = false;
  held_ = change_.projection;
  at_ = change_.stamp;
  return true;
}

Receiver::Change Receiver::Take() { return std::exchange(change_, Change()); }

}  // namespace linchpin::sync
