// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/config.h"

#include <google/protobuf/util/json_util.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/config_file.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "rpc/channel.h"

namespace linchpin::agent {
namespace {

constexpr size_t kMaxSignersFile = 1024 * 1024;
constexpr char kTokenFile[] = "/run/secrets/linchpin/token";
constexpr absl::Duration kMostSkew = absl::Hours(1);

absl::Status Bad(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::StatusOr<trust::v1::SignersFile> ReadSigners(const std::string& path,
                                                   const trust::TrustDomain& trust_domain) {
  const absl::StatusOr<std::string> text = base::ReadFile(path, kMaxSignersFile);
  if (!text.ok()) return Bad(absl::StrCat("--signers: ", text.status().message()));
  trust::v1::SignersFile signers;
  const auto parsed = google::protobuf::util::JsonStringToMessage(*text, &signers);
  if (!parsed.ok()) {
    return Bad(absl::StrCat(
        "the signers file ", path,
        " is not what linchpin pins export --signers writes: ", std::string(parsed.message())));
  }
  if (signers.trust_domain() != trust_domain.name()) {
    return Bad(absl::StrCat("the signers file ", path, " is of trust domain '",
                            signers.trust_domain(), "', not of ", trust_domain.name()));
  }
  const absl::Status valid = trust::DecodeSigners(signers.signers()).status();
  if (!valid.ok()) return Bad(absl::StrCat("the signers file ", path, ": ", valid.message()));
  return signers;
}

absl::Status ReadKubernetes(const config::v1::AgentConfig& from, Config* config) {
  config->kubernetes = from.kubernetes();
  if (config->kubernetes.token_file().empty()) config->kubernetes.set_token_file(kTokenFile);
  if (!config->by_kubernetes) return absl::OkStatus();
  if (!from.join_token_file().empty()) {
    return Bad("--join-token-file is for --node-attestor join_token, not for k8s_psat");
  }
  if (config->kubernetes.cluster().empty()) {
    return Bad(
        "--node-attestor k8s_psat needs --kubernetes-cluster, as the CA's configuration "
        "names it");
  }
  return absl::OkStatus();
}

absl::Status ReadFirstContact(const config::v1::AgentConfig& from, Config* config) {
  if (from.ca_pin_size() > 0 && !from.signers().empty()) {
    return Bad("--ca-pin and --signers exclude each other: give one of them");
  }
  for (const std::string& text : from.ca_pin()) {
    const absl::StatusOr<x509::SpkiPin> pin = x509::SpkiPin::Parse(text);
    if (!pin.ok()) return Bad(absl::StrCat("--ca-pin: ", pin.status().message()));
    config->core.ca_pins.push_back(*pin);
  }
  if (!from.signers().empty()) {
    ASSIGN_OR_RETURN(config->core.signers, ReadSigners(from.signers(), config->core.trust_domain));
  }
  config->join_token_file = from.join_token_file();
  config->pin_set_file = from.pin_set_file();
  config->by_kubernetes = from.node_attestor() == "k8s_psat";
  if (!config->by_kubernetes && !from.node_attestor().empty() &&
      from.node_attestor() != "join_token") {
    return Bad(absl::StrCat("--node-attestor ", from.node_attestor(),
                            " is not known; join_token and k8s_psat are"));
  }
  config->can_begin = (from.ca_pin_size() > 0 || !from.signers().empty()) &&
                      (config->by_kubernetes || !from.join_token_file().empty());
  return ReadKubernetes(from, config);
}

}  // namespace

absl::StatusOr<Config> ReadConfig(const std::string& file, const config::v1::AgentConfig& flags,
                                  const std::string& version) {
  config::v1::AgentConfig from;
  if (!file.empty()) RETURN_IF_ERROR(base::LoadConfigFile(file, &from));
  if (flags.ca_pin_size() > 0) from.clear_ca_pin();
  from.MergeFrom(flags);
  if (from.data_dir().empty()) return Bad("--data-dir (data_dir) is missing");
  if (from.trust_domain().empty()) return Bad("--trust-domain (trust_domain) is missing");
  if (from.ca().empty()) return Bad("--ca (ca) is missing: HOST:PORT of the CA");
  const absl::StatusOr<trust::TrustDomain> trust_domain =
      trust::TrustDomain::FromName(from.trust_domain());
  if (!trust_domain.ok()) {
    return Bad(absl::StrCat("--trust-domain: ", trust_domain.status().message()));
  }
  const absl::Status address = rpc::CheckAddress(from.ca());
  if (!address.ok()) return Bad(absl::StrCat("--ca: ", address.message()));

  Config config{.core = {.trust_domain = *trust_domain}};
  std::error_code unknown;
  config.data_dir = std::filesystem::absolute(from.data_dir(), unknown).string();
  if (unknown) return Bad(absl::StrCat("--data-dir: ", unknown.message()));
  config.ca = from.ca();
  config.socket = from.socket().empty() ? config.data_dir + "/agent.sock" : from.socket();
  config.socket = std::string(absl::StripPrefix(config.socket, "unix://"));
  config.metrics = from.metrics().empty() ? "127.0.0.1:9465" : from.metrics();
  if (config.metrics == "off") config.metrics.clear();
  if (!config.metrics.empty()) {
    const absl::Status metrics = rpc::CheckAddress(config.metrics);
    if (!metrics.ok()) return Bad(absl::StrCat("--metrics: ", metrics.message()));
  }
  config.log_level = from.log_level().empty() ? "info" : from.log_level();
  ASSIGN_OR_RETURN(config.sandbox, base::ParseSandboxMode(from.sandbox()));
  if (!from.skew().empty() && from.skew() != "0s") {
    ASSIGN_OR_RETURN(config.core.skew, base::ParseDuration(from.skew(), "skew"));
    if (config.core.skew > kMostSkew) return Bad("--skew: at most 1h");
  } else if (from.skew() == "0s") {
    config.core.skew = absl::ZeroDuration();
  }
  if (!from.sds().bundle().empty()) {
    const auto kind = trust::ParseBundleKind(from.sds().bundle());
    if (!kind.ok()) return Bad(absl::StrCat("--sds-bundle: ", kind.status().message()));
    config.sds_bundle = *kind;
  }
  if (!from.workload_api().bundle().empty()) {
    const auto kind = trust::ParseBundleKind(from.workload_api().bundle());
    if (!kind.ok()) return Bad(absl::StrCat("--workload-api-bundle: ", kind.status().message()));
    config.workload_bundle = *kind;
  }
  config.core.renewals = !from.renewal_off();
  config.core.version = version;
  RETURN_IF_ERROR(ReadFirstContact(from, &config));
  return config;
}

absl::Status CheckCanBegin(const Config& config) {
  if (config.core.ca_pins.empty() && !config.core.signers.has_value()) {
    return Bad(
        "this node has not joined yet: give --ca-pin (linchpin ca pins) or --signers "
        "(linchpin pins export --signers), and --join-token-file or --node-attestor k8s_psat");
  }
  if (!config.by_kubernetes && config.join_token_file.empty()) {
    return Bad("this node has not joined yet: give --join-token-file (linchpin node token)");
  }
  return absl::OkStatus();
}

}  // namespace linchpin::agent
