// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The core and everything around it, as one running agent.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "agent/attest/workload_attestor.h"
#include "agent/core/agent_core.h"
#include "agent/server/ca_client.h"
#include "agent/server/consumer_streams.h"
#include "agent/server/mtls_context_service.h"
#include "agent/server/pin_files.h"
#include "agent/server/sealed_state.h"
#include "agent/server/secret_discovery_service.h"
#include "agent/server/user_queues.h"
#include "agent/server/workload_api_service.h"
#include "base/log_limit.h"
#include "base/metrics.h"
#include "base/run_loop.h"
#include "rpc/local_server.h"

namespace linchpin::agent {

class Runtime {
 public:
  struct Parts {
    CoreOptions core;
    std::string ca_address;
    // Adds what the node proves itself by; asked at each attempt.
    std::function<absl::Status(ca::v1::AttestRequest*)> evidence;
    std::string pin_set_file;  // or directory; empty: none
    std::string socket;        // path
    std::string metrics;       // HOST:PORT, or empty
    bool sandboxed = false;
    trust::BundleKind sds_bundle = trust::BundleKind::kPinned;
    trust::BundleKind workload_bundle = trust::BundleKind::kPinned;
    SealedState sealed;
    std::optional<state::v1::AgentState> state;  // that DecodeState() accepts
    WorkloadAttestor& attestor;
    const base::Clock& clock;
  };
  // Listens; serves what was sealed at once. The errors of binding a socket or port.
  static absl::StatusOr<std::unique_ptr<Runtime>> Start(Parts parts);
  ~Runtime();

  void Run();   // until Stop(); this thread is the core's
  void Stop();  // any thread
  // Any thread: the attestor sees processes of this group otherwise now.
  void AttestAgain(const std::string& group) { streams_->AttestAgain(group); }

 private:
  // A loop with a thread of its own.
  class Thread {
   public:
    explicit Thread(const base::Clock& clock) : loop(clock), thread_([this] { loop.Run(); }) {}
    ~Thread() { Join(); }
    void Join();
    base::RunLoop loop;

   private:
    std::thread thread_;
  };

  explicit Runtime(Parts parts);
  absl::Status Listen();
  base::Work Taking(Event event, std::function<void()> then);
  absl::Status PostThen(Event event, std::function<void()> then);
  void Post(Event event) { (void)PostThen(std::move(event), nullptr); }
  void Step(const Event& event);
  void Report(v1::ReportRequest report, std::function<void(absl::Status)> done);
  void SecretRefused(const ConsumerId& consumer, const std::string& why);
  void UpdateMetrics();
  void UpdateExpiries();
  void UpdatePins();
  void LookAtPinFiles();
  void GiveMemoryBackSoon();
  void Tick();
  void ServeMetrics();

  void Do(const action::MakeNodeKey& action);
  void Do(const action::Seal& action);
  void Do(const action::Deliver& action);
  void Do(const action::EndConsumer& action);
  void Do(const action::SetTimer& action);
  void Do(const action::Alarm& action);
  void Do(const action::Note& action);
  template <typename Action>
  void Do(const Action& action) {
    ca_->Do(action);
  }

  Parts parts_;
  base::Metrics metrics_;
  base::RunLoop loop_;  // the core's
  AgentCore core_;
  Thread worker_;         // seals and makes keys
  UserQueues attesting_;  // look at processes
  std::unique_ptr<CaClient> ca_;
  std::unique_ptr<ConsumerStreams> streams_;
  std::unique_ptr<ContextService> contexts_;
  std::unique_ptr<SecretDiscoveryService> secrets_;
  base::LogLimit refusals_said_;
  std::unique_ptr<WorkloadApiService> workload_api_;
  std::unique_ptr<rpc::LocalServer> server_;
  std::unique_ptr<base::MetricsServer> metrics_server_;
  bool metrics_missed_ = false;
  std::optional<base::TimerId> timer_;
  std::shared_ptr<const sync::Projection> hash_checked_;
  std::set<std::string> expiry_labels_;
  std::set<std::string> pin_labels_;
  std::optional<PinFiles> pin_files_;  // the worker's
  struct Shown {
    uint64_t epoch = 0;
    uint64_t pin_set_version = 0;
    size_t subscribers = 0;
    bool connected = false;
    bool operator==(const Shown&) const = default;
  };
  std::optional<Shown> shown_;  // in the metrics
  size_t steps_ = 0;            // since the last look
  bool giving_back_ = false;
  base::Mutex ready_mutex_;
  std::string not_ready_ = "starting";
};

}  // namespace linchpin::agent
