// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of a root that is kept offline.

#include <utility>

#include "base/status_macros.h"
#include "ca/core/admin.h"
#include "ca/core/imported.h"
#include "ca/core/offline_root.h"

namespace linchpin::ca {
namespace {

Decision Described(std::vector<Write> batch, const std::vector<Write>& made) {
  std::vector<std::string> record_keys;
  for (const Write& write : made) record_keys.push_back(write.key);
  Decision decision;
  decision.batch = std::move(batch);
  decision.answer = [record_keys = std::move(record_keys)](const Tables& then, absl::Time now) {
    auto answer = std::make_shared<v1::ImportedCertificates>();
    bool unfinished = false;
    for (const std::string& key : record_keys) {
      const Authority* found = then.authorities.Find(key);
      if (found == nullptr) continue;
      unfinished = unfinished || (!found->is_root && !found->twin.has_value());
      v1::Authority* shown = answer->add_authorities();
      *shown = Describe(then, now, *found);
      shown->set_warning(ImportWarning(then.options.profile, found->certificate, now));
    }
    if (!then.registry.awaited().empty()) answer->add_next("linchpin ca csr");
    answer->add_next(unfinished ? "linchpin ca backup create --out FILE"
                                : "linchpin rotate status");
    return answer;
  };
  return decision;
}

}  // namespace

absl::StatusOr<v1::AwaitedList> Answer(const Tables& tables, absl::Time,
                                       const v1::ListAwaitedRequest&) {
  return DescribeAwaited(tables);
}

absl::StatusOr<std::optional<AuthorityPlan>> PlanFor(const Tables& tables, absl::Time now,
                                                     const v1::ImportCertificatesRequest& asked) {
  return PlanImport(tables, asked, now);
}

ImportMade WithMade(v1::ImportCertificatesRequest asked, std::vector<Write> made) {
  return {std::move(asked), std::move(made)};
}

// All are here: an answer was lost.
absl::StatusOr<Decision> Decide(const Tables&, absl::Time, const v1::ImportCertificatesRequest&) {
  return Described({}, {});
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const ImportMade& asked,
                                const std::string& by) {
  ASSIGN_OR_RETURN(std::vector<Write> batch, DecideImport(tables, asked, by, now));
  return Described(std::move(batch), asked.made);
}

}  // namespace linchpin::ca
