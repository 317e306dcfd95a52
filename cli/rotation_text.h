// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A rotation on one screen.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "linchpin/ca/v1/admin.pb.h"

namespace linchpin::cli {

std::string StepText(ca::v1::RotationStep step);
std::string RotationText(const ca::v1::Rotation& rotation, absl::Time now);

// What nodes think of the backup issuers, a line each: what they judged their canaries.
std::string CanaryText(const google::protobuf::RepeatedPtrField<ca::v1::BackupIssuer>& backups);
// What failover --check shows.
std::string FailoverText(const ca::v1::FailoverOutlook& outlook);

}  // namespace linchpin::cli
