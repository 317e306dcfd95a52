// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of backup issuers and of failovers.

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/admin.h"
#include "ca/core/backups.h"
#include "ca/core/failover.h"
#include "ca/core/imported.h"
#include "ca/core/offline_root.h"
#include "ca/core/rotation.h"

namespace linchpin::ca {
namespace {

Decision DescribedAs(std::vector<Write> batch, std::string pin_bytes) {
  Decision decision;
  decision.batch = std::move(batch);
  decision.answer = [pin_bytes = std::move(pin_bytes)](const Tables& then, absl::Time now) {
    const Authority* found = then.authorities.FindIssuer(pin_bytes);
    auto answer = std::make_shared<v1::Authority>();
    answer->set_kind("issuer");
    answer->set_state("awaited");
    answer->set_spki_sha256(pin_bytes);
    if (found != nullptr) *answer = Describe(then, now, *found);
    return answer;
  };
  return decision;
}

// Whose certificate may be in the making, and would be refused when it comes.
std::string GivenUp(const Tables& tables, const x509::PublicKey& by) {
  for (const auto& [key, row] : tables.registry.awaited()) {
    const absl::StatusOr<x509::PublicKey> other = KeyOfAwaited(row.record);
    if (row.record.rotation() != 0 || !other.ok() || *other == by) continue;
    return absl::StrCat("the request for the key ", other->pin().ToString(),
                        ", which waited for its certificate, is given up: should that one be made, "
                        "it will not be taken");
  }
  return "";
}

Decision WithWarning(Decision decision, std::string warning) {
  if (warning.empty()) return decision;
  decision.answer = [answer = std::move(decision.answer), warning = std::move(warning)](
                        const Tables& then, absl::Time now) {
    auto said =
        std::make_shared<v1::Authority>(dynamic_cast<const v1::Authority&>(*answer(then, now)));
    said->set_warning(warning);
    return said;
  };
  return decision;
}

}  // namespace

absl::StatusOr<std::optional<AuthorityPlan>> PlanFor(const Tables& tables, absl::Time now,
                                                     const CertifyBackup& asked) {
  const x509::PublicKey& key = asked.request.public_key();
  if (FindBackup(tables.authorities, key.pin().bytes()) != nullptr) return std::nullopt;
  const Authority* root = tables.authorities.RootOf(tables.authorities.active());
  const bool awaited = tables.registry.awaited().count(AwaitedKey(key.pin().bytes())) > 0;
  // Unless a root of the CA's own has come since.
  if (awaited && IsOffline(*root)) return std::nullopt;
  return PlanBackup(tables, key, asked.der, now);
}

AddBackup WithMade(CertifyBackup asked, std::vector<Write> made) {
  return {std::move(asked), std::move(made)};
}

// It has its certificate, or waits for it: an answer was lost.
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const CertifyBackup& asked) {
  return DescribedAs({}, asked.request.public_key().pin().bytes());
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const AddBackup& asked) {
  const x509::PublicKey& key = asked.asked.request.public_key();
  // Again: the certificate took its time.
  RETURN_IF_ERROR(PlanBackup(tables, key, asked.asked.der, now).status());
  std::vector<Write> batch = asked.made;
  DropAwaited(tables.registry.awaited(), 0, &batch);  // one before it that nobody has certified
  Decision decision = DescribedAs(std::move(batch), key.pin().bytes());
  return WithWarning(std::move(decision), GivenUp(tables, key));
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now,
                                const v1::FinishBackupRequest& asked) {
  ASSIGN_OR_RETURN(std::vector<Write> batch, FinishBackup(tables, asked, now));
  ASSIGN_OR_RETURN(const x509::Certificate certificate,
                   x509::Certificate::FromDer(asked.certificate()));
  return DescribedAs(std::move(batch), certificate.public_key().pin().bytes());
}

absl::StatusOr<std::optional<AuthorityPlan>> PlanFor(const Tables& tables, absl::Time now,
                                                     const Failover& asked) {
  return PlanFailover(tables, asked, now);
}

Failover WithMade(Failover asked, std::vector<Write>) { return asked; }

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const Failover& asked,
                                const std::string& by) {
  Decision decision;
  ASSIGN_OR_RETURN(decision.batch, DecideFailover(tables, asked, by, now));
  decision.answer = [](const Tables& then, absl::Time later) {
    return std::make_shared<const v1::Rotation>(DescribeRotation(then, later));
  };
  return decision;
}

absl::StatusOr<v1::FailoverOutlook> Answer(const Tables& tables, absl::Time now,
                                           const v1::GetFailoverRequest&) {
  return DescribeFailover(tables, now);
}

}  // namespace linchpin::ca
