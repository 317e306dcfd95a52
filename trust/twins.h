// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which of the twins that a CA offers may be handed to clients that cannot pin. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "trust/trust_state.h"

namespace linchpin::trust {

struct Twin {
  std::string der;
  absl::Time not_after;
  x509::Certificate issuer;  // whose twin it is
};

struct CheckedTwins {
  std::vector<Twin> twins;
  std::vector<std::string> faults;  // a sentence for each that is wrong and was left out
};

// Keeps the twins of those issuers of `state` that are pinned, not revoked, and have a path to its
// anchors at `now` or, where that is outside the issuer's validity, at its nearest end; so a clock
// that is off loses none, and who hands them out looks at not_after. The twin of an issuer that is
// merely not pinned (any more, or yet) is left out without a word. What is no certificate, no twin
// of an issuer of `state`, or of one without a path, is a fault; as are more than 256. That a twin
// which is in `before` is one of the same issuer is not verified again.
CheckedTwins CheckTwins(const TrustState& state,
                        const google::protobuf::RepeatedPtrField<std::string>& offered,
                        absl::Time now, const CheckedTwins& before = {});

}  // namespace linchpin::trust
