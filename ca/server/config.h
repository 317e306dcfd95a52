// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The CA's configuration: a file, flags over it, defaults under it; all checked before anything is
// touched.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/metrics.h"
#include "base/sandbox.h"
#include "ca/server/authority_setup.h"
#include "linchpin/config/v1/config.pb.h"

namespace linchpin::ca {

struct CaSettings {
  std::string data_dir;
  std::string listen;
  std::string admin_socket;  // an absolute path
  std::string admin_listen;  // HOST:PORT; empty: none
  std::string metrics;       // HOST:PORT or "off"
  std::string store_path;
  std::string log_level;
  std::string accept_log_end;  // the loss, or empty
  base::SandboxMode sandbox = base::SandboxMode::kOn;
  config::v1::CaKubernetesConfig kubernetes;  // complete; no cluster: none
  AuthoritySetup setup;
};

// One flag: a field of CaConfig by another spelling.
struct CaFlag {
  std::string name;   // --data-dir
  std::string field;  // data_dir; authority.root_ttl
  std::string help;
  std::string value;  // as given; empty: not given
};
using CaFlags = std::vector<CaFlag>;
CaFlags MakeCaFlags();

// `config_file` may be empty. INVALID_ARGUMENT (or the file's error) names the field and says what
// is expected.
absl::StatusOr<CaSettings> ReadSettings(const std::string& config_file, const CaFlags& flags);

// The help texts of this CA's metrics.
void DescribeMetrics(base::Metrics& metrics);

}  // namespace linchpin::ca
