// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of authorities, pin sets and coverage.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/ca_core.h"
#include "ca/core/pin_sets.h"
#include "ca/core/reply.h"
#include "trust/text.h"

namespace linchpin::ca {

std::string CaCore::WarningOf(const Authority& authority, absl::Time now) const {
  if (authority.state == kBackup && keys_.count(authority.key_name) > 0) {
    return absl::StrCat("the key of the backup issuer (", authority.key_name,
                        ") is still kept beside the CA; move it away, to where only you reach it");
  }
  const x509::CertificateFields& fields = authority.certificate.fields();
  if (now >= fields.not_after) {
    return absl::StrCat("expired at ", trust::TimeText(fields.not_after));
  }
  if (fields.not_after - now < (fields.not_after - fields.not_before) / 4) {
    return absl::StrCat("less than a quarter of its life is left, it expires at ",
                        trust::TimeText(fields.not_after));
  }
  return "";
}

std::vector<std::string> CaCore::Warnings(absl::Time now) const {
  std::vector<std::string> warnings;
  for (const Authority& authority : authorities_.all()) {
    const std::string warning = WarningOf(authority, now);
    if (warning.empty()) continue;
    warnings.push_back(absl::StrCat(authority.certificate.fields().subject, ": ", warning));
  }
  return warnings;
}

void CaCore::Admin(absl::Time now, CallId call, const v1::GetAuthoritiesRequest&, Actions* out) {
  v1::Authorities answer;
  answer.set_trust_domain(registry_.meta().trust_domain());
  for (const Authority& authority : authorities_.all()) {
    const x509::CertificateFields& fields = authority.certificate.fields();
    v1::Authority* message = answer.add_authorities();
    message->set_kind(authority.is_root ? "root" : "issuer");
    message->set_state(authority.state);
    message->set_subject(fields.subject);
    message->set_spki_sha256(authority.certificate.public_key().pin().bytes());
    message->set_certificate(authority.certificate.der());
    message->set_not_before(absl::ToUnixSeconds(fields.not_before));
    message->set_not_after(absl::ToUnixSeconds(fields.not_after));
    message->set_key_present(keys_.count(authority.key_name) > 0);
    message->set_warning(WarningOf(authority, now));
  }
  ReplyWith(call, std::move(answer), out);
}

void CaCore::On(absl::Time now, event::KeysSeen event, Actions* out) {
  const std::vector<std::string> before = Warnings(now);
  keys_ = std::move(event.key_names);
  for (const std::string& warning : Warnings(now)) {
    if (std::find(before.begin(), before.end(), warning) != before.end()) continue;
    out->push_back(action::Note{
        .warning = true, .message = warning, .fields = {}, .counter = "", .labels = {}});
  }
}

void CaCore::Admin(absl::Time, CallId call, const v1::GetTrustStateRequest&, Actions* out) {
  ReplyWith(call, TrustMessage(registry_, authorities_, 0), out);
}

void CaCore::Admin(absl::Time now, CallId call, const PublishPinSet& asked, Actions* out) {
  Enqueue(
      now, call,
      [this, call, set = asked.set](absl::Time then) { return PreparePublish(then, call, set); },
      out);
}

absl::StatusOr<CaCore::Change> CaCore::PreparePublish(absl::Time now, CallId call,
                                                      const trust::v1::SignedPinSet& set) {
  const Row<state::v1::TrustRecord>& held = registry_.trust();
  const auto& sets = held.record.pin_sets();
  Change change;
  // Publishing what is in force already changes nothing.
  if (sets.empty() || sets[sets.size() - 1].SerializeAsString() != set.SerializeAsString()) {
    ASSIGN_OR_RETURN(state::v1::TrustRecord record,
                     WithPinSet(options_.profile.trust_domain, held.record, set, now));
    RETURN_IF_ERROR(CheckCovers(set, authorities_, now));
    record.set_epoch(held.record.epoch() + 1);
    change.batch.push_back(
        {.key = kTrustKey, .value = record.SerializeAsString(), .expected = held.revision});
  }
  change.then = [this, call, set](absl::Time, Actions* then) {
    trust::v1::PinSet published;
    published.ParseFromString(set.payload());
    v1::PinSetPublished answer;
    answer.set_version(published.version());
    answer.set_trust_epoch(registry_.trust().record.epoch());
    ReplyWith(call, std::move(answer), then);
  };
  return change;
}

void CaCore::Admin(absl::Time, CallId call, const v1::ProvePossessionRequest& asked, Actions* out) {
  const Authority* issuer = authorities_.FindIssuer(asked.spki_sha256());
  if (issuer == nullptr) {
    return ReplyError(call,
                      absl::NotFoundError("no issuer of this CA has the key with that pin; see "
                                          "linchpin ca pins"),
                      out);
  }
  out->push_back(action::Prove{.call = call, .key_name = issuer->key_name});
}

void CaCore::On(absl::Time, event::PossessionProved event, Actions* out) {
  if (!event.proof.ok()) return ReplyError(event.call, event.proof.status(), out);
  ReplyWith(event.call, *std::move(event.proof), out);
}

// The longest that a certificate issued through a node may outlive the node's own.
absl::Duration CaCore::GateLife(const std::string& node_id) const {
  absl::Duration longest = options_.profile.leaf_ttl;
  for (const auto& [id, row] : registry_.identities()) {
    if (!registry_.Sees(node_id, row.record.identity())) continue;
    longest = std::max(longest, absl::Seconds(row.record.identity().ttl_seconds()));
  }
  return longest;
}

void CaCore::Admin(absl::Time now, CallId call, const v1::CoverageRequest& asked, Actions* out) {
  const uint64_t current = registry_.trust().record.epoch();
  const uint64_t epoch = asked.epoch() == 0 ? current : asked.epoch();
  if (epoch > current) {
    return ReplyError(
        call,
        absl::InvalidArgumentError(
            absl::StrCat("trust epoch ", epoch, " is not there yet; the current one is ", current)),
        out);
  }
  v1::Coverage answer;
  answer.set_epoch(epoch);
  bool complete = true;
  for (const auto& [node_id, row] : registry_.nodes()) {
    if (row.record.state() != "attested") continue;
    const absl::Time expires = absl::FromUnixSeconds(row.record.certificate_expires_at());
    // Nothing that was issued through it is valid any more.
    if (now > expires && now > expires + GateLife(node_id)) continue;
    v1::NodeCoverage node = coverage_.OfNode(node_id, epoch);
    node.set_connected(session_of_.count(node_id) > 0);
    complete = complete && node.covered();
    *answer.add_nodes() = std::move(node);
  }
  answer.set_complete(complete);
  ReplyWith(call, std::move(answer), out);
}

}  // namespace linchpin::ca
