// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/revocation.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/text.h"
#include "x509/spki_pin.h"

namespace linchpin::trust {
namespace {

constexpr size_t kMaxReason = 1024;
constexpr size_t kMaxSerial = 20;  // RFC 5280 §4.1.2.2

absl::Status CheckEntry(const v1::Revocation& entry) {
  if (entry.reason().size() > kMaxReason) {
    return absl::InvalidArgumentError(absl::StrCat("its reason has ", entry.reason().size(),
                                                   " bytes, at most ", kMaxReason, " are allowed"));
  }
  switch (entry.what_case()) {
    case v1::Revocation::kSpiffeId:
      if (entry.issued_before() <= 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("it denies ", Quoted(entry.spiffe_id()), " but names no time of issue"));
      }
      return SpiffeId::Parse(entry.spiffe_id()).status();
    case v1::Revocation::kSerial:
      if (entry.serial().empty() || entry.serial().size() > kMaxSerial ||
          entry.serial()[0] == '\0') {
        return absl::InvalidArgumentError("its serial is not 1 to 20 bytes without leading zeros");
      }
      return absl::OkStatus();
    case v1::Revocation::kKeySha256:
      return x509::SpkiPin::FromBytes(entry.key_sha256()).status();
    case v1::Revocation::WHAT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("it names no SPIFFE ID, serial or key");
}

std::string Because(const v1::Revocation& entry) {
  return entry.reason().empty() ? "" : absl::StrCat(" (", Quoted(entry.reason()), ")");
}

}  // namespace

absl::StatusOr<Revocations> Revocations::FromMessages(std::vector<v1::Revocation> entries) {
  if (entries.size() > kMaxEntries) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there are ", entries.size(), " revocations, at most ", kMaxEntries, " are allowed"));
  }
  std::vector<std::pair<std::string, v1::Revocation>> sorted;
  sorted.reserve(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    if (absl::Status status = CheckEntry(entries[i]); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("revocation ", i, " is malformed: ", status.message()));
    }
    std::string bytes = entries[i].SerializeAsString();
    sorted.emplace_back(std::move(bytes), std::move(entries[i]));
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  Revocations result;
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (i > 0 && sorted[i].first == sorted[i - 1].first) continue;
    const v1::Revocation& entry = result.entries_.emplace_back(std::move(sorted[i].second));
    const size_t index = result.entries_.size() - 1;
    if (entry.has_serial()) result.by_serial_.emplace(entry.serial(), index);
    if (entry.has_key_sha256()) result.by_key_.emplace(entry.key_sha256(), index);
    if (!entry.has_spiffe_id()) continue;
    const auto [it, fresh] = result.by_id_.emplace(entry.spiffe_id(), index);
    if (!fresh && result.entries_[it->second].issued_before() < entry.issued_before()) {
      it->second = index;
    }
  }
  return result;
}

std::optional<std::string> Revocations::Denies(const SpiffeId& leaf_id,
                                               const x509::Chain& path) const {
  if (entries_.empty() || path.empty()) return std::nullopt;
  const x509::CertificateFields& leaf = path.front().fields();
  if (const auto it = by_id_.find(leaf_id.ToString()); it != by_id_.end()) {
    const v1::Revocation& entry = entries_[it->second];
    const absl::Time before = absl::FromUnixSeconds(entry.issued_before());
    if (leaf.not_before <= before) {
      return absl::StrCat(leaf_id.ToString(), " is denied where issued until ", TimeText(before),
                          ", and this leaf is valid from ", TimeText(leaf.not_before),
                          Because(entry));
    }
  }
  if (const auto it = by_serial_.find(leaf.serial); it != by_serial_.end()) {
    return absl::StrCat("the leaf's serial ", x509::SerialText(leaf.serial), " is revoked",
                        Because(entries_[it->second]));
  }
  for (size_t depth = 0; depth < path.size() && !by_key_.empty(); ++depth) {
    const x509::SpkiPin& pin = path[depth].public_key().pin();
    if (const auto it = by_key_.find(pin.bytes()); it != by_key_.end()) {
      return absl::StrCat("the key ", pin.ToString(), " of ", Quoted(path[depth].fields().subject),
                          depth == 0 ? " (the leaf)" : " (an issuer in the path)", " is revoked",
                          Because(entries_[it->second]));
    }
  }
  return std::nullopt;
}

}  // namespace linchpin::trust
