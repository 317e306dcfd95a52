// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// linchpin-ca: names the concrete store, key manager and attestors, and runs them.

#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/config_file.h"
#include "base/durable_file.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/process.h"
#include "base/sandbox.h"
#include "base/service_manager.h"
#include "base/status_macros.h"
#include "ca/attest/join_token.h"
#include "ca/attest/kubernetes.h"
#include "ca/keys/file_key_manager.h"
#include "ca/kubernetes/departed_nodes.h"
#include "ca/kubernetes/pin_sets.h"
#include "ca/kubernetes/source.h"
#include "ca/log/issuance_log.h"
#include "ca/server/authority_setup.h"
#include "ca/server/ca_server.h"
#include "ca/server/config.h"
#include "ca/server/waiting_server.h"
#include "ca/store/sqlite_store.h"
#include "kube/api_client.h"
#include "rpc/grpc_log.h"
#include "x509/locked_heap.h"
#include "x509/spki_pin.h"

namespace linchpin::ca {
namespace {

constexpr int kUsage = 2;

// One stop, asked for by a signal.
class StopSignal {
 public:
  void Ask() {
    base::MutexLock lock(mutex_);
    asked_ = true;
    changed_.notify_all();
  }
  // False: what else was waited for has come first, once (see Go()).
  bool Wait() {
    base::MutexLock lock(mutex_);
    changed_.wait(lock, [this] { return asked_ || go_; });
    go_ = false;
    return asked_;
  }
  void Go() {
    base::MutexLock lock(mutex_);
    go_ = true;
    changed_.notify_all();
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  bool asked_ = false;
  bool go_ = false;
};

struct Metered {
  base::Metrics metrics;
  std::unique_ptr<base::MetricsServer> server;
};

// What the process gave up at its start.
struct Confined {
  base::Sandbox sandbox;
  absl::Status locked_heap;
};

absl::StatusOr<std::unique_ptr<kube::Api>> MakeApi(const config::v1::CaKubernetesConfig& config) {
  ASSIGN_OR_RETURN(kube::ApiServer server,
                   kube::CompleteApiServer({.url = config.api_server(),
                                            .ca_file = config.ca_file(),
                                            .token_file = config.token_file()}));
  return kube::ApiClient::Make(std::move(server));
}

template <typename Message>
absl::StatusOr<Message> AskAndWait(CaServer& server, const Asker& asker, AdminRequest request) {
  std::promise<absl::StatusOr<Message>> told;
  server.Ask(asker, std::move(request),
             [&told](const absl::Status& status, const google::protobuf::Message* message) {
               if (!status.ok()) return told.set_value(status);
               told.set_value(dynamic_cast<const Message&>(*message));
             });
  return told.get_future().get();
}

// The pins that `linchpin ca pins` prints, the root's first.
std::vector<std::string> PinsOf(CaServer& server, const Asker& asker) {
  std::vector<std::string> pins;
  const auto all = AskAndWait<v1::Authorities>(server, asker, v1::GetAuthoritiesRequest());
  if (!all.ok()) return pins;
  for (const v1::Authority& one : all->authorities()) {
    const auto pin = x509::SpkiPin::FromBytes(one.spki_sha256());
    if (pin.ok()) pins.push_back(pin->ToString());
  }
  return pins;
}

// The cluster's objects, as long as it lives.
struct Objects {
  std::unique_ptr<kube::Api> api;
  std::unique_ptr<KubernetesSource> source;
  std::unique_ptr<PinSetObjects> pin_sets;
  std::unique_ptr<NodesOfCluster> nodes;
};

std::unique_ptr<NodesOfCluster> FollowNodes(NodesOfCluster::Options options, const Asker& asker,
                                            CaServer& server, kube::Api& api,
                                            const base::Clock& clock) {
  options.nodes = [&server, asker] {
    return AskAndWait<v1::NodeList>(server, asker, v1::ListNodesRequest());
  };
  options.coverage = [&server, asker] {
    return AskAndWait<v1::Coverage>(server, asker, v1::CoverageRequest());
  };
  options.forget = [&server, asker](const std::string& node_id) {
    return AskAndWait<v1::Node>(server, asker, ForgetNode{node_id}).status();
  };
  return std::make_unique<NodesOfCluster>(std::move(options), api, clock);
}

std::string ObjectsSource(const config::v1::CaKubernetesConfig& config) {
  return config.objects() == "on" ? SourcePrefix(config.cluster()) : "";
}

absl::StatusOr<Objects> FollowObjects(const CaSettings& settings, CaServer& server,
                                      const base::Clock& clock) {
  const config::v1::CaKubernetesConfig& config = settings.kubernetes;
  Objects objects;
  if (config.objects() != "on") return objects;
  ASSIGN_OR_RETURN(objects.api, MakeApi(config));
  const Asker asker{.on_socket = true,
                    .name = absl::StrCat("kubernetes:", config.cluster()),
                    .from = "its objects"};
  const std::vector<std::string> account = absl::StrSplit(config.agent_account(), ':');
  std::optional<WorkloadIdentity> default_identity;
  if (config.default_identity() != "off") {
    default_identity = IdentityOfLabel(config.default_identity());
  }
  objects.source = std::make_unique<KubernetesSource>(
      KubernetesSource::Options{.trust_domain = settings.setup.profile.trust_domain,
                                .cluster = config.cluster(),
                                .own_namespace = account[0],
                                .ca_pins = PinsOf(server, asker),
                                .default_identity = std::move(default_identity)},
      *objects.api, clock,
      [&server, asker](ApplyKubernetes asked, std::function<void(const absl::Status&)> answer) {
        server.Ask(
            asker, std::move(asked),
            [answer = std::move(answer)](const absl::Status& status,
                                         const google::protobuf::Message*) { answer(status); });
      });
  objects.pin_sets = std::make_unique<PinSetObjects>(
      *objects.api, objects.source->standings(),
      [&server, asker](trust::v1::SignedPinSet set, PinSetObjects::Published answer) {
        server.Ask(asker, PublishPinSet{std::move(set)},
                   [answer = std::move(answer)](const absl::Status& status,
                                                const google::protobuf::Message* message) {
                     answer(status,
                            status.ok()
                                ? dynamic_cast<const v1::PinSetPublished&>(*message).version()
                                : 0);
                   });
      });
  objects.nodes = FollowNodes(
      {.trust_domain = settings.setup.profile.trust_domain, .cluster = config.cluster()}, asker,
      server, *objects.api, clock);
  return objects;
}

absl::StatusOr<std::unique_ptr<NodeVerifier>> MakeKubernetesVerifier(
    const config::v1::CaKubernetesConfig& config) {
  ASSIGN_OR_RETURN(std::unique_ptr<kube::Api> api, MakeApi(config));
  const std::vector<std::string> account = absl::StrSplit(config.agent_account(), ':');
  return std::make_unique<KubernetesVerifier>(
      KubernetesVerifier::Options{.cluster = config.cluster(),
                                  .audience = config.audience(),
                                  .agent_namespace = account[0],
                                  .agent_account = account[1]},
      std::move(api));
}

// At a first start under a root that is kept offline, until its certificates are here. False: it is
// to stop before.
absl::StatusOr<bool> WaitForCertificates(const CaSettings& settings, WaitingParts parts,
                                         StopSignal& stop) {
  ASSIGN_OR_RETURN(const AwaitedRows awaited, AwaitedAtStart(parts.store));
  if (awaited.empty()) return true;
  ASSIGN_OR_RETURN(const auto waiting, WaitingServer::Start(settings.admin_socket, settings.setup,
                                                            parts, [&stop] { stop.Go(); }));
  Metered metered;
  if (settings.metrics != "off") {
    auto started = base::MetricsServer::Start(settings.metrics, metered.metrics,
                                              [] { return WaitingServer::WaitsFor(); });
    if (started.ok()) metered.server = *std::move(started);
  }
  base::LogWarning(WaitingServer::WaitsFor(), {{"admin_socket", settings.admin_socket}});
  // It may take days, and a service manager is not to lose its patience.
  if (absl::Status told = base::NotifyReady(); !told.ok()) base::LogWarning(told.message());
  const bool is_to_stop = stop.Wait();
  if (is_to_stop) (void)base::NotifyStopping();
  return !is_to_stop;
}

absl::Status Serve(const CaSettings& settings, const Confined& confined, StopSignal& stop) {
  base::LogSandbox(confined.sandbox);
  if (!confined.locked_heap.ok()) base::LogWarning(confined.locked_heap.message());
  RETURN_IF_ERROR(base::EnsureDirectory(settings.data_dir, 0700));
  ASSIGN_OR_RETURN(const base::DirectoryLock lock, base::DirectoryLock::Acquire(settings.data_dir));
  ASSIGN_OR_RETURN(const std::unique_ptr<SqliteStore> store,
                   SqliteStore::Open(settings.store_path));
  ASSIGN_OR_RETURN(const std::unique_ptr<FileKeyManager> keys,
                   FileKeyManager::Make(settings.data_dir + "/keys"));
  const absl::StatusOr<int> left = base::RemoveTemporaries(settings.data_dir + "/keys");
  if (!left.ok()) base::LogWarning(left.status().message());
  ASSIGN_OR_RETURN(const std::unique_ptr<IssuanceLog> log,
                   IssuanceLog::Open(settings.data_dir + "/log"));
  if (!log->recovered().empty()) base::LogWarning(log->recovered());
  const base::Clock& clock = base::SystemClock();
  RETURN_IF_ERROR(SetUpAuthorities(*store, *keys, settings.setup, clock.Now()));
  ASSIGN_OR_RETURN(const bool complete,
                   WaitForCertificates(settings, {*store, *keys, clock}, stop));
  if (!complete) return absl::OkStatus();

  Metered metered;
  DescribeMetrics(metered.metrics);
  metered.metrics.Set("linchpin_ca_sandboxed", confined.sandbox.entered ? 1 : 0);
  ServerOptions options{.core = {.profile = settings.setup.profile,
                                 .objects_source = ObjectsSource(settings.kubernetes)},
                        .listen = settings.listen,
                        .admin_socket = settings.admin_socket,
                        .admin_listen = settings.admin_listen,
                        .verifiers = {},
                        .accept_log_end = settings.accept_log_end};
  options.verifiers.push_back(std::make_unique<JoinTokenVerifier>());
  options.verifiers.push_back(std::make_unique<ExpiredCertificateVerifier>());
  if (!settings.kubernetes.cluster().empty()) {
    ASSIGN_OR_RETURN(std::unique_ptr<NodeVerifier> verifier,
                     MakeKubernetesVerifier(settings.kubernetes));
    options.verifiers.push_back(std::move(verifier));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<CaServer> server,
                   CaServer::Start(std::move(options), {.store = *store,
                                                        .keys = *keys,
                                                        .log = *log,
                                                        .clock = clock,
                                                        .metrics = metered.metrics}));
  ASSIGN_OR_RETURN(Objects objects, FollowObjects(settings, *server, clock));
  if (settings.metrics != "off") {
    auto started = base::MetricsServer::Start(settings.metrics, metered.metrics,
                                              [&server] { return server->NotReady(); });
    if (started.ok()) {
      metered.server = *std::move(started);
    } else {  // whoever holds the port must not be able to stop the CA
      base::LogError("goes on without metrics until it is restarted",
                     {{"error", std::string(started.status().message())}});
    }
  }
  base::LogInfo("serving", {{"trust_domain", settings.setup.profile.trust_domain.name()},
                            {"listen", settings.listen},
                            {"port", absl::StrCat(server->port())},
                            {"admin_socket", settings.admin_socket},
                            {"data_dir", settings.data_dir}});
  if (absl::Status told = base::NotifyReady(); !told.ok()) base::LogWarning(told.message());
  while (!stop.Wait()) {
  }
  (void)base::NotifyStopping();
  base::LogInfo("stopping: says goodbye to the nodes and finishes what is under way");
  { const Objects over = std::move(objects); }  // the last first
  server->Stop();
  metered.server.reset();
  return absl::OkStatus();
}

int Fail(const absl::Status& status, int code) {
  std::string line(status.message());
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  std::fprintf(stderr, "linchpin-ca: %s\n", line.c_str());
  return code;
}

// Flags are the config's fields; what is given on the command line wins.
void AddFlags(CLI::App* run, std::string* config_file, CaFlags* flags) {
  run->add_option("--config", *config_file, "YAML file; each flag below is a field of it");
  for (CaFlag& flag : *flags) {
    run->add_option(flag.name, flag.value, flag.help);
  }
}

int Main(int argc, char** argv) {
  CLI::App app("linchpin-ca: the internal CA of Linchpin");
  app.set_version_flag("--version", std::string("linchpin-ca ") + LINCHPIN_VERSION);
  app.require_subcommand(1);
  CLI::App* run = app.add_subcommand("run", "serve nodes and operators until SIGTERM");
  std::string config_file;
  CaFlags flags = MakeCaFlags();
  AddFlags(run, &config_file, &flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    return Fail(absl::InvalidArgumentError(absl::StrCat(error.what(), "; see --help")), kUsage);
  }
  const absl::StatusOr<CaSettings> settings = ReadSettings(config_file, flags);
  if (!settings.ok()) return Fail(settings.status(), kUsage);
  if (absl::Status log = base::InitLog("linchpin-ca", settings->log_level); !log.ok()) {
    return Fail(log, kUsage);
  }
  rpc::QuietGrpcLog();
  rpc::TrustGrpcLocks();
  umask(0077);
  base::KeepMemoryPrivate();
  base::RaiseOpenFiles();
  const absl::Status locked = x509::UseLockedHeap();
  const absl::StatusOr<base::Sandbox> sandbox =
      base::EnterSandbox(settings->sandbox, base::CapabilityToListenOn(settings->listen) |
                                                base::CapabilityToListenOn(settings->admin_listen) |
                                                base::CapabilityToListenOn(settings->metrics));
  if (!sandbox.ok()) return Fail(sandbox.status(), 1);
  // Outlives the thread that OnSignals() makes.
  static auto& stop = *new StopSignal;
  base::OnSignals([](int) { stop.Ask(); });
  const absl::Status served = Serve(*settings, {*sandbox, locked}, stop);
  return served.ok() ? 0 : Fail(served, 1);
}

}  // namespace
}  // namespace linchpin::ca

int main(int argc, char** argv) { return linchpin::ca::Main(argc, argv); }
