// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/pin_signers.h"

#include <algorithm>
#include <utility>

#include "ca/core/rotation.h"
#include "trust/freshness.h"
#include "trust/pin_set.h"
#include "trust/relax.h"

namespace linchpin::sim {
namespace {

constexpr size_t kBoard = 3;
constexpr uint32_t kThreshold = 2;
constexpr uint64_t kShortOneIn = 8;
constexpr absl::Duration kLasts = absl::Hours(24 * 365);

std::vector<trust::KeyToPin> KeysToPin(SimCa& ca, absl::Time now) {
  std::vector<trust::KeyToPin> keys;
  const ca::Registry& registry = ca.core().registry();
  for (const ca::Authority& authority : ca.core().authorities().all()) {
    const auto role = trust::PinRoleOf(authority.state);
    if (!role.has_value() || ca::IsLeaving(registry, authority)) continue;
    trust::KeyToPin key{.is_root = authority.is_root,
                        .spki_sha256 = authority.certificate.public_key().pin().bytes(),
                        .role = *role};
    if (authority.state == ca::kBackup && !authority.is_root) {
      key.proof =
          *trust::ProvePossession(ca.trust_domain(), *ca.keys().Open(authority.key_name), now);
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

template <typename Entries>
bool AreTheKeysOf(const Entries& entries,
                  const google::protobuf::RepeatedPtrField<std::string>& pins) {
  std::set<std::string> named;
  for (const auto& entry : entries) named.insert(entry.spki_sha256());
  return named == std::set<std::string>(pins.begin(), pins.end());
}

}  // namespace

std::optional<trust::v1::PinSet> PinSigners::InForce(const SimCa& ca) {
  const auto& sets = ca.stored().trust().record.pin_sets();
  trust::v1::PinSet last;
  if (sets.empty() || !last.ParseFromString(sets.rbegin()->payload())) return std::nullopt;
  return last;
}

bool PinSigners::RunsOut(const SimCa& ca) {
  const auto set = InForce(ca);
  return set.has_value() && set->expires_at() < absl::ToUnixSeconds(ca.clock() + absl::Hours(24));
}

const PinSigners::Board& PinSigners::NewBoard(trust::v1::Signers* signers) {
  Board board;
  for (size_t i = 0; i < kBoard; ++i) {
    board.push_back(*x509::PrivateKey::Generate(x509::KeyType::kP256));
    signers->add_keys(board.back().public_key().spki());
  }
  signers->set_threshold(kThreshold);
  return boards_.insert_or_assign(signers->SerializeAsString(), std::move(board)).first->second;
}

const PinSigners::Board& PinSigners::BoardOf(const trust::v1::PinSet& set) const {
  return boards_.at(set.signers().SerializeAsString());
}

void PinSigners::Sign(const Board& board, trust::v1::SignedPinSet* set) const {
  for (uint32_t i = 0; i < kThreshold; ++i) {
    *set->add_signatures() = trust::SignPinSet(set->payload(), board[i]);
  }
}

void PinSigners::ChooseTerms(const std::optional<trust::v1::PinSet>& before,
                             trust::DraftChanges* changes) {
  const bool is_short = !calm_ && world_.OneIn(kShortOneIn);
  changes->life = is_short ? absl::Minutes(1) + world_.UpTo(absl::Minutes(4)) : kLasts;
  changes->on_expiry = static_cast<trust::v1::PinSet::OnExpiry>(world_.random().Below(3));
  if (before.has_value() && !world_.OneIn(4)) return;
  const bool named = before.has_value() && !before->freshness_key().empty();
  changes->freshness_key = "";
  if (named) return;
  auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  changes->freshness_key = key.public_key().spki();
  freshness_keys_.insert_or_assign(*changes->freshness_key, std::move(key));
}

std::optional<trust::v1::SignedPinSet> PinSigners::Next(SimCa& ca, bool new_board) {
  const auto before = InForce(ca);
  trust::DraftChanges changes;
  ChooseTerms(before, &changes);
  const Board* board = nullptr;
  if (new_board || !before.has_value()) board = &NewBoard(&changes.signers.emplace());
  const auto draft =
      trust::DraftPinSet(ca.trust_domain(), before, KeysToPin(ca, ca.clock()), changes, ca.clock());
  if (!draft.ok()) return std::nullopt;
  sets_[draft->set.message.version()].push_back(draft->set.message);
  trust::v1::SignedPinSet set;
  set.set_payload(draft->payload);
  if (before.has_value()) Sign(BoardOf(*before), &set);
  if (board != nullptr) Sign(*board, &set);
  return set;
}

std::optional<trust::v1::SignedRelax> PinSigners::Relax(const SimCa& ca) {
  const auto set = InForce(ca);
  if (!set.has_value()) return std::nullopt;
  trust::v1::Relax relax;
  relax.set_trust_domain(ca.trust_domain().name());
  relax.set_version(set->version());
  relax.set_scope(trust::v1::Relax::ISSUER_PINS);
  relax.set_issued_at(absl::ToUnixSeconds(ca.clock()));
  relax.set_latest(
      absl::ToUnixSeconds(ca.clock() + absl::Minutes(2) + world_.UpTo(absl::Minutes(15))));
  relax.set_max_seconds(60 + static_cast<int64_t>(world_.random().Below(240)));
  relaxes_[set->version()].push_back(relax);
  trust::v1::SignedRelax document;
  document.set_payload(relax.SerializeAsString());
  const Board& board = BoardOf(*set);
  for (uint32_t i = 0; i < kThreshold; ++i) {
    *document.add_signatures() = trust::SignRelax(document.payload(), board[i]);
  }
  return document;
}

std::optional<trust::v1::SignedFreshness> PinSigners::Fresh(const SimCa& ca) {
  const auto set = InForce(ca);
  if (!set.has_value() || set->freshness_key().empty()) return std::nullopt;
  trust::v1::Freshness statement;
  statement.set_trust_domain(ca.trust_domain().name());
  statement.set_version(set->version());
  statement.set_issued_at(absl::ToUnixSeconds(ca.clock()));
  statement.set_expires_at(
      absl::ToUnixSeconds(ca.clock() + absl::Minutes(5) + world_.UpTo(absl::Minutes(30))));
  statements_.push_back(statement);
  return trust::SignFreshness(statement, freshness_keys_.at(set->freshness_key()));
}

trust::v1::Signature PinSigners::OneSignature(const std::string& payload, const SimCa& ca) const {
  return trust::SignPinSet(payload, BoardOf(*InForce(ca)).front());
}

bool PinSigners::Vouch(const trust::v1::EffectivePins& pins) const {
  const auto sets = sets_.find(pins.version());
  if (sets == sets_.end()) return false;
  return std::any_of(sets->second.begin(), sets->second.end(), [&](const auto& set) {
    return set.expires_at() == pins.expires_at() && set.on_expiry() == pins.on_expiry() &&
           set.mode() == pins.mode() && set.any_under_anchor() == pins.any_under_anchor() &&
           AreTheKeysOf(set.anchors(), pins.anchors()) &&
           AreTheKeysOf(set.issuers(), pins.issuers());
  });
}

const std::vector<trust::v1::Relax>& PinSigners::RelaxesOf(uint64_t version) const {
  static const auto& none = *new std::vector<trust::v1::Relax>();
  const auto it = relaxes_.find(version);
  return it == relaxes_.end() ? none : it->second;
}

}  // namespace linchpin::sim
