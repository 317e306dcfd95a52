// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/config.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <unistd.h>

#include <climits>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/config_file.h"
#include "base/status_macros.h"
#include "ca/core/kubernetes_nodes.h"
#include "rpc/channel.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

// Sets a string field that is named by its path.
void SetField(const std::string& path, const std::string& value,
              google::protobuf::Message* config) {
  google::protobuf::Message* message = config;
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i < names.size(); ++i) {
    const auto* field = message->GetDescriptor()->FindFieldByName(names[i]);
    const auto* reflection = message->GetReflection();
    if (i + 1 < names.size()) {
      message = reflection->MutableMessage(message, field);
    } else {
      reflection->SetString(message, field, value);
    }
  }
}

absl::Status Invalid(absl::string_view field, absl::string_view value, absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is \"", value, "\"; ", expected, " is expected"));
}

// ENTRIES/LOSS, as the refusal to start ends with it.
absl::Status CheckNamesALoss(const std::string& text) {
  if (text.empty()) return absl::OkStatus();
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('/', 1));
  uint64_t entries = 0;
  const bool is_hex = !parts.second.empty() && parts.second.size() <= 16 &&
                      absl::c_all_of(parts.second, absl::ascii_isxdigit);
  if (is_hex && absl::SimpleAtoi(parts.first, &entries)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("accept_log_end is ", trust::Quoted(text),
                   "; ENTRIES/LOSS is expected, as the refusal to start names it"));
}

absl::Status SetDuration(const std::string& text, absl::string_view field, absl::Duration* out) {
  if (text.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(*out, base::ParseDuration(text, field));
  return absl::OkStatus();
}

absl::StatusOr<std::string> AbsolutePath(absl::string_view field, std::string path) {
  if (absl::StartsWith(path, "unix://")) path = path.substr(7);
  if (path.empty()) return Invalid(field, path, "a path");
  if (path.front() == '/') return path;
  char current[PATH_MAX];
  if (getcwd(current, sizeof(current)) == nullptr) return Invalid(field, path, "an absolute path");
  return absl::StrCat(current, "/", path);
}

absl::StatusOr<AuthoritySetup> ReadAuthority(const config::v1::CaConfig& config) {
  ASSIGN_OR_RETURN(trust::TrustDomain trust_domain,
                   trust::TrustDomain::FromName(config.trust_domain()));
  AuthoritySetup setup{.profile = {.trust_domain = std::move(trust_domain)}};
  const config::v1::AuthorityConfig& authority = config.authority();
  Profile& profile = setup.profile;
  RETURN_IF_ERROR(SetDuration(authority.root_ttl(), "authority.root_ttl", &profile.root_ttl));
  RETURN_IF_ERROR(SetDuration(authority.issuer_ttl(), "authority.issuer_ttl", &profile.issuer_ttl));
  RETURN_IF_ERROR(SetDuration(authority.leaf_ttl(), "authority.leaf_ttl", &profile.leaf_ttl));
  RETURN_IF_ERROR(SetDuration(authority.node_ttl(), "authority.node_ttl", &profile.node_ttl));
  const std::string& backdate = authority.backdate();
  if (backdate == "0" || backdate == "0s") {
    profile.backdate = absl::ZeroDuration();
  } else {
    RETURN_IF_ERROR(SetDuration(backdate, "authority.backdate", &profile.backdate));
  }
  RETURN_IF_ERROR(profile.Check());
  const std::string& type = authority.key_type();
  if (type == "p384") {
    setup.profile.key_type = x509::KeyType::kP384;
  } else if (!type.empty() && type != "p256") {
    return Invalid("authority.key_type", type, "p256 or p384");
  }
  const std::string& root = authority.root();
  if (!root.empty() && root != "generate" && root != "external") {
    return Invalid("authority.root", root, "generate or external");
  }
  setup.profile.external_root = root == "external";
  return setup;
}

absl::StatusOr<std::string> StorePath(const std::string& datastore, const std::string& data_dir) {
  if (datastore.empty()) return data_dir + "/store.db";
  absl::string_view rest = datastore;
  if (absl::ConsumePrefix(&rest, "sqlite://") && absl::StartsWith(rest, "/")) {
    return std::string(rest);
  }
  return Invalid("datastore", datastore,
                 "sqlite:///absolute/path (the only kind that this version "
                 "knows)");
}

absl::StatusOr<config::v1::CaKubernetesConfig> ReadKubernetes(config::v1::CaKubernetesConfig from) {
  if (from.cluster().empty()) {
    if (from.ByteSizeLong() == 0) return from;
    return absl::InvalidArgumentError(
        "kubernetes.cluster is missing; give --kubernetes-cluster, or none of its other fields");
  }
  if (!IsClusterName(from.cluster())) {
    return Invalid("kubernetes.cluster", from.cluster(), "1 to 32 of a-z, 0-9 and '-'");
  }
  if (from.audience().empty()) from.set_audience("linchpin-ca");
  if (from.agent_account().empty()) from.set_agent_account("linchpin:linchpin-agent");
  const std::vector<std::string> account = absl::StrSplit(from.agent_account(), ':');
  if (account.size() != 2 || account[0].empty() || account[1].empty()) {
    return Invalid("kubernetes.agent_account", from.agent_account(), "NAMESPACE:NAME");
  }
  if (from.objects().empty()) from.set_objects("off");
  if (from.objects() != "on" && from.objects() != "off") {
    return Invalid("kubernetes.objects", from.objects(), "on or off");
  }
  if (from.default_identity().empty()) from.set_default_identity("linchpin.dev/mesh=enabled");
  if (from.default_identity() != "off" &&
      from.default_identity().find('=', 1) == std::string::npos) {
    return Invalid("kubernetes.default_identity", from.default_identity(),
                   "a label of namespaces, NAME=VALUE, or off");
  }
  return from;
}

}  // namespace

CaFlags MakeCaFlags() {
  return {
      {"--data-dir", "data_dir", "where keys, store and issuance log live (required)", ""},
      {"--trust-domain", "trust_domain", "such as example.org (required)", ""},
      {"--listen", "listen", "HOST:PORT for nodes [127.0.0.1:8443]", ""},
      {"--admin-socket", "admin_socket", "Unix socket for operators [DATA_DIR/admin.sock]", ""},
      {"--admin-listen", "admin_listen",
       "HOST:PORT for operators with certificates (linchpin operator create) [none]", ""},
      {"--metrics", "metrics", "HOST:PORT of /metrics and /healthz, or off [127.0.0.1:9464]", ""},
      {"--datastore", "datastore", "[sqlite://DATA_DIR/store.db]", ""},
      {"--log-level", "log_level", "debug, info, warning or error [info]", ""},
      {"--accept-log-end", "accept_log_end",
       "ENTRIES/LOSS of an issuance log whose end is lost: go on without "
       "(docs/runbooks/lost-log.md)",
       ""},
      {"--sandbox", "sandbox",
       "give up capabilities and dangerous system calls: on, required or off [on]", ""},
      {"--authority-root", "authority.root",
       "generate, or external: kept offline (linchpin ca csr) [generate]", ""},
      {"--root-ttl", "authority.root_ttl", "life of the root [87600h]", ""},
      {"--issuer-ttl", "authority.issuer_ttl", "life of an issuer [2160h]", ""},
      {"--leaf-ttl", "authority.leaf_ttl", "life of a leaf where its identity names none [1h]", ""},
      {"--node-ttl", "authority.node_ttl", "life of a node's certificate [24h]", ""},
      {"--backdate", "authority.backdate", "of every certificate; may be 0s [60s]", ""},
      {"--key-type", "authority.key_type", "p256 or p384, of a first start [p256]", ""},
      {"--kubernetes-cluster", "kubernetes.cluster",
       "name of the cluster whose nodes attest by service-account tokens [none]", ""},
      {"--kubernetes-audience", "kubernetes.audience", "of their tokens [linchpin-ca]", ""},
      {"--kubernetes-agent-account", "kubernetes.agent_account",
       "NAMESPACE:NAME of the agents' service account [linchpin:linchpin-agent]", ""},
      {"--kubernetes-api-server", "kubernetes.api_server", "https://HOST:PORT [the pod's]", ""},
      {"--kubernetes-ca-file", "kubernetes.ca_file", "PEM, the API server's CA [the pod's]", ""},
      {"--kubernetes-token-file", "kubernetes.token_file",
       "the CA's own service-account token [the pod's]", ""},
      {"--kubernetes-objects", "kubernetes.objects",
       "go by the cluster's WorkloadIdentity and PeerPolicy objects: on or off [off]", ""},
      {"--kubernetes-default-identity", "kubernetes.default_identity",
       "pods of namespaces with this label have identities, until there is a WorkloadIdentity "
       "named "
       "default: NAME=VALUE or off [linchpin.dev/mesh=enabled]",
       ""},
  };
}

absl::StatusOr<CaSettings> ReadSettings(const std::string& config_file, const CaFlags& flags) {
  config::v1::CaConfig config;
  if (!config_file.empty()) RETURN_IF_ERROR(base::LoadConfigFile(config_file, &config));
  for (const CaFlag& flag : flags) {
    if (!flag.value.empty()) SetField(flag.field, flag.value, &config);
  }
  if (config.data_dir().empty()) {
    return absl::InvalidArgumentError(
        "data_dir is missing; give --data-dir, or the field in the config file");
  }
  if (config.trust_domain().empty()) {
    return absl::InvalidArgumentError(
        "trust_domain is missing; give --trust-domain, or the field in the config file");
  }
  CaSettings settings{.setup = {.profile = {.trust_domain = *trust::TrustDomain::FromName("x")}}};
  ASSIGN_OR_RETURN(settings.setup, ReadAuthority(config));
  ASSIGN_OR_RETURN(settings.data_dir, AbsolutePath("data_dir", config.data_dir()));
  ASSIGN_OR_RETURN(
      settings.admin_socket,
      AbsolutePath("admin_socket", config.admin_socket().empty() ? settings.data_dir + "/admin.sock"
                                                                 : config.admin_socket()));
  ASSIGN_OR_RETURN(settings.store_path, StorePath(config.datastore(), settings.data_dir));
  settings.listen = config.listen().empty() ? "127.0.0.1:8443" : config.listen();
  settings.admin_listen = config.admin_listen();
  settings.metrics = config.metrics().empty() ? "127.0.0.1:9464" : config.metrics();
  settings.log_level = config.log_level().empty() ? "info" : config.log_level();
  settings.accept_log_end = config.accept_log_end();
  RETURN_IF_ERROR(CheckNamesALoss(settings.accept_log_end));
  ASSIGN_OR_RETURN(settings.sandbox, base::ParseSandboxMode(config.sandbox()));
  ASSIGN_OR_RETURN(settings.kubernetes, ReadKubernetes(config.kubernetes()));
  RETURN_IF_ERROR(rpc::CheckAddress(settings.listen));
  if (!settings.admin_listen.empty()) RETURN_IF_ERROR(rpc::CheckAddress(settings.admin_listen));
  if (settings.metrics != "off") RETURN_IF_ERROR(rpc::CheckAddress(settings.metrics));
  return settings;
}

void DescribeMetrics(base::Metrics& metrics) {
  metrics.Describe("linchpin_ca_issued_total", "Certificates by kind and result");
  metrics.Describe("linchpin_ca_admin_calls_total", "Calls of operators by method and result");
  metrics.Describe("linchpin_ca_connected_nodes", "Nodes with a Sync stream");
  metrics.Describe("linchpin_ca_trust_epoch", "The current trust epoch");
  metrics.Describe("linchpin_ca_revision", "The store's revision");
  metrics.Describe("linchpin_ca_log_entries", "Durable entries of the issuance log");
  metrics.Describe("linchpin_ca_sandboxed",
                   "1 if capabilities and dangerous system calls were given up");
  metrics.Describe("linchpin_ca_rotation_step",
                   "Of the current rotation, as RotationStep in admin.proto; 9 and 10: it is over");
  metrics.Describe("linchpin_ca_backups", "Backup issuers that could take over");
  metrics.Describe("linchpin_ca_warnings",
                   "Things an operator should act on; see linchpin ca pins");
  metrics.Describe("linchpin_ca_authority_seconds_to_expiry", "Life left of each authority");
  metrics.Describe("linchpin_ca_refusal_reports_total",
                   "Refused connections that nodes reported, by reason");
  metrics.Describe("linchpin_ca_trust_refused_total", "Times that a node refused a trust state");
  metrics.Describe("linchpin_ca_reload_failures_total", "Times that the store could not be read");
}

}  // namespace linchpin::ca
