// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of authorities.

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ca/core/admin.h"
#include "ca/core/backups.h"
#include "ca/core/offline_root.h"
#include "ca/core/rotation.h"
#include "trust/text.h"

namespace linchpin::ca {

std::string WarningOf(const Authority& authority, const std::set<std::string>& keys,
                      absl::Time now) {
  if (authority.state == kRetired) return "";  // whatever comes of it
  std::string warning;
  if (authority.state == kBackup && keys.count(authority.key_name) > 0) {
    warning =
        absl::StrCat("the key of the backup issuer (", authority.key_name,
                     ") is still kept beside the CA; move it away, to where only you reach it");
  }
  const absl::string_view and_then = warning.empty() ? "" : "; ";
  const x509::CertificateFields& fields = authority.certificate.fields();
  if (now >= fields.not_after) {
    absl::StrAppend(&warning, and_then, "expired at ", trust::TimeText(fields.not_after));
  } else if (!authority.is_root && authority.state == kActive) {
    // RotationWarning() tells of it, and what to do.
  } else if (fields.not_after - now < (fields.not_after - fields.not_before) / 4) {
    absl::StrAppend(&warning, and_then, "less than a quarter of its life is left, it expires at ",
                    trust::TimeText(fields.not_after));
  }
  return warning;
}

v1::Authority Describe(const Tables& tables, absl::Time now, const Authority& authority) {
  const x509::CertificateFields& fields = authority.certificate.fields();
  v1::Authority message;
  message.set_kind(authority.is_root ? "root" : "issuer");
  message.set_state(authority.state);
  message.set_subject(fields.subject);
  message.set_spki_sha256(authority.certificate.public_key().pin().bytes());
  message.set_certificate(authority.certificate.der());
  message.set_not_before(absl::ToUnixSeconds(fields.not_before));
  message.set_not_after(absl::ToUnixSeconds(fields.not_after));
  message.set_leaving(IsLeaving(tables.registry, authority) || !IsToBePinned(tables, authority));
  message.set_offline(IsOffline(authority));
  message.set_key_present(tables.keys.count(authority.key_name) > 0);
  message.set_warning(WarningOf(authority, tables.keys, now));
  if (&authority != &tables.authorities.active()) return message;
  for (const std::string& warning : {RotationWarning(tables, now), BackupWarning(tables, now)}) {
    if (message.warning().empty()) message.set_warning(warning);
  }
  return message;
}

absl::StatusOr<v1::Authorities> Answer(const Tables& tables, absl::Time now,
                                       const v1::GetAuthoritiesRequest&) {
  v1::Authorities answer;
  answer.set_trust_domain(tables.registry.meta().trust_domain());
  std::vector<const Authority*> all;
  for (const Authority& authority : tables.authorities.all()) all.push_back(&authority);
  // First the root that newcomers are shown: scripts pin it.
  if (const Authority* old = IssuerBeforeDrain(tables.registry, tables.authorities)) {
    const Authority* root = tables.authorities.RootOf(*old);
    std::stable_partition(all.begin(), all.end(), [&](const auto* one) { return one == root; });
  }
  for (const Authority* one : all) {
    *answer.add_authorities() = Describe(tables, now, *one);
  }
  return answer;
}

}  // namespace linchpin::ca
