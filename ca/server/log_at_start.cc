// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/log_at_start.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "ca/log/issued_since.h"
#include "trust/spiffe_id.h"

namespace linchpin::ca {
namespace {

absl::StatusOr<LogEnd> EndOf(const IssuanceLog& log, uint64_t anchored) {
  LogPosition end = log.end();
  LogEnd found{.entries = end.next_index, .hash = std::move(end.hash), .anchored_hash = ""};
  if (anchored == 0 || anchored > found.entries) return found;
  ASSIGN_OR_RETURN(const std::vector<v1::LogEntry> last, log.Read(anchored - 1, 1));
  if (!last.empty()) found.anchored_hash = last.front().hash();
  return found;
}

}  // namespace

absl::Status CheckLog(const IssuanceLog& log, const state::v1::LogHeadRecord& head) {
  ASSIGN_OR_RETURN(const LogEnd found, EndOf(log, head.entries()));
  return CheckLogEnd(head, found);
}

absl::StatusOr<bool> HoldLog(Store& store, const IssuanceLog& log, const CaCore& core,
                             const Profile& profile, const std::string& accepted, absl::Time now) {
  const state::v1::LogHeadRecord& head = core.registry().log_head();
  ASSIGN_OR_RETURN(const LogEnd found, EndOf(log, head.entries()));
  const absl::Status whole = CheckLogEnd(head, found);
  if (whole.ok()) return false;
  if (accepted.empty()) return whole;
  ASSIGN_OR_RETURN(const std::vector<Write> batch,
                   AcceptLogEnd(core.registry(), profile, accepted, found, now));
  RETURN_IF_ERROR(store.Commit(batch).status());
  base::LogWarning(
      "goes on with an issuance log whose end is gone, as it was told to",
      {{"entries", absl::StrCat(found.entries)}, {"before", absl::StrCat(head.entries())}});
  return true;
}

absl::StatusOr<Outstanding> OutstandingOf(const IssuanceLog& log, const CaCore& core,
                                          const Profile& profile, absl::Time now) {
  Outstanding outstanding;
  const std::string own_id = trust::CaId(profile.trust_domain).ToString();
  RETURN_IF_ERROR(ForEachIssuedSince(log, now - core.authorities().LongestLeaf(profile.issuer_ttl),
                                     [&](const v1::LogEntry& entry) {
                                       if (entry.spiffe_id() == own_id) return;
                                       outstanding.Issued(entry.node_id(),
                                                          entry.issuer_key_sha256(),
                                                          absl::FromUnixSeconds(entry.not_after()));
                                     }));
  CountLost(core.registry(), core.authorities(), &outstanding);
  outstanding.ForgetExpired(now);
  return outstanding;
}

}  // namespace linchpin::ca
