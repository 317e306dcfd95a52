// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/mutex.h"

namespace linchpin::base {
namespace {

constexpr size_t kMostValueBytes = 4096;

std::shared_ptr<spdlog::logger> MakeLogger(const std::string& program) {
  auto logger =
      std::make_shared<spdlog::logger>(program, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(
      program.empty() ? "%Y-%m-%dT%H:%M:%S.%eZ %l %v" : "%Y-%m-%dT%H:%M:%S.%eZ %l %n: %v",
      spdlog::pattern_time_type::utc));
  logger->flush_on(spdlog::level::trace);
  return logger;
}

struct Holder {
  Mutex mutex;
  std::shared_ptr<spdlog::logger> logger = MakeLogger("");
};

// Never destroyed, because threads may still log while the process ends.
Holder& Current() {
  static auto* const holder = new Holder;
  return *holder;
}

std::shared_ptr<spdlog::logger> CurrentLogger() {
  MutexLock lock(Current().mutex);
  return Current().logger;
}

spdlog::level::level_enum Spd(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// Control characters and bytes beyond ASCII are written as \xNN.
void AppendEscaped(absl::string_view text, bool quoted, std::string* out) {
  for (const char c : text.substr(0, kMostValueBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      absl::StrAppendFormat(out, "\\x%02x", byte);
    } else if (quoted && (c == '"' || c == '\\')) {
      *out += '\\';
      *out += c;
    } else {
      *out += c;
    }
  }
  if (text.size() > kMostValueBytes) *out += "...";
}

bool NeedsQuotes(absl::string_view value) {
  if (value.empty()) return true;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '"' || c == '=' || c == '\\') return true;
  }
  return false;
}

}  // namespace

absl::Status InitLog(absl::string_view program, absl::string_view level) {
  spdlog::level::level_enum threshold;
  if (level == "debug") {
    threshold = spdlog::level::debug;
  } else if (level == "info" || level.empty()) {
    threshold = spdlog::level::info;
  } else if (level == "warning") {
    threshold = spdlog::level::warn;
  } else if (level == "error") {
    threshold = spdlog::level::err;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("log level '", level, "' is unknown: expected debug, info, warning or error"));
  }
  std::shared_ptr<spdlog::logger> logger = MakeLogger(std::string(program));
  logger->set_level(threshold);
  MutexLock lock(Current().mutex);
  Current().logger.swap(logger);
  return absl::OkStatus();
}

void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields) {
  const std::shared_ptr<spdlog::logger> logger = CurrentLogger();
  if (!logger->should_log(Spd(level))) return;
  std::string line;
  AppendEscaped(message, false, &line);
  for (const auto& [key, value] : fields) {
    line += ' ';
    AppendEscaped(key, false, &line);
    line += '=';
    const bool quoted = NeedsQuotes(value);
    if (quoted) line += '"';
    AppendEscaped(value, quoted, &line);
    if (quoted) line += '"';
  }
  logger->log(Spd(level), line);
}

}  // namespace linchpin::base
