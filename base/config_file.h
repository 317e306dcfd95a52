// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// YAML files into protobuf messages: the message is the documentation of the format.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace google::protobuf {
class Message;
}

namespace linchpin::base {

// Merges the file (at most 1 MiB) into `config`. INVALID_ARGUMENT names file, line and field for
// YAML that is malformed, nested over 16 deep or with aliases, and for unknown or ill-typed fields.
absl::Status LoadConfigFile(const std::string& path, google::protobuf::Message* config);
absl::Status LoadConfigText(absl::string_view yaml, absl::string_view name,
                            google::protobuf::Message* config);

// "90s", "10m", "1h30m", "24h"; positive. INVALID_ARGUMENT names `field`.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text, absl::string_view field);

}  // namespace linchpin::base
