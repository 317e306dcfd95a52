// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One line an event: level, time, message, key=value pairs. Never a secret: SecretBytes has no
// text.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace linchpin::base {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// To stderr. INVALID_ARGUMENT for an unknown level name (debug, info, warning, error).
absl::Status InitLog(absl::string_view program, absl::string_view level);

using LogField = std::pair<absl::string_view, std::string>;

// Values are quoted where needed and control characters are escaped, so an attacker's text cannot
// forge a line. Any thread.
void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields = {});

inline void LogInfo(absl::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kInfo, message, fields);
}
inline void LogWarning(absl::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kWarning, message, fields);
}
inline void LogError(absl::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kError, message, fields);
}

}  // namespace linchpin::base
