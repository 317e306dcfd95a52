// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The agent's configuration, checked as a whole before anything is touched.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/core/agent_core.h"
#include "base/sandbox.h"
#include "linchpin/config/v1/config.pb.h"
#include "trust/bundle.h"

namespace linchpin::agent {

struct Config {
  CoreOptions core;
  std::string data_dir;
  std::string ca;
  std::string socket;   // path
  std::string metrics;  // HOST:PORT; empty: off
  std::string log_level;
  base::SandboxMode sandbox = base::SandboxMode::kOn;
  std::string join_token_file;
  std::string pin_set_file;                      // or directory
  bool by_kubernetes = false;                    // the node attests by its cluster's word
  config::v1::AgentKubernetesConfig kubernetes;  // as far as it goes without a pod's defaults
  trust::BundleKind sds_bundle = trust::BundleKind::kPinned;
  trust::BundleKind workload_bundle = trust::BundleKind::kPinned;
  bool can_begin = false;  // has what a first start needs
};

// The file (may be empty) with `flags` over it. INVALID_ARGUMENT names the field: missing,
// malformed, both --ca-pin and --signers, a signers file of another trust domain.
absl::StatusOr<Config> ReadConfig(const std::string& file, const config::v1::AgentConfig& flags,
                                  const std::string& version);

// INVALID_ARGUMENT says what a first start needs and was not given.
absl::Status CheckCanBegin(const Config& config);

}  // namespace linchpin::agent
