// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// linchpin-agent: reads flags and configuration, opens the data directory, runs.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/attest/kubernetes_attestor.h"
#include "agent/attest/node_evidence.h"
#include "agent/attest/pod_memory.h"
#include "agent/attest/pod_table.h"
#include "agent/attest/unix_attestor.h"
#include "agent/config.h"
#include "agent/server/runtime.h"
#include "agent/server/sealed_state.h"
#include "base/durable_file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/mutex.h"
#include "base/process.h"
#include "base/run_loop.h"
#include "base/sandbox.h"
#include "base/service_manager.h"
#include "base/status_macros.h"
#include "kube/api_client.h"
#include "kube/watch.h"
#include "rpc/grpc_log.h"
#include "x509/locked_heap.h"

namespace linchpin::agent {
namespace {

constexpr char kVersion[] = LINCHPIN_VERSION;
constexpr int kFailed = 1;
constexpr int kBadUsage = 2;

// What a flag gave replaces what the file says.
void AddFlags(CLI::App* run, config::v1::AgentConfig* flags, std::string* file,
              std::vector<std::string>* pins) {
  const auto text = [run](const char* name, std::string* field, const char* help) {
    run->add_option(name, *field, help);
  };
  run->add_option("--config", *file, "YAML file with the fields of AgentConfig; flags win");
  text("--data-dir", flags->mutable_data_dir(), "where the agent keeps its state");
  text("--trust-domain", flags->mutable_trust_domain(), "for example example.org");
  text("--ca", flags->mutable_ca(), "HOST:PORT of the CA");
  run->add_option("--ca-pin", *pins,
                  "sha256:<base64> of the root's or the issuer's key, for the first start; may be "
                  "given more than once (linchpin ca pins)")
      ->allow_extra_args(false);
  text("--signers", flags->mutable_signers(),
       "file of pin-set signers, for the first start (linchpin pins export --signers)");
  text("--join-token-file", flags->mutable_join_token_file(),
       "file with a token, for the first start (linchpin node token)");
  text("--pin-set-file", flags->mutable_pin_set_file(),
       "file or directory with signed pin sets, looked at again and again (linchpin pins export)");
  text("--node-attestor", flags->mutable_node_attestor(),
       "how the node proves itself: join_token or k8s_psat (join_token)");
  config::v1::AgentKubernetesConfig* kubernetes = flags->mutable_kubernetes();
  text("--kubernetes-cluster", kubernetes->mutable_cluster(),
       "its name, as the CA's configuration has it");
  text("--kubernetes-token-file", kubernetes->mutable_token_file(),
       "service-account token for the CA (/run/secrets/linchpin/token)");
  text("--kubernetes-node", kubernetes->mutable_node(),
       "this node's name there: its pods have k8s: selectors");
  text("--kubernetes-api-server", kubernetes->mutable_api_server(),
       "https://HOST:PORT (the pod's)");
  text("--kubernetes-ca-file", kubernetes->mutable_ca_file(),
       "PEM, the API server's CA (the pod's)");
  text("--kubernetes-api-token-file", kubernetes->mutable_api_token_file(),
       "service-account token for the API server (the pod's)");
  text("--socket", flags->mutable_socket(), "path of the services' socket (DATA_DIR/agent.sock)");
  text("--metrics", flags->mutable_metrics(),
       "HOST:PORT of /metrics, /healthz and /readyz, or off (127.0.0.1:9465)");
  text("--log-level", flags->mutable_log_level(), "debug, info, warning or error");
  text("--sandbox", flags->mutable_sandbox(),
       "give up capabilities and dangerous system calls: on, required or off (on)");
  text("--sds-bundle", flags->mutable_sds()->mutable_bundle(),
       "what Envoy anchors peers at: pinned issuers or roots (pinned)");
  text("--workload-api-bundle", flags->mutable_workload_api()->mutable_bundle(),
       "what clients of the SPIFFE Workload API are anchored at: pinned or roots (pinned)");
  text("--skew", flags->mutable_skew(), "allowance on NotBefore for clocks that differ (60s)");
  run->add_flag_function(
      "--renewal-off", [flags](int64_t) { flags->set_renewal_off(true); },
      "for drills and tests: certificates run out");
}

int Fail(const absl::Status& status, int code) {
  std::string line(status.message());
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  std::fprintf(stderr, "linchpin-agent: %s\n", line.c_str());
  return code;
}

struct Opened {
  base::DirectoryLock lock;
  SealedState sealed;
  std::optional<state::v1::AgentState> state;
};

// Another process's directory, another trust domain's or a newer format's are left alone.
absl::StatusOr<Opened> OpenDataDirectory(const Config& config) {
  const std::string hidden = config.data_dir + "/private";
  RETURN_IF_ERROR(base::EnsureDirectory(config.data_dir, 0711));
  RETURN_IF_ERROR(base::EnsureDirectory(hidden, 0700));
  ASSIGN_OR_RETURN(base::DirectoryLock lock, base::DirectoryLock::Acquire(hidden));
  const absl::StatusOr<int> left = base::RemoveTemporaries(hidden);
  if (!left.ok()) base::LogWarning(left.status().message());
  const auto load = [&]() -> absl::StatusOr<Opened> {
    ASSIGN_OR_RETURN(SealedState sealed, SealedState::Open(hidden));
    ASSIGN_OR_RETURN(std::optional<state::v1::AgentState> state, sealed.Load());
    if (state.has_value()) {
      RETURN_IF_ERROR(
          DecodeState(*state, config.core.trust_domain, base::SystemClock().Now(), config.core.skew)
              .status());
    }
    return Opened{std::move(lock), std::move(sealed), std::move(state)};
  };
  absl::StatusOr<Opened> opened = load();
  if (!absl::IsDataLoss(opened.status())) return opened;
  if (!config.can_begin) {
    return absl::DataLossError(absl::StrCat(opened.status().message(),
                                            "; restore it, or give --ca-pin or --signers and "
                                            "--join-token-file to let this node join again"));
  }
  ASSIGN_OR_RETURN(const std::string aside, MoveStateAside(hidden));
  base::LogError("the sealed state is damaged; it was moved aside and this node joins again",
                 {{"error", std::string(opened.status().message())}, {"moved_to", aside}});
  return load();
}

// A signal stops the runtime, or one that is still being made as soon as it is there.
class Stopper {
 public:
  void Signal() {
    base::MutexLock lock(mutex_);
    stopped_ = true;
    if (runtime_ != nullptr) runtime_->Stop();
  }
  void Use(Runtime* runtime) {
    base::MutexLock lock(mutex_);
    runtime_ = runtime;
    if (stopped_ && runtime_ != nullptr) runtime_->Stop();
  }

 private:
  base::Mutex mutex_;
  bool stopped_ = false;
  Runtime* runtime_ = nullptr;
};

// What the process gave up at its start.
struct Confined {
  base::Sandbox sandbox;
  absl::Status locked_heap;
};

// The pods of this node, where it is one of a cluster.
struct Pods {
  explicit Pods(WorkloadAttestor& processes) : attestor(processes, table) {}
  // Null: it is none.
  static absl::StatusOr<std::unique_ptr<Pods>> Make(const Config& all,
                                                    WorkloadAttestor& processes) {
    const config::v1::AgentKubernetesConfig& config = all.kubernetes;
    if (config.node().empty()) return nullptr;
    ASSIGN_OR_RETURN(kube::ApiServer server,
                     kube::CompleteApiServer({.url = config.api_server(),
                                              .ca_file = config.ca_file(),
                                              .token_file = config.api_token_file()}));
    auto pods = std::make_unique<Pods>(processes);
    ASSIGN_OR_RETURN(pods->api, kube::ApiClient::Make(std::move(server)));
    pods->node = config.node();
    const std::string hidden = all.data_dir + "/private";
    ASSIGN_OR_RETURN(x509::SecretBytes key, ReadSealingKey(hidden));
    pods->memory =
        std::make_unique<PodMemory>(PodMemory::File{hidden + "/pods.sealed", std::move(key)},
                                    pods->node, pods->table, base::SystemClock());
    pods->memory->Recall();
    return pods;
  }
  void Follow(Runtime& runtime) {
    table.OnChange([this, &runtime](const std::string& uid) {
      runtime.AttestAgain(uid);
      memory->Changed();
    });
    watch = std::make_unique<kube::Watch>(*api, PodsOfNode(node), table);
  }

  std::string node;
  PodTable table;
  KubernetesAttestor attestor;
  std::unique_ptr<PodMemory> memory;
  std::unique_ptr<kube::ApiClient> api;
  std::unique_ptr<kube::Watch> watch;
};

absl::Status Serve(Config config, const Confined& confined) {
  // A start that cannot work touches nothing.
  std::error_code unreadable;
  if (!std::filesystem::exists(config.data_dir + "/private/state.sealed", unreadable)) {
    RETURN_IF_ERROR(CheckCanBegin(config));
  }
  static Stopper& stopper = *new Stopper();  // for ever: its thread is never joined
  base::OnSignals([](int) { stopper.Signal(); });
  ASSIGN_OR_RETURN(Opened opened, OpenDataDirectory(config));
  const bool attested =
      opened.state.has_value() && opened.state->node_certificate().chain_size() > 0;
  if (!attested) RETURN_IF_ERROR(CheckCanBegin(config));
  base::LogSandbox(confined.sandbox);
  if (!confined.locked_heap.ok()) base::LogWarning(confined.locked_heap.message());
  UnixAttestor processes;
  ASSIGN_OR_RETURN(const std::unique_ptr<Pods> pods, Pods::Make(config, processes));
  WorkloadAttestor& attestor = pods == nullptr ? static_cast<WorkloadAttestor&>(processes)
                                               : static_cast<WorkloadAttestor&>(pods->attestor);
  NodeEvidence evidence =
      config.by_kubernetes
          ? EvidenceByKubernetes(config.kubernetes.cluster(), config.kubernetes.token_file())
          : EvidenceByJoinToken(config.join_token_file);
  ASSIGN_OR_RETURN(std::unique_ptr<Runtime> runtime,
                   Runtime::Start({.core = std::move(config.core),
                                   .ca_address = config.ca,
                                   .evidence = std::move(evidence),
                                   .pin_set_file = config.pin_set_file,
                                   .socket = config.socket,
                                   .metrics = config.metrics,
                                   .sandboxed = confined.sandbox.entered,
                                   .sds_bundle = config.sds_bundle,
                                   .workload_bundle = config.workload_bundle,
                                   .sealed = std::move(opened.sealed),
                                   .state = std::move(opened.state),
                                   .attestor = attestor,
                                   .clock = base::SystemClock()}));
  if (pods != nullptr) pods->Follow(*runtime);
  stopper.Use(runtime.get());
  base::LogInfo("serving", {{"socket", config.socket}, {"ca", config.ca}});
  if (absl::Status told = base::NotifyReady(); !told.ok()) base::LogWarning(told.message());
  runtime->Run();
  stopper.Use(nullptr);
  if (pods != nullptr) pods->watch.reset();
  (void)base::NotifyStopping();
  base::LogInfo("stopping");
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  base::UseLittleMemory();
  CLI::App app{"Node agent of Linchpin: obtains, renews and serves this node's identities."};
  app.set_version_flag("--version", std::string("linchpin-agent ") + kVersion);
  app.require_subcommand(1);
  CLI::App* run = app.add_subcommand("run", "Run the agent");
  config::v1::AgentConfig flags;
  std::string file;
  std::vector<std::string> pins;
  AddFlags(run, &flags, &file, &pins);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return Fail(absl::InvalidArgumentError(absl::StrCat(error.what(), " (see --help)")), kBadUsage);
  }
  for (const std::string& pin : pins) flags.add_ca_pin(pin);
  absl::StatusOr<Config> config = ReadConfig(file, flags, kVersion);
  if (!config.ok()) return Fail(config.status(), kBadUsage);
  const absl::Status log = base::InitLog("linchpin-agent", config->log_level);
  if (!log.ok()) return Fail(log, kBadUsage);
  rpc::QuietGrpcLog();
  rpc::TrustGrpcLocks();
  base::KeepMemoryPrivate();
  base::RaiseOpenFiles();
  const absl::Status locked = x509::UseLockedHeap();
  // To see which program of another user is asking, also where that user's directories are closed.
  const absl::StatusOr<base::Sandbox> sandbox =
      base::EnterSandbox(config->sandbox, base::kCapSysPtrace | base::kCapDacReadSearch |
                                              base::CapabilityToListenOn(config->metrics));
  if (!sandbox.ok()) return Fail(sandbox.status(), kFailed);
  const absl::Status served = Serve(*std::move(config), {*sandbox, locked});
  if (absl::IsInvalidArgument(served)) return Fail(served, kBadUsage);
  return served.ok() ? 0 : Fail(served, kFailed);
}

}  // namespace
}  // namespace linchpin::agent

int main(int argc, char** argv) { return linchpin::agent::Main(argc, argv); }
