// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/refusals.h"

#include <utility>

namespace linchpin::agent {

void Refusals::Add(const agent::v1::VerdictCount& count) {
  if (count.reason() == trust::v1::VERDICT_REASON_UNSPECIFIED || count.count() == 0) return;
  Key key{count.reason(), count.self_id(), count.peer_id(), count.inbound()};
  if (counts_.size() >= kMaxKeys && !counts_.contains(key)) {
    key = Key{count.reason(), "", "", count.inbound()};
  }
  counts_[key] += count.count();
}

ca::v1::VerdictReport Refusals::Take() {
  ca::v1::VerdictReport report;
  for (const auto& [key, count] : std::exchange(counts_, {})) {
    ca::v1::Refusal* refusal = report.add_refusals();
    refusal->set_reason(static_cast<trust::v1::VerdictReason>(std::get<0>(key)));
    refusal->set_self_id(std::get<1>(key));
    refusal->set_peer_id(std::get<2>(key));
    refusal->set_inbound(std::get<3>(key));
    refusal->set_count(count);
  }
  return report;
}

}  // namespace linchpin::agent
