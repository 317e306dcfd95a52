// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How values are shown.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/session.h"
#include "google/protobuf/message.h"

namespace linchpin::cli {

// The message as protobuf's JSON, indented; of a stream one line each.
absl::Status PrintJson(Session& session, const google::protobuf::Message& message);
absl::Status PrintJsonLine(Session& session, const google::protobuf::Message& message);
absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message, bool indented);

std::string PinText(absl::string_view bytes);  // sha256:<base64>
std::string TimeText(int64_t seconds);         // RFC 3339 in UTC; "-" for 0
std::string TimeText(absl::Time time);
std::string DurationText(int64_t seconds);  // "1h"; "default" for 0
std::string YesNo(bool yes);
std::string RelaxedText(int64_t until);  // ", RELAXED until 2027-…"; "" for 0

}  // namespace linchpin::cli
