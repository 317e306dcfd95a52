// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/pin_signers.h"

#include <utility>

#include "ca/core/rotation.h"
#include "trust/pin_set.h"
#include "trust/pin_set_draft.h"

namespace linchpin::sim {
namespace {

constexpr size_t kBoard = 3;
constexpr uint32_t kThreshold = 2;

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

}  // namespace

std::optional<trust::v1::PinSet> PinSigners::InForce(const SimCa& ca) {
  const auto& sets = ca.core().registry().trust().record.pin_sets();
  trust::v1::PinSet last;
  if (sets.empty() || !last.ParseFromString(sets.rbegin()->payload())) return std::nullopt;
  return last;
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

void PinSigners::Sign(const Board& board, trust::v1::SignedPinSet* set) const {
  for (uint32_t i = 0; i < kThreshold; ++i) {
    *set->add_signatures() = trust::SignPinSet(set->payload(), board[i]);
  }
}

std::optional<trust::v1::SignedPinSet> PinSigners::Next(SimCa& ca, bool new_board) {
  const auto before = InForce(ca);
  trust::DraftChanges changes;
  const Board* board = nullptr;
  if (new_board || !before.has_value()) board = &NewBoard(&changes.signers.emplace());
  const auto draft =
      trust::DraftPinSet(ca.trust_domain(), before, KeysToPin(ca, ca.clock()), changes, ca.clock());
  if (!draft.ok()) return std::nullopt;
  trust::v1::SignedPinSet set;
  set.set_payload(draft->payload);
  if (before.has_value()) Sign(boards_.at(before->signers().SerializeAsString()), &set);
  if (board != nullptr) Sign(*board, &set);
  return set;
}

}  // namespace linchpin::sim
