// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of identities and peer policy.

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/admin.h"
#include "ca/core/registration.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

absl::Duration LongestTtl(const Tables& tables) {
  return tables.authorities.LongestLeafOf(tables.authorities.active(),
                                          tables.options.profile.issuer_ttl);
}

Write IdentityWrite(const v1::Identity& identity, uint64_t order, Revision expected) {
  state::v1::IdentityRecord record;
  *record.mutable_identity() = identity;
  record.set_order(order);
  return {.key = IdentityKey(identity.identity_id()),
          .value = record.SerializeAsString(),
          .expected = expected};
}

absl::StatusOr<const Row<state::v1::IdentityRecord>*> ResolveIdentity(
    const Registry& registry, const std::string& identity_id, const std::string& spiffe_id) {
  if (!identity_id.empty()) {
    if (const auto* row = registry.FindIdentity(identity_id)) return row;
    return absl::NotFoundError(absl::StrCat("there is no registration ", trust::Quoted(identity_id),
                                            "; see identity list"));
  }
  const std::set<std::string>& ids = registry.IdentitiesOf(spiffe_id);
  if (ids.size() == 1) return registry.FindIdentity(*ids.begin());
  if (ids.empty()) {
    return absl::NotFoundError(absl::StrCat("there is no registration of ",
                                            trust::Quoted(spiffe_id), "; see identity list"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(ids.size(), " registrations give ", spiffe_id, "; name one by its identity id"));
}

// What an object elsewhere says is changed there, or it would be changed back. Where this CA does
// not go by such objects (any more) there is nobody else to delete it.
absl::Status CheckIsOperators(const CoreOptions& options, const std::string& source,
                              absl::string_view what) {
  if (source.empty() || options.objects_source.empty() ||
      !absl::StartsWith(source, options.objects_source)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat(what, " is of ", source,
                   "; change or delete that object (kubectl), or, where the cluster is gone, start "
                   "the CA without --kubernetes-objects first"));
}

// The registration as the tables show it then.
auto AnswerWithIdentity(std::string identity_id) {
  return [id = std::move(identity_id)](const Tables& tables, absl::Time) {
    return std::make_shared<const v1::Identity>(
        tables.registry.FindIdentity(id)->record.identity());
  };
}

auto AnswerWithRule(trust::v1::PeerRule rule) {
  return [rule = std::move(rule)](const Tables& tables, absl::Time) {
    auto answer = std::make_shared<v1::PolicyChange>();
    *answer->mutable_rule() = rule;
    answer->set_revision(tables.registry.revision());
    return answer;
  };
}

}  // namespace

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time, const CreateIdentity& asked) {
  v1::Identity identity = asked.identity;
  identity.clear_identity_id();
  identity.clear_source();
  ASSIGN_OR_RETURN(v1::Identity checked,
                   CheckIdentity(tables.registry, identity, LongestTtl(tables)));
  checked.set_identity_id(absl::BytesToHexString(base::RandomBytes(tables.random, 8)));
  Decision decision;
  decision.batch.push_back(IdentityWrite(checked, tables.registry.next_order(), 0));
  decision.answer = AnswerWithIdentity(checked.identity_id());
  return decision;
}

absl::StatusOr<v1::IdentityList> Answer(const Tables& tables, absl::Time,
                                        const v1::ListIdentitiesRequest&) {
  std::map<uint64_t, const v1::Identity*> in_order;
  for (const auto& [id, row] : tables.registry.identities()) {
    in_order.emplace(row.record.order(), &row.record.identity());
  }
  v1::IdentityList list;
  for (const auto& [order, identity] : in_order) *list.add_identities() = *identity;
  return list;
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time, const UpdateIdentity& asked) {
  v1::Identity identity = asked.identity;
  ASSIGN_OR_RETURN(const auto* row,
                   ResolveIdentity(tables.registry, identity.identity_id(), identity.spiffe_id()));
  const v1::Identity& held = row->record.identity();
  if (!identity.spiffe_id().empty() && identity.spiffe_id() != held.spiffe_id()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the registration ", held.identity_id(), " gives ", held.spiffe_id(),
                     ", and that cannot change; create another and delete this one"));
  }
  RETURN_IF_ERROR(CheckIsOperators(tables.options, held.source(), held.spiffe_id()));
  identity.clear_source();
  identity.set_identity_id(held.identity_id());
  identity.set_spiffe_id(held.spiffe_id());
  ASSIGN_OR_RETURN(const v1::Identity checked,
                   CheckIdentity(tables.registry, identity, LongestTtl(tables)));
  Decision decision;
  decision.batch.push_back(IdentityWrite(checked, row->record.order(), row->revision));
  decision.answer = AnswerWithIdentity(checked.identity_id());
  return decision;
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time,
                                const v1::DeleteIdentityRequest& asked) {
  ASSIGN_OR_RETURN(const auto* row,
                   ResolveIdentity(tables.registry, asked.identity_id(), asked.spiffe_id()));
  const v1::Identity& identity = row->record.identity();
  RETURN_IF_ERROR(CheckIsOperators(tables.options, identity.source(), identity.spiffe_id()));
  Decision decision;
  decision.batch.push_back({.key = IdentityKey(identity.identity_id()),
                            .value = std::nullopt,
                            .expected = row->revision});
  decision.answer = AnswerWith(identity);
  return decision;
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time, const AllowPeer& asked) {
  ASSIGN_OR_RETURN(const trust::v1::PeerRule checked, CheckRule(tables.registry, asked.rule));
  const auto it = tables.registry.rules().find({checked.from(), checked.to()});
  state::v1::PolicyRecord record;
  *record.mutable_rule() = checked;
  const std::string value = record.SerializeAsString();
  const bool is_new = it == tables.registry.rules().end();
  if (!is_new)
    RETURN_IF_ERROR(CheckIsOperators(tables.options, it->second.record.source(), "that rule"));
  Decision decision;
  // Asking for what is so already changes nothing.
  if (is_new || it->second.record.SerializeAsString() != value) {
    decision.batch.push_back({.key = PolicyKey(checked.from(), checked.to()),
                              .value = value,
                              .expected = is_new ? 0 : it->second.revision});
  }
  decision.answer = AnswerWithRule(checked);
  return decision;
}

absl::StatusOr<v1::PolicyList> Answer(const Tables& tables, absl::Time,
                                      const v1::ListPolicyRequest&) {
  v1::PolicyList list;
  for (const auto& [key, row] : tables.registry.rules()) *list.add_rules() = row.record.rule();
  return list;
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time, const DeletePolicy& asked) {
  const trust::v1::PeerRule& rule = asked.rule;
  const auto it = tables.registry.rules().find({rule.from(), rule.to()});
  if (it == tables.registry.rules().end()) {
    return absl::NotFoundError(absl::StrCat("there is no rule from ", trust::Quoted(rule.from()),
                                            " to ", trust::Quoted(rule.to()), "; see policy list"));
  }
  RETURN_IF_ERROR(CheckIsOperators(tables.options, it->second.record.source(), "that rule"));
  Decision decision;
  decision.batch.push_back({.key = PolicyKey(rule.from(), rule.to()),
                            .value = std::nullopt,
                            .expected = it->second.revision});
  decision.answer = AnswerWithRule(it->second.record.rule());
  return decision;
}

}  // namespace linchpin::ca
