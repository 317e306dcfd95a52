// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators revoke. Each entry is kept until all that it denies has expired.

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/admin.h"
#include "ca/core/restored.h"
#include "trust/revocation.h"
#include "trust/text.h"
#include "x509/spki_pin.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMaxReason = 512;
constexpr int kMaxInRecord = 20000;  // of so many serials a record stays within its limit
constexpr size_t kMaxLapsed = 512;   // records dropped at once
constexpr absl::Duration kClocksDiffer = absl::Minutes(5);

size_t EntriesOf(const Registry& registry) {
  size_t entries = 0;
  for (const auto& [key, row] : registry.revocations()) entries += row.record.revocations_size();
  return entries;
}

// The longest that a certificate of this ID may be valid which is being made right now.
absl::Duration LongestTtl(const Tables& tables, const std::string& spiffe_id) {
  const Profile& profile = tables.options.profile;
  absl::Duration longest = std::max(profile.leaf_ttl, profile.node_ttl);
  for (const std::string& id : tables.registry.IdentitiesOf(spiffe_id)) {
    const v1::Identity& identity = tables.registry.FindIdentity(id)->record.identity();
    longest = std::max(longest, absl::Seconds(identity.ttl_seconds()));
  }
  return longest;
}

absl::Status CheckId(const Tables& tables, absl::Time now, const v1::RevokeRequest& asked) {
  ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::SpiffeId::Parse(asked.spiffe_id()));
  const trust::TrustDomain& own = tables.options.profile.trust_domain;
  if (!(id.trust_domain() == own)) {
    return absl::InvalidArgumentError(absl::StrCat(id.ToString(), " is not of the trust domain ",
                                                   own.name(), ", which this CA issues for"));
  }
  if (id.ToString() == trust::CaId(own).ToString()) {
    return absl::FailedPreconditionError(
        "every node would leave this CA; restart it, so that it has a new serving key, then revoke "
        "the serial of the certificate before (linchpin log tail)");
  }
  if (asked.before() < 0 || absl::FromUnixSeconds(asked.before()) > now) {
    return absl::InvalidArgumentError(
        absl::StrCat("--before ", trust::TimeText(absl::FromUnixSeconds(asked.before())),
                     " is not in the past; it is ", trust::TimeText(now),
                     " here, and nothing that is valid could be issued until then"));
  }
  return absl::OkStatus();
}

// Denied, it would take everything with it.
bool IsVital(const Authority& authority) {
  return authority.is_root ? authority.state != kRetired : authority.state == kActive;
}

absl::Status CheckKey(const Tables& tables, const std::string& pin_bytes) {
  ASSIGN_OR_RETURN(const x509::SpkiPin pin, x509::SpkiPin::FromBytes(pin_bytes));
  for (const Authority& authority : tables.authorities.all()) {
    if (!(authority.certificate.public_key().pin() == pin)) continue;
    if (!IsVital(authority)) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(pin.ToString(), " is the key of the ", authority.state,
                     authority.is_root
                         ? " root: every certificate would be denied; rotate it"
                         : " issuer: all that it issued would be denied at once, and nothing could "
                           "be issued; fail over (linchpin failover) or rotate first"));
  }
  return absl::OkStatus();
}

// The entries, and what to call them.
struct Entries {
  std::vector<trust::v1::Revocation> all;
  std::string what;
  absl::Time lapses_at = absl::InfinitePast();
  std::string node_id;  // whose stream may be denied now; empty: nobody's
};

void Add(trust::v1::Revocation entry, absl::Time lapses_at, Entries* entries) {
  entry.set_lapses_at(absl::ToUnixSeconds(lapses_at));
  entries->lapses_at = std::max(entries->lapses_at, lapses_at);
  entries->all.push_back(std::move(entry));
}

Entries ForId(const Tables& tables, absl::Time now, const Revoke& asked) {
  const std::string& id = asked.asked.spiffe_id();
  const int64_t until = asked.asked.before() == 0 ? absl::ToUnixSeconds(now) : asked.asked.before();
  Entries entries{.all = {}, .what = id};
  if (asked.asked.before() != 0) {
    absl::StrAppend(&entries.what, " issued until ", trust::TimeText(absl::FromUnixSeconds(until)));
  }
  // Certificates that are on their way into the log begin before now by what they are backdated.
  absl::Time lapses_at = asked.found.last_expires;
  const absl::Duration backdate = tables.options.profile.backdate + absl::Minutes(1);
  if (absl::FromUnixSeconds(until) >= now - backdate) {
    lapses_at = std::max(lapses_at, now + LongestTtl(tables, id));
  }
  if (lapses_at <= now) return entries;  // all of it has expired
  trust::v1::Revocation entry;
  entry.set_spiffe_id(id);
  entry.set_issued_before(until);
  entry.set_reason(asked.asked.reason());
  Add(std::move(entry), lapses_at, &entries);
  if (tables.registry.FindNode(id) != nullptr) entries.node_id = id;
  return entries;
}

// A log that was put back from a copy does not have what was issued since.
std::string SinceTheCopy(const Tables& tables, absl::Time now) {
  if (now >= UnknownUntil(tables.registry)) return "";
  return "; what was issued since the copy that this store was put back from is not in it: revoke "
         "its ID (linchpin revoke --id), which denies all that was issued of it until now";
}

absl::StatusOr<Entries> ForSerial(const Tables& tables, absl::Time now, const Revoke& asked) {
  const std::string& serial = asked.asked.serial();
  Entries entries{.all = {}, .what = absl::StrCat("serial ", x509::SerialText(serial))};
  if (asked.found.count == 0) {
    return absl::NotFoundError(
        absl::StrCat("no certificate that is still valid has the ", entries.what,
                     "; linchpin log tail shows what was issued", SinceTheCopy(tables, now)));
  }
  trust::v1::Revocation entry;
  entry.set_serial(serial);
  entry.set_reason(asked.asked.reason());
  Add(std::move(entry), asked.found.last_expires, &entries);
  for (const auto& [node_id, row] : tables.registry.nodes()) {
    if (row.record.serial() == serial) entries.node_id = node_id;
  }
  return entries;
}

absl::StatusOr<Entries> ForKey(const Tables& tables, absl::Time now, const Revoke& asked) {
  const std::string& key = asked.asked.key_sha256();
  RETURN_IF_ERROR(CheckKey(tables, key));  // again: it may have become the active one
  ASSIGN_OR_RETURN(const x509::SpkiPin pin, x509::SpkiPin::FromBytes(key));
  Entries entries{.all = {}, .what = absl::StrCat("key ", pin.ToString())};
  absl::Time lapses_at = asked.found.last_expires;
  if (const Authority* issuer = tables.authorities.FindIssuer(key)) {
    lapses_at = issuer->certificate.fields().not_after;
  } else if (asked.found.count == 0) {
    return absl::NotFoundError(
        absl::StrCat("no issuer, and no certificate that is still valid, has the ", entries.what,
                     "; linchpin log tail -o json shows the keys of what was issued",
                     SinceTheCopy(tables, now)));
  }
  trust::v1::Revocation entry;
  entry.set_key_sha256(key);
  entry.set_reason(asked.asked.reason());
  Add(std::move(entry), lapses_at, &entries);
  for (const auto& [node_id, row] : tables.registry.nodes()) {
    if (row.record.key_sha256() == key) entries.node_id = node_id;
  }
  return entries;
}

absl::StatusOr<Entries> ForNode(const Revoke& asked) {
  Entries entries{.all = {}, .what = absl::StrCat("all through ", asked.asked.node_id())};
  if (asked.found.count > asked.found.of_node.size()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        asked.found.count, " certificates that were issued through ", asked.asked.node_id(),
        " are still valid, more than the ", IssuedMatches::kMaxSerials,
        " that can be revoked one by one; revoke its identities (linchpin revoke "
        "--id), or rotate the issuer"));
  }
  for (const IssuedMatches::Leaf& leaf : asked.found.of_node) {
    trust::v1::Revocation entry;
    entry.set_serial(leaf.serial);
    Add(std::move(entry), leaf.expires, &entries);
  }
  return entries;
}

absl::StatusOr<Entries> MakeEntries(const Tables& tables, absl::Time now, const Revoke& asked) {
  switch (asked.asked.what_case()) {
    case v1::RevokeRequest::kSpiffeId:
      return ForId(tables, now, asked);
    case v1::RevokeRequest::kSerial:
      return ForSerial(tables, now, asked);
    case v1::RevokeRequest::kKeySha256:
      return ForKey(tables, now, asked);
    case v1::RevokeRequest::kNodeId:
      return ForNode(asked);
    case v1::RevokeRequest::WHAT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("name what to revoke: an ID, a serial, a key or a node");
}

Write NextEpoch(const Registry& registry) {
  state::v1::TrustRecord trust = registry.trust().record;
  trust.set_epoch(trust.epoch() + 1);
  return {
      .key = kTrustKey, .value = trust.SerializeAsString(), .expected = registry.trust().revision};
}

void AddRecords(const Tables& tables, absl::Time now, const v1::RevokeRequest& asked,
                const Entries& entries, std::vector<Write>* batch) {
  const std::string id = absl::BytesToHexString(base::RandomBytes(tables.random, 8));
  for (size_t next = 0, part = 0; next < entries.all.size(); ++part) {
    state::v1::RevocationRecord record;
    while (next < entries.all.size() && record.revocations_size() < kMaxInRecord) {
      *record.add_revocations() = entries.all[next++];
    }
    record.set_what(entries.what);
    record.set_revoked_at(absl::ToUnixSeconds(now));
    record.set_reason(asked.reason());
    record.set_lapses_at(absl::ToUnixSeconds(entries.lapses_at));
    batch->push_back({.key = absl::StrCat(kRevocationPrefix, id, part == 0 ? "" : "-",
                                          part == 0 ? "" : absl::StrCat(part)),
                      .value = record.SerializeAsString(),
                      .expected = 0});
  }
}

}  // namespace

absl::StatusOr<v1::RevokeRequest> CheckRevoke(const Tables& tables, absl::Time now,
                                              v1::RevokeRequest asked) {
  if (asked.reason().size() > kMaxReason) {
    return absl::InvalidArgumentError(absl::StrCat("the reason has ", asked.reason().size(),
                                                   " bytes; at most ", kMaxReason, " are allowed"));
  }
  if (asked.before() != 0 && !asked.has_spiffe_id()) {
    return absl::InvalidArgumentError("an instant goes with an ID only");
  }
  if (asked.has_spiffe_id()) RETURN_IF_ERROR(CheckId(tables, now, asked));
  if (asked.has_key_sha256()) RETURN_IF_ERROR(CheckKey(tables, asked.key_sha256()));
  if (asked.has_node_id()) {
    ASSIGN_OR_RETURN(const auto* row, ResolveNode(tables, asked.node_id()));
    asked.set_node_id(row->record.node_id());
    if (row->record.state() != "banned") {
      return absl::FailedPreconditionError(
          absl::StrCat("the node ", asked.node_id(),
                       " is not banned and would have new certificates at once; ban it first "
                       "(linchpin node ban --revoke does both)"));
    }
  }
  return asked;
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const Revoke& asked) {
  constexpr size_t kMost = trust::Revocations::kMaxEntries;
  ASSIGN_OR_RETURN(const Entries entries, MakeEntries(tables, now, asked));
  const size_t held = EntriesOf(tables.registry);
  if (held + entries.all.size() > kMost) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", held, " revocations, and ", entries.all.size(),
                     " more would be over the ", kMost,
                     " that are allowed; rotate the issuer instead, or wait until some have lapsed "
                     "(linchpin revocations)"));
  }
  Decision decision;
  if (!entries.all.empty()) {
    AddRecords(tables, now, asked.asked, entries, &decision.batch);
    decision.batch.push_back(NextEpoch(tables.registry));
  }
  if (!entries.node_id.empty()) {
    decision.disconnect =
        Decision::Disconnect{.node_id = entries.node_id,
                             .why = absl::UnauthenticatedError(absl::StrCat(
                                 "the certificate of ", entries.node_id, " is revoked"))};
  }
  decision.answer = [count = entries.all.size(), lapses_at = entries.lapses_at](const Tables& then,
                                                                                absl::Time) {
    auto answer = std::make_shared<v1::Revoked>();
    answer->set_trust_epoch(then.registry.trust().record.epoch());
    answer->set_entries(count);
    if (count > 0) answer->set_lapses_at(absl::ToUnixSeconds(lapses_at));
    return answer;
  };
  return decision;
}

absl::StatusOr<v1::RevocationList> Answer(const Tables& tables, absl::Time,
                                          const v1::ListRevocationsRequest&) {
  v1::RevocationList list;
  for (const auto& [key, row] : tables.registry.revocations()) {
    v1::RevocationGroup* group = list.add_groups();
    group->set_revocation_id(key.substr(sizeof(kRevocationPrefix) - 1));
    group->set_what(row.record.what());
    group->set_revoked_at(row.record.revoked_at());
    group->set_reason(row.record.reason());
    group->set_entries(row.record.revocations_size());
    group->set_lapses_at(row.record.lapses_at());
  }
  return list;
}

std::vector<Write> WithoutLapsed(const Registry& registry, absl::Time now) {
  std::vector<Write> batch;
  for (const auto& [key, row] : registry.revocations()) {
    if (absl::FromUnixSeconds(row.record.lapses_at()) + kClocksDiffer > now) continue;
    if (batch.size() == kMaxLapsed) break;
    batch.push_back({.key = key, .value = std::nullopt, .expected = row.revision});
  }
  if (!batch.empty()) batch.push_back(NextEpoch(registry));
  return batch;
}

}  // namespace linchpin::ca
