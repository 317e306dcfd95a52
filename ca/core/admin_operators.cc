// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What is asked about operators.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/admin.h"
#include "ca/core/issuing.h"
#include "ca/core/operators.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

absl::StatusOr<absl::Duration> TtlOf(int64_t seconds) {
  if (seconds == 0) return kDefaultOperatorTtl;
  if (seconds >= 1 && absl::Seconds(seconds) <= kLongestOperatorTtl) return absl::Seconds(seconds);
  return absl::InvalidArgumentError(
      absl::StrCat("an operator's certificate of ", seconds, "s; 1s to ",
                   absl::FormatDuration(kLongestOperatorTtl),
                   " are allowed: it is renewed by the operator while it is valid"));
}

// The record first, then the certificate, then the log, then the answer.
absl::StatusOr<Decision> Certify(const Tables& tables, absl::Time now, v1::Operator holder,
                                 absl::Duration ttl, const x509::CertificateRequest& request) {
  ASSIGN_OR_RETURN(const trust::SpiffeId id,
                   trust::OperatorId(tables.options.profile.trust_domain, holder.name()));
  RETURN_IF_ERROR(CheckAsks(request, id, {}));
  ASSIGN_OR_RETURN(x509::CertificateSpec spec,
                   LeafSpec(tables.options.profile, {.spiffe_id = id.ToString(), .dns_names = {}},
                            ttl, tables.authorities.active().certificate, now, tables.random));
  holder.set_certificate_expires_at(absl::ToUnixSeconds(spec.not_after));
  state::v1::OperatorRecord record;
  *record.mutable_holder() = holder;
  record.set_serial(spec.serial);
  const auto* held = tables.registry.FindOperator(holder.name());
  Decision decision;
  decision.batch.push_back({.key = OperatorKey(holder.name()),
                            .value = record.SerializeAsString(),
                            .expected = held == nullptr ? 0 : held->revision});
  decision.order = CertificateOrder{.spec = std::move(spec),
                                    .spiffe_id = id.ToString(),
                                    .node_id = "",
                                    .key = request.public_key(),
                                    .request = {}};
  decision.certified = [holder](const Tables& then, const std::string& leaf,
                                const x509::Certificate& issuer)
      -> absl::StatusOr<std::shared_ptr<const google::protobuf::Message>> {
    const auto* row = then.registry.FindOperator(holder.name());
    // A deletion is not answered with a certificate that was under way.
    if (row == nullptr || row->record.holder().key_sha256() != holder.key_sha256()) {
      return absl::AbortedError(
          absl::StrCat("the operator ", holder.name(), " was deleted or replaced meanwhile"));
    }
    auto made = std::make_shared<v1::OperatorCertificate>();
    *made->mutable_holder() = holder;
    made->add_chain(leaf);
    made->add_chain(issuer.der());
    return made;
  };
  return decision;
}

}  // namespace

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const CreateOperator& asked) {
  const v1::CreateOperatorRequest& wanted = asked.asked;
  const std::optional<Role> role = ParseRole(wanted.role());
  if (!role.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there is no role ", trust::Quoted(wanted.role()), "; viewer, registrar and admin are"));
  }
  if (wanted.name() == kItself) {
    return absl::InvalidArgumentError(
        absl::StrCat("no operator may be called ", kItself, ": so the log calls the CA itself"));
  }
  ASSIGN_OR_RETURN(const absl::Duration ttl, TtlOf(wanted.ttl_seconds()));
  const auto& operators = tables.registry.operators();
  if (!wanted.replace() && operators.count(wanted.name()) > 0) {
    return absl::AlreadyExistsError(absl::StrCat("there is an operator ", wanted.name(),
                                                 ": --replace gives it a new key and role"));
  }
  if (operators.size() >= kMaxOperators) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", operators.size(), " operators; delete those who are gone"));
  }
  const std::string pin = asked.request.public_key().pin().bytes();
  for (const auto& [name, row] : operators) {
    if (row.record.holder().key_sha256() != pin || name == wanted.name()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("that key is the operator ", name, "'s: each has a key of its own"));
  }
  v1::Operator holder;
  holder.set_name(wanted.name());
  holder.set_role(std::string(RoleName(*role)));
  holder.set_key_sha256(pin);
  holder.set_created_by(asked.by);
  holder.set_created_at(absl::ToUnixSeconds(now));
  return Certify(tables, now, std::move(holder), ttl, asked.request);
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const RenewOperator& asked) {
  const auto* row = tables.registry.FindOperator(asked.name);
  if (row == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(asked.name,
                     " has no certificate to renew: on the admin socket none is "
                     "needed"));
  }
  if (asked.request.public_key().pin().bytes() != row->record.holder().key_sha256()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a renewal keeps the key of the operator ", asked.name,
                     "; for another one: linchpin operator create --replace"));
  }
  ASSIGN_OR_RETURN(const absl::Duration ttl, TtlOf(asked.ttl_seconds));
  ASSIGN_OR_RETURN(Decision decision,
                   Certify(tables, now, row->record.holder(), ttl, asked.request));
  // It changes nothing but an end, every viewer may do it, and its certificate is logged: records
  // of it would only push out others.
  decision.recorded = false;
  return decision;
}

absl::StatusOr<v1::OperatorList> Answer(const Tables& tables, absl::Time,
                                        const v1::ListOperatorsRequest&) {
  v1::OperatorList list;
  for (const auto& [name, row] : tables.registry.operators()) {
    *list.add_operators() = row.record.holder();
  }
  return list;
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time,
                                const v1::DeleteOperatorRequest& asked) {
  const auto* row = tables.registry.FindOperator(asked.name());
  if (row == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("there is no operator ", trust::Quoted(asked.name()), "; see operator list"));
  }
  Decision decision;
  decision.batch.push_back(
      {.key = OperatorKey(asked.name()), .value = std::nullopt, .expected = row->revision});
  decision.answer = AnswerWith(row->record.holder());
  return decision;
}

}  // namespace linchpin::ca
