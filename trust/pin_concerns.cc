// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/pin_concerns.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "trust/freshness.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

constexpr std::array<int64_t, 4> kWarnDays = {1, 7, 14, 30};

absl::Duration Days(int64_t days) { return absl::Hours(24 * days); }

std::string ThenText(v1::PinSet::OnExpiry on_expiry) {
  switch (on_expiry) {
    case v1::PinSet::RELAX:
      return "from then on its issuers' pins are only reported";
    case v1::PinSet::FAIL_CLOSED:
      return "from then on everybody is refused";
    default:
      return "it stays in force, and this alarm with it";
  }
}

std::optional<PinConcern> OfExpiry(const v1::PinSet& set, absl::Time now) {
  const absl::Time expires = absl::FromUnixSeconds(set.expires_at());
  const std::string which = absl::StrCat("pin set version ", set.version());
  if (now >= expires) {
    return PinConcern{"expired", "",
                      absl::StrCat(which, " expired at ", TimeText(expires), " and says ",
                                   set.on_expiry() == v1::PinSet::KEEP    ? "keep"
                                   : set.on_expiry() == v1::PinSet::RELAX ? "report_only"
                                                                          : "fail_closed",
                                   ": publish the next one (linchpin pins draft)")};
  }
  for (const int64_t days : kWarnDays) {
    if (expires - now > Days(days)) continue;
    return PinConcern{
        "expiring", absl::StrCat(days),
        absl::StrCat(which, " expires in less than ", days, days == 1 ? " day, at " : " days, at ",
                     TimeText(expires), "; ", ThenText(set.on_expiry()),
                     ": publish the next one (linchpin pins draft)")};
  }
  return std::nullopt;
}

// When the last backup's proof was made; none if there is no backup.
std::optional<absl::Time> ProvedAt(const v1::PinSet& set) {
  std::optional<absl::Time> newest;
  for (const v1::IssuerPin& issuer : set.issuers()) {
    if (issuer.role() != v1::IssuerPin::BACKUP || !issuer.has_proof()) continue;
    const absl::Time made = absl::FromUnixSeconds(issuer.proof().made_at());
    newest = newest.has_value() ? std::max(*newest, made) : made;
  }
  return newest;
}

std::optional<PinConcern> OfBackup(const v1::PinSet& set, absl::Time now) {
  if (set.any_under_anchor()) return std::nullopt;
  const std::optional<absl::Time> proved = ProvedAt(set);
  const std::string which = absl::StrCat("pin set version ", set.version());
  if (!proved.has_value()) {
    return PinConcern{"backup_unproved", "",
                      absl::StrCat(which,
                                   " names no backup issuer: if the active one is lost, "
                                   "nothing can take its place")};
  }
  if (now - *proved < kOldProof) return std::nullopt;
  return PinConcern{"backup_unproved", TimeText(*proved),
                    absl::StrCat("that the key of the backup issuer is held was last shown at ",
                                 TimeText(*proved),
                                 ", more than 180 days ago: look whether it is still there "
                                 "(linchpin pins draft --backup-key FILE)")};
}

}  // namespace

std::vector<PinConcern> PinConcerns(const PinFacts& facts, absl::Time now) {
  std::vector<PinConcern> concerns;
  if (std::optional<PinConcern> expiry = OfExpiry(facts.set, now)) concerns.push_back(*expiry);
  if (now < facts.relaxed_until) {
    const std::string until = TimeText(facts.relaxed_until);
    concerns.push_back({"relaxed", until,
                        absl::StrCat("pin set version ", facts.set.version(), " is relaxed until ",
                                     until, ": its issuers' pins are only reported")});
  }
  if (std::optional<PinConcern> backup = OfBackup(facts.set, now)) concerns.push_back(*backup);
  std::string withheld = WhyWithheld(facts.set, facts.freshness, now);
  if (!withheld.empty()) concerns.push_back({"withheld", "", std::move(withheld)});
  return concerns;
}

absl::Time NextPinConcern(const PinFacts& facts, absl::Time now) {
  absl::Time next = absl::InfiniteFuture();
  const auto consider = [&](absl::Time at) {
    if (at > now) next = std::min(next, at);
  };
  const absl::Time expires = absl::FromUnixSeconds(facts.set.expires_at());
  consider(expires);
  for (const int64_t days : kWarnDays) consider(expires - Days(days));
  consider(facts.relaxed_until);
  if (const std::optional<absl::Time> proved = ProvedAt(facts.set)) consider(*proved + kOldProof);
  if (!facts.set.freshness_key().empty()) {
    consider(absl::FromUnixSeconds(facts.set.issued_at()) + kFreshAtIssue);
    if (facts.freshness.has_value()) {
      consider(absl::FromUnixSeconds(facts.freshness->expires_at()));
    }
  }
  return next;
}

}  // namespace linchpin::trust
