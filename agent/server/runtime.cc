// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/runtime.h"

#include <grpcpp/completion_queue.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/server/survivors.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/status_macros.h"
#include "rpc/health.h"
#include "rpc/reflection.h"

namespace linchpin::agent {
namespace {

constexpr absl::Duration kBetweenLooks = absl::Seconds(10);  // at gauges that change with time
constexpr size_t kBurst = 32;  // steps between two looks, after which memory is given back
constexpr absl::Duration kAfterSeal = absl::Seconds(1);  // memory is given back
constexpr absl::Duration kDrain = absl::Seconds(2);
constexpr char kHashes[] = "unix:sha256:";
constexpr mode_t kSocketMode = 0666;  // the kernel says who is asking

bool AsksForHashes(const sync::Projection& projection) {
  return std::any_of(
      projection.identities.begin(), projection.identities.end(), [](const auto& entry) {
        const auto& selectors = entry.second.selectors();
        return std::any_of(selectors.begin(), selectors.end(), [](const std::string& selector) {
          return absl::StartsWith(selector, kHashes);
        });
      });
}

absl::Status Told(absl::Status queued) {
  if (absl::IsResourceExhausted(queued)) base::LogError(std::string(queued.message()));
  return queued;
}

// gRPC's library waits up to 10 s for its own poller when its last object goes: one stays.
void KeepLibrary() {
  static grpc::CompletionQueue& kept = *new grpc::CompletionQueue();
  (void)kept;
}

constexpr std::pair<const char*, const char*> kMetrics[] = {
    {"linchpin_agent_seconds_to_expiry", "of each certificate that this node holds"},
    {"linchpin_agent_renewals_total", "certificates asked for, by result and reason"},
    {"linchpin_agent_trust_epoch", "sealed and in use for the node's own connections"},
    {"linchpin_agent_pin_set_version", "of the signed pin set in force; 0: unsigned"},
    {"linchpin_agent_subscribers", "streams of services that are open"},
    {"linchpin_agent_sandboxed", "1 if capabilities and dangerous system calls were given up"},
    {"linchpin_agent_connected", "1 while the stream from the CA is open"},
    {"linchpin_agent_attestations_total", "of this node"},
    {"linchpin_agent_attestations_failed_total", "of this node"},
    {"linchpin_agent_first_contacts_failed_total", "no CA, or one that did not pass"},
    {"linchpin_agent_trust_refused_total", "trust states of the CA that were not taken"},
    {"linchpin_agent_seals_failed_total", "times that the state could not be written"},
    {"linchpin_agent_disconnects_total", "ends of the stream from the CA"},
    {"linchpin_agent_bad_messages_total", "of the CA, answered by asking for a snapshot"},
    {"linchpin_agent_bad_reports_total", "of services, about what was not delivered to them"},
    {"linchpin_agent_secrets_refused_total", "responses that an Envoy did not take"},
    {"linchpin_agent_clock_alarms_total",
     "times that this clock and the CA's were found to differ"},
    {"linchpin_agent_seconds_to_pin_expiry", "of the signed pin set in force"},
    {"linchpin_agent_pins_relaxed", "1 while the issuers' pins are only reported"},
    {"linchpin_agent_pin_concerns", "1 for each kind of thing to look at in the pins in force"},
    {"linchpin_agent_pin_alarms_total", "things to look at in the pins in force, as they came up"},
    {"linchpin_agent_wrong_documents_total", "freshness statements and files that were left out"},
    {"linchpin_agent_expired_total", "certificates that ran out before they could be renewed"},
};

}  // namespace

void Runtime::Thread::Join() {
  loop.Stop();
  if (thread_.joinable()) thread_.join();
}

Runtime::Runtime(Parts parts)
    : parts_(std::move(parts)),
      loop_(parts_.clock),
      core_(parts_.core, base::SystemRandom()),
      worker_(parts_.clock) {
  for (const auto& [name, help] : kMetrics) metrics_.Describe(name, help);
  metrics_.Set("linchpin_agent_sandboxed", parts_.sandboxed ? 1 : 0);
  if (!parts_.pin_set_file.empty()) {
    pin_files_.emplace(parts_.pin_set_file, parts_.core.trust_domain);
  }
  ca_ = std::make_unique<CaClient>(
      CaClient::Parts{.address = parts_.ca_address,
                      .evidence = parts_.evidence,
                      .clock = parts_.clock,
                      .worker = worker_.loop,
                      .post = [this](Event event, std::function<void()> then) {
                        return PostThen(std::move(event), std::move(then));
                      }});
  streams_ = std::make_unique<ConsumerStreams>(ConsumerStreams::Parts{
      .attestor = parts_.attestor,
      .attesting = attesting_,
      .clock = parts_.clock,
      .post =
          [this](Event event, std::function<void()> then) {
            return PostThen(std::move(event), std::move(then));
          },
      .take =
          [this](Event event, std::function<void()> then) {
            return Told(loop_.RunOrPost(Taking(std::move(event), std::move(then))));
          },
      .end =
          [this](Event event, std::function<void()> then) {
            loop_.PostEnd(Taking(std::move(event), std::move(then)));
          }});
  contexts_ = std::make_unique<ContextService>(
      *streams_, [this](v1::ReportRequest report, std::function<void(absl::Status)> done) {
        Report(std::move(report), std::move(done));
      });
  secrets_ = std::make_unique<SecretDiscoveryService>(SecretDiscoveryService::Parts{
      .streams = *streams_,
      .clock = parts_.clock,
      .bundle = parts_.sds_bundle,
      .refused = [this](const ConsumerId& consumer, const std::string& why) {
        SecretRefused(consumer, why);
      }});
  workload_api_ = std::make_unique<WorkloadApiService>(
      *streams_, parts_.clock,
      WorkloadApiService::Options{.trust_domain = parts_.core.trust_domain.name(),
                                  .bundle = parts_.workload_bundle});
}

absl::StatusOr<std::unique_ptr<Runtime>> Runtime::Start(Parts parts) {
  std::optional<state::v1::AgentState> state = std::exchange(parts.state, std::nullopt);
  parts.core.boot_id = BootId();
  Survivors survivors;
  if (state.has_value()) survivors = FindSurvivors(state->served());
  std::vector<ProcessId> alive;
  for (const auto& [process, peer] : survivors) alive.push_back(process);
  std::unique_ptr<Runtime> runtime(new Runtime(std::move(parts)));
  (void)runtime->loop_.Post(
      [runtime = runtime.get(), state = std::move(state), alive = std::move(alive)]() mutable {
        Event started = event::Started{std::move(state), std::move(alive)};
        runtime->Step(started);
        auto& used = std::get<event::Started>(started).state;
        if (used.has_value()) WipeKeys(&*used);
      });
  for (auto& [process, peer] : survivors) runtime->streams_->WatchExit(process, std::move(peer));
  RETURN_IF_ERROR(runtime->Listen());
  return runtime;
}

absl::Status Runtime::Listen() {
  ASSIGN_OR_RETURN(const rpc::LocalServer::Options options,
                   rpc::LocalServer::Options::ForThisProcess());
  ASSIGN_OR_RETURN(server_, rpc::LocalServer::Bind(parts_.socket, kSocketMode, options));
  KeepLibrary();
  rpc::LocalMethods methods;
  contexts_->AddTo(methods);
  secrets_->AddTo(methods);
  workload_api_->AddTo(methods);
  rpc::AddHealth(methods);
  rpc::AddReflection(methods);
  server_->Start(std::move(methods));
  ServeMetrics();
  return absl::OkStatus();
}

// Whoever holds the port must not be able to stop the agent.
void Runtime::ServeMetrics() {
  if (parts_.metrics.empty() || metrics_server_ != nullptr) return;
  auto started = base::MetricsServer::Start(parts_.metrics, metrics_, [this] {
    base::MutexLock lock(ready_mutex_);
    return not_ready_;
  });
  if (started.ok()) {
    metrics_server_ = *std::move(started);
  } else if (!std::exchange(metrics_missed_, true)) {
    base::LogError("goes on without metrics, and tries again",
                   {{"error", std::string(started.status().message())}});
  }
}

Runtime::~Runtime() {
  loop_.Stop();
  metrics_server_.reset();
  if (server_ != nullptr) server_->Stop();
  streams_->EndAll(absl::UnavailableError("the agent is stopping"));
  if (server_ != nullptr) server_->Shutdown(kDrain);
  const bool looked = attesting_.Stop(kDrain);
  worker_.Join();  // what was to be sealed is
  if (!looked) {
    base::LogWarning("ends while a file system or a directory service does not answer");
    std::_Exit(0);  // a thread that is stuck there uses what would go now
  }
  ca_.reset();
  server_.reset();
  workload_api_.reset();
  secrets_.reset();
  contexts_.reset();
  streams_.reset();
}

void Runtime::Run() {
  Tick();
  loop_.Run();
}

void Runtime::Stop() { loop_.Stop(); }

base::Work Runtime::Taking(Event event, std::function<void()> then) {
  return [this, event = std::move(event), then = std::move(then)] {
    Step(event);
    if (then != nullptr) then();
  };
}

absl::Status Runtime::PostThen(Event event, std::function<void()> then) {
  return Told(loop_.Post(Taking(std::move(event), std::move(then))));
}

void Runtime::Step(const Event& event) {
  ++steps_;
  const Actions actions = core_.Step({parts_.clock.Now(), parts_.clock.Uptime()}, event);
  // First: who is entitled by a hash is not to be told that it is nothing, for want of a look.
  const std::shared_ptr<const sync::Projection>& projection = core_.model().projection;
  if (projection != hash_checked_) {
    hash_checked_ = projection;
    streams_->WantHash(AsksForHashes(*projection));
  }
  for (const Action& action : actions) {
    std::visit([this](const auto& one) { Do(one); }, action);
  }
  UpdateMetrics();
  if (std::holds_alternative<event::Sealed>(event)) {
    UpdateExpiries();
    GiveMemoryBackSoon();
  }
}

void Runtime::Report(v1::ReportRequest report, std::function<void(absl::Status)> done) {
  const absl::Status queued = loop_.Post([this, report = std::move(report), done] {
    const absl::Status status =
        report.trust_digest().empty() ? absl::OkStatus() : core_.consumers().Check(report);
    Step(event::ConsumerReported{report});
    done(status);
  });
  if (!queued.ok()) done(absl::UnavailableError("the agent is stopping"));
}

void Runtime::SecretRefused(const ConsumerId& consumer, const std::string& why) {
  metrics_.Add("linchpin_agent_secrets_refused_total");
  const std::optional<uint64_t> unsaid = refusals_said_.Take(parts_.clock.Uptime());
  if (!unsaid.has_value()) return;
  base::LogWarning("secrets were refused; the caller goes on with what it had",
                   {{"consumer", consumer}, {"why", why}, {"unsaid", absl::StrCat(*unsaid)}});
}

// What was sealed was built, encoded and delivered before: most of that is free now.
void Runtime::GiveMemoryBackSoon() {
  if (std::exchange(giving_back_, true)) return;
  loop_.PostAfter(kAfterSeal, [this] {
    giving_back_ = false;
    base::GiveMemoryBack();
  });
}

void Runtime::Tick() {
  UpdateMetrics();
  UpdateExpiries();
  UpdatePins();
  LookAtPinFiles();
  ServeMetrics();
  if (std::exchange(steps_, 0) >= kBurst) base::GiveMemoryBack();
  loop_.PostAfter(kBetweenLooks, [this] { Tick(); });
}

void Runtime::UpdateMetrics() {
  {
    base::MutexLock lock(ready_mutex_);
    not_ready_ = core_.NotReady(parts_.clock.Now());
  }
  const Shown now{.epoch = core_.held_epoch(),
                  .pin_set_version = core_.model().pin_set_version(),
                  .subscribers = core_.consumers().open(),
                  .connected = core_.connected()};
  if (shown_ == now) return;
  shown_ = now;
  metrics_.Set("linchpin_agent_trust_epoch", static_cast<double>(now.epoch));
  metrics_.Set("linchpin_agent_pin_set_version", static_cast<double>(now.pin_set_version));
  metrics_.Set("linchpin_agent_subscribers", static_cast<double>(now.subscribers));
  metrics_.Set("linchpin_agent_connected", now.connected ? 1 : 0);
}

void Runtime::UpdatePins() {
  const trust::TrustHeld* held = core_.model().trust.get();
  if (held == nullptr || held->pin_set == nullptr) return;
  const absl::Time expires = absl::FromUnixSeconds(held->pin_set->message.expires_at());
  metrics_.Set("linchpin_agent_seconds_to_pin_expiry",
               absl::ToDoubleSeconds(expires - parts_.clock.Now()));
  metrics_.Set("linchpin_agent_pins_relaxed", held->state->pins().relaxed_until() > 0 ? 1 : 0);
  std::set<std::string> kinds;
  for (const trust::PinConcern& concern : core_.pin_concerns()) kinds.insert(concern.kind);
  for (const std::string& kind : pin_labels_) {
    metrics_.Set("linchpin_agent_pin_concerns", kinds.contains(kind) ? 1 : 0, {{"kind", kind}});
  }
  for (const std::string& kind : kinds) {
    metrics_.Set("linchpin_agent_pin_concerns", 1, {{"kind", kind}});
  }
  pin_labels_.merge(kinds);
}

void Runtime::LookAtPinFiles() {
  if (!pin_files_.has_value()) return;
  (void)worker_.loop.Post([this] {
    auto seen = pin_files_->Look();
    if (!seen.has_value()) return;
    Post(event::PinFilesRead{std::move(seen->documents), std::move(seen->faults)});
  });
}

void Runtime::UpdateExpiries() {
  const absl::Time now = parts_.clock.Now();
  const Model& model = core_.model();
  std::set<std::string> labels;
  const auto expiry = [&](const std::string& id, const Certified& certified) {
    labels.insert(id);
    metrics_.Set("linchpin_agent_seconds_to_expiry",
                 absl::ToDoubleSeconds(certified.expires_at - now), {{"spiffe_id", id}});
  };
  if (model.node != nullptr) expiry(model.node_id, *model.node);
  for (const auto& [id, certified] : model.certificates) {
    const auto identity = model.projection->identities.find(id);
    if (identity != model.projection->identities.end()) {
      expiry(identity->second.spiffe_id(), *certified);
    }
  }
  for (const std::string& id : expiry_labels_) {
    if (!labels.contains(id)) {
      metrics_.Remove("linchpin_agent_seconds_to_expiry", {{"spiffe_id", id}});
    }
  }
  expiry_labels_ = std::move(labels);
}

}  // namespace linchpin::agent
