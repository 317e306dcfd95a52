// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of identities and peer policy.

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/ca_core.h"
#include "ca/core/registration.h"
#include "ca/core/reply.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

absl::Duration IssuerLife(const Authorities& authorities) {
  const x509::CertificateFields& fields = authorities.active().certificate.fields();
  return fields.not_after - fields.not_before;
}

Write IdentityWrite(const v1::Identity& identity, uint64_t order, Revision expected) {
  state::v1::IdentityRecord record;
  *record.mutable_identity() = identity;
  record.set_order(order);
  return {.key = IdentityKey(identity.identity_id()),
          .value = record.SerializeAsString(),
          .expected = expected};
}

}  // namespace

void CaCore::Admin(absl::Time now, CallId call, const CreateIdentity& asked, Actions* out) {
  Enqueue(
      now, call,
      [this, call, identity = asked.identity](absl::Time) mutable -> absl::StatusOr<Change> {
        identity.clear_identity_id();
        ASSIGN_OR_RETURN(v1::Identity checked,
                         CheckIdentity(registry_, identity, IssuerLife(authorities_)));
        checked.set_identity_id(absl::BytesToHexString(base::RandomBytes(random_, 8)));
        Change change;
        change.batch.push_back(IdentityWrite(checked, registry_.next_order(), 0));
        change.then = [this, call, id = checked.identity_id()](absl::Time, Actions* then) {
          ReplyWith(call, registry_.FindIdentity(id)->record.identity(), then);
        };
        return change;
      },
      out);
}

void CaCore::Admin(absl::Time, CallId call, const v1::ListIdentitiesRequest&, Actions* out) {
  std::map<uint64_t, const v1::Identity*> in_order;
  for (const auto& [id, row] : registry_.identities()) {
    in_order.emplace(row.record.order(), &row.record.identity());
  }
  v1::IdentityList list;
  for (const auto& [order, identity] : in_order) *list.add_identities() = *identity;
  ReplyWith(call, std::move(list), out);
}

absl::StatusOr<const Row<state::v1::IdentityRecord>*> CaCore::ResolveIdentity(
    const std::string& identity_id, const std::string& spiffe_id) const {
  if (!identity_id.empty()) {
    if (const auto* row = registry_.FindIdentity(identity_id)) return row;
    return absl::NotFoundError(absl::StrCat("there is no registration ", trust::Quoted(identity_id),
                                            "; see identity list"));
  }
  const std::set<std::string>& ids = registry_.IdentitiesOf(spiffe_id);
  if (ids.size() == 1) return registry_.FindIdentity(*ids.begin());
  if (ids.empty()) {
    return absl::NotFoundError(absl::StrCat("there is no registration of ",
                                            trust::Quoted(spiffe_id), "; see identity list"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(ids.size(), " registrations give ", spiffe_id, "; name one by its identity id"));
}

void CaCore::Admin(absl::Time now, CallId call, const UpdateIdentity& asked, Actions* out) {
  Enqueue(
      now, call,
      [this, call, identity = asked.identity](absl::Time) mutable -> absl::StatusOr<Change> {
        ASSIGN_OR_RETURN(const auto* row,
                         ResolveIdentity(identity.identity_id(), identity.spiffe_id()));
        const v1::Identity& held = row->record.identity();
        if (!identity.spiffe_id().empty() && identity.spiffe_id() != held.spiffe_id()) {
          return absl::InvalidArgumentError(
              absl::StrCat("the registration ", held.identity_id(), " gives ", held.spiffe_id(),
                           ", and that cannot change; create another and delete this one"));
        }
        identity.set_identity_id(held.identity_id());
        identity.set_spiffe_id(held.spiffe_id());
        ASSIGN_OR_RETURN(const v1::Identity checked,
                         CheckIdentity(registry_, identity, IssuerLife(authorities_)));
        Change change;
        change.batch.push_back(IdentityWrite(checked, row->record.order(), row->revision));
        change.then = [this, call, id = checked.identity_id()](absl::Time, Actions* then) {
          ReplyWith(call, registry_.FindIdentity(id)->record.identity(), then);
        };
        return change;
      },
      out);
}

void CaCore::Admin(absl::Time now, CallId call, const v1::DeleteIdentityRequest& asked,
                   Actions* out) {
  Enqueue(
      now, call,
      [this, call, asked](absl::Time) -> absl::StatusOr<Change> {
        ASSIGN_OR_RETURN(const auto* row, ResolveIdentity(asked.identity_id(), asked.spiffe_id()));
        const v1::Identity identity = row->record.identity();
        Change change;
        change.batch.push_back({.key = IdentityKey(identity.identity_id()),
                                .value = std::nullopt,
                                .expected = row->revision});
        change.then = [call, identity](absl::Time, Actions* then) {
          ReplyWith(call, identity, then);
        };
        return change;
      },
      out);
}

void CaCore::Admin(absl::Time now, CallId call, const AllowPeer& asked, Actions* out) {
  Enqueue(
      now, call,
      [this, call, rule = asked.rule](absl::Time) -> absl::StatusOr<Change> {
        ASSIGN_OR_RETURN(const trust::v1::PeerRule checked, CheckRule(registry_, rule));
        const auto it = registry_.rules().find({checked.from(), checked.to()});
        Change change;
        state::v1::PolicyRecord record;
        *record.mutable_rule() = checked;
        const std::string value = record.SerializeAsString();
        const bool is_new = it == registry_.rules().end();
        // Asking for what is so already changes nothing.
        if (is_new || it->second.record.SerializeAsString() != value) {
          change.batch.push_back({.key = PolicyKey(checked.from(), checked.to()),
                                  .value = value,
                                  .expected = is_new ? 0 : it->second.revision});
        }
        change.then = [this, call, checked](absl::Time, Actions* then) {
          v1::PolicyChange answer;
          *answer.mutable_rule() = checked;
          answer.set_revision(registry_.revision());
          ReplyWith(call, std::move(answer), then);
        };
        return change;
      },
      out);
}

void CaCore::Admin(absl::Time, CallId call, const v1::ListPolicyRequest&, Actions* out) {
  v1::PolicyList list;
  for (const auto& [key, row] : registry_.rules()) *list.add_rules() = row.record.rule();
  ReplyWith(call, std::move(list), out);
}

void CaCore::Admin(absl::Time now, CallId call, const DeletePolicy& asked, Actions* out) {
  Enqueue(
      now, call,
      [this, call, rule = asked.rule](absl::Time) -> absl::StatusOr<Change> {
        const auto it = registry_.rules().find({rule.from(), rule.to()});
        if (it == registry_.rules().end()) {
          return absl::NotFoundError(absl::StrCat("there is no rule from ",
                                                  trust::Quoted(rule.from()), " to ",
                                                  trust::Quoted(rule.to()), "; see policy list"));
        }
        Change change;
        change.batch.push_back({.key = PolicyKey(rule.from(), rule.to()),
                                .value = std::nullopt,
                                .expected = it->second.revision});
        change.then = [this, call, deleted = it->second.record.rule()](absl::Time, Actions* then) {
          v1::PolicyChange answer;
          *answer.mutable_rule() = deleted;
          answer.set_revision(registry_.revision());
          ReplyWith(call, std::move(answer), then);
        };
        return change;
      },
      out);
}

}  // namespace linchpin::ca
