// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/survivors.h"

#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "agent/core/served_processes.h"
#include "base/durable_file.h"

namespace linchpin::agent {
namespace {

constexpr char kBootId[] = "/proc/sys/kernel/random/boot_id";
constexpr size_t kMaxBootId = 64;
constexpr rlim_t kPartOfFiles = 16;

size_t Most() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return 0;
  return std::min<rlim_t>(files.rlim_cur / kPartOfFiles, kMaxServedSealed);
}

// As attestation names them: PID.START.
std::optional<std::pair<pid_t, uint64_t>> ParseProcess(absl::string_view name) {
  const size_t dot = name.find('.');
  pid_t pid = 0;
  uint64_t start_time = 0;
  if (dot == absl::string_view::npos || !absl::SimpleAtoi(name.substr(0, dot), &pid) || pid <= 0 ||
      !absl::SimpleAtoi(name.substr(dot + 1), &start_time)) {
    return std::nullopt;
  }
  return std::make_pair(pid, start_time);
}

}  // namespace

std::string BootId() {
  const absl::StatusOr<std::string> text = base::ReadFile(kBootId, kMaxBootId);
  return text.ok() ? std::string(absl::StripAsciiWhitespace(*text)) : "";
}

Survivors FindSurvivors(const state::v1::ServedProcesses& served, const rpc::ProcessTable& table) {
  Survivors survivors;
  const size_t most = Most();
  for (const state::v1::ServedProcess& one : served.processes()) {
    if (survivors.size() >= most) break;
    const auto process = ParseProcess(one.process());
    if (!process.has_value()) continue;
    auto held = rpc::UnixPeer::HoldAgain(process->first, process->second, table);
    if (held.ok()) survivors[one.process()] = *std::move(held);
  }
  return survivors;
}

}  // namespace linchpin::agent
