// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/alarms.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace linchpin::agent {

void AlarmWrongTwins(const trust::TrustHeld& held, Actions* out) {
  constexpr size_t kMostSaid = 3;
  const std::vector<std::string>& faults = held.twins.faults;
  for (size_t i = 0; i < std::min(faults.size(), kMostSaid); ++i) {
    std::string text = faults[i];
    if (i + 1 == kMostSaid && faults.size() > kMostSaid) {
      absl::StrAppend(&text, "; ", faults.size() - kMostSaid, " more are left out");
    }
    out->push_back(action::Alarm{std::move(text), "linchpin_agent_wrong_twins_total"});
  }
}

void NoteSigners(const trust::TrustHeld& held, Actions* out) {
  if (held.set_zero) return;
  const trust::SignerSet& signers = held.cursor.signers;
  std::string text = absl::StrCat("set 0 is over: from now on ", signers.threshold, " of ",
                                  signers.keys.size(), " signers change the pins:");
  for (const x509::PublicKey& key : signers.keys) absl::StrAppend(&text, " ", key.pin().ToString());
  out->push_back(action::Note{std::move(text)});
}

}  // namespace linchpin::agent
