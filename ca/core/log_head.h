// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How much of the issuance log the store vouches for. Each entry is durable in the log before its
// certificate leaves; a moment later the store knows how many there are, and the hash of their
// chain. So at a start a log whose end was cut off, by a bad disk or by somebody, is noticed: every
// frame that is left of it is whole. docs/decisions/0032. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ca/core/authorities.h"
#include "ca/core/events.h"
#include "ca/core/outstanding.h"
#include "ca/core/profile.h"
#include "ca/core/registry.h"
#include "ca/store/store.h"

namespace linchpin::ca {

// Does the store vouch for less than the log has by `tick`?
bool IsLogAhead(const Registry& registry, const event::Tick& tick);
// Adds to `batch`, which is committed in any case, that the store vouches for that, too.
void AddLogHead(const Registry& registry, const event::Tick& tick, absl::Time now,
                std::vector<Write>* batch);

// What a log has.
struct LogEnd {
  uint64_t entries = 0;
  std::string hash;           // of the chain up to the last of them
  std::string anchored_hash;  // of the chain up to what the store vouches for; empty: it has less
};
// DATA_LOSS: not what the store vouches for; says what to do.
absl::Status CheckLogEnd(const state::v1::LogHeadRecord& head, const LogEnd& found);
// An operator said by `loss`, which CheckLogEnd names, that the log is to go on as it is: the store
// vouches for that from now on, and gates wait until nothing of what is lost can be valid.
// INVALID_ARGUMENT: it is another loss.
absl::StatusOr<std::vector<Write>> AcceptLogEnd(const Registry& registry, const Profile& profile,
                                                const std::string& loss, const LogEnd& found,
                                                absl::Time now);

// Of entries that are lost: through any node and under any issuer something may be valid.
void CountLost(const Registry& registry, const Authorities& authorities, Outstanding* outstanding);

}  // namespace linchpin::ca
