// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The agent's socket without its core: a test is the core, and the attestor says what it is told
// to.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/server/consumer_streams.h"
#include "base/clock.h"
#include "gtest/gtest.h"
#include "rpc/local_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace linchpin::test {

inline constexpr auto kStreamDeadline = std::chrono::seconds(60);

// Says what a test wants it to say.
class FakeAttestor final : public agent::WorkloadAttestor {
 public:
  absl::string_view Kind() const override { return "fake"; }
  absl::StatusOr<agent::Attested> Attest(const agent::PeerProcess& peer, bool want_hash) override {
    base::MutexLock lock(mutex_);
    ++looks_;
    changed_.notify_all();
    while (held_) changed_.wait(lock);
    return Answer(peer, want_hash);
  }
  std::optional<absl::StatusOr<agent::Attested>> AttestAtOnce(const agent::PeerProcess& peer,
                                                              bool want_hash) override {
    base::MutexLock lock(mutex_);
    if (!at_once_) return std::nullopt;
    return Answer(peer, want_hash);
  }
  // Without being asked to look where one may wait.
  void AnswerAtOnce() {
    base::MutexLock lock(mutex_);
    at_once_ = true;
  }
  void Say(std::vector<std::string> selectors) {
    base::MutexLock lock(mutex_);
    selectors_ = std::move(selectors);
  }
  void Fail(absl::Status status) {
    base::MutexLock lock(mutex_);
    status_ = std::move(status);
  }
  void Hold(bool hold) {
    base::MutexLock lock(mutex_);
    held_ = hold;
    changed_.notify_all();
  }
  void AwaitLooks(int looks) {
    base::MutexLock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kStreamDeadline, [&] { return looks_ >= looks; }));
  }
  int looks() const {
    base::MutexLock lock(mutex_);
    return looks_;
  }

 private:
  absl::StatusOr<agent::Attested> Answer(const agent::PeerProcess& peer, bool want_hash) const {
    if (!status_.ok()) return status_;
    agent::Attested attested{absl::StrCat(peer.pid), selectors_};
    if (want_hash) attested.selectors.push_back("hash");
    return attested;
  }

  mutable base::Mutex mutex_;
  base::CondVar changed_;
  bool held_ = false;
  bool at_once_ = false;
  int looks_ = 0;
  absl::Status status_;
  std::vector<std::string> selectors_ = {"s"};
};

// Register services in the constructor, then Serve().
class StreamsTest : public ::testing::Test {
 protected:
  // gRPC's library waits up to 10 s for its own poller when its last object goes: one stays.
  static void SetUpTestSuite() {
    static grpc::CompletionQueue& kept = *new grpc::CompletionQueue();
    (void)kept;
  }

  StreamsTest()
      : streams_({.attestor = attestor_,
                  .attesting = attesting_,
                  .clock = clock_,
                  .post = taking_,
                  .take = taking_,
                  .end = ending_}) {}

  std::string path() const { return dir_.Join("agent.sock"); }
  template <typename Service>
  void Serve(Service* service) {
    server_ = *rpc::LocalServer::Bind(path(), 0666, *rpc::LocalServer::Options::ForThisProcess());
    rpc::LocalMethods methods;
    service->AddTo(methods);
    server_->Start(std::move(methods));
  }
  // Before the service goes.
  void Stop() {
    server_->Stop();
    streams_.EndAll(absl::UnavailableError("stopping"));
    server_->Shutdown(absl::Seconds(60));
    attesting_.Stop();
  }

  void Put(agent::Event event) {
    base::MutexLock lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  // What a core that is slow to take events leaves undone.
  void TakenOrHeld(std::function<void()> then) {
    {
      base::MutexLock lock(mutex_);
      if (slow_core_) {
        held_.push_back(std::move(then));
        return changed_.notify_all();
      }
    }
    then();
  }
  // Nothing more is taken.
  void BeFull(bool full) { full_ = full; }
  void AwaitHeld(size_t count) {
    base::MutexLock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kStreamDeadline, [&] { return held_.size() == count; }));
  }
  void BeSlow(bool slow) {
    std::vector<std::function<void()>> held;
    {
      base::MutexLock lock(mutex_);
      slow_core_ = slow;
      if (!slow) held.swap(held_);
    }
    for (const auto& then : held) then();
  }
  // The next event of this kind; others before it are dropped.
  template <typename Wanted>
  std::optional<Wanted> Await() {
    base::MutexLock lock(mutex_);
    while (true) {
      if (!changed_.wait_for(lock, kStreamDeadline, [this] { return !events_.empty(); })) {
        ADD_FAILURE() << "nothing came";
        return std::nullopt;
      }
      const agent::Event event = std::move(events_.front());
      events_.pop_front();
      if (const auto* wanted = std::get_if<Wanted>(&event)) return *wanted;
    }
  }
  std::shared_ptr<agent::v1::MtlsContexts> Message(std::vector<std::string> selectors,
                                                   uint64_t epoch, size_t size = 0) {
    auto message = std::make_shared<agent::v1::MtlsContexts>();
    for (const std::string& selector : selectors) message->add_selectors(selector);
    message->set_trust_epoch(epoch);
    message->set_trust_digest(std::string(size, 'x'));
    return message;
  }

  TempDir dir_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<agent::Event> events_;
  bool slow_core_ = false;
  std::atomic<bool> full_ = false;
  std::vector<std::function<void()>> held_;
  FakeAttestor attestor_;
  FakeClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  agent::UserQueues attesting_;
  const agent::PostThen taking_ = [this](agent::Event event,
                                         std::function<void()> then) -> absl::Status {
    if (full_) return absl::ResourceExhaustedError("too much waits");
    ending_(std::move(event), std::move(then));
    return absl::OkStatus();
  };
  const std::function<void(agent::Event, std::function<void()>)> ending_ =
      [this](agent::Event event, std::function<void()> then) {
        if (then != nullptr) TakenOrHeld(std::move(then));
        Put(std::move(event));
      };
  agent::ConsumerStreams streams_;
  std::unique_ptr<rpc::LocalServer> server_;
};

}  // namespace linchpin::test
