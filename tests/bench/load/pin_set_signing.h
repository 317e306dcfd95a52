// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Two people who sign pin sets, both of whom are needed.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "linchpin/trust/v1/trust.pb.h"
#include "tests/bench/load/node.h"
#include "x509/key.h"

namespace linchpin::bench {

class PinSetSigning {
 public:
  static absl::StatusOr<PinSetSigning> Make();

  // Drafts the next set from what the CA has now, signs it twice and publishes it.
  absl::StatusOr<ca::v1::PinSetPublished> PublishNext(AdminStub& admin);

 private:
  explicit PinSetSigning(std::vector<x509::PrivateKey> keys) : keys_(std::move(keys)) {}
  std::vector<x509::PrivateKey> keys_;
  std::optional<trust::v1::PinSet> before_;
};

}  // namespace linchpin::bench
