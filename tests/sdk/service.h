// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One service of a test: its agent, its source, and the notices that it was given.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "sdk/connection.h"
#include "sdk/context_source.h"
#include "sdk/tls.h"
#include "tests/sdk/fake_agent.h"
#include "tests/sdk/world.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::test {

inline constexpr absl::Duration kLong = absl::Seconds(30);

// The machine's clocks, the wall clock set off by what a test says.
class ShiftedClock final : public base::Clock {
 public:
  absl::Time Now() const override {
    base::MutexLock lock(mutex_);
    return base::SystemClock().Now() + shift_;
  }
  absl::Duration Uptime() const override { return base::SystemClock().Uptime(); }
  void Shift(absl::Duration by) {
    base::MutexLock lock(mutex_);
    shift_ += by;
  }

 private:
  mutable base::Mutex mutex_;
  absl::Duration shift_;
};

class Notices {
 public:
  void Add(const tls::Notice& notice) {
    {
      base::MutexLock lock(mutex_);
      notices_.push_back(notice);
    }
    changed_.notify_all();
  }
  // Waits for one that fits; fails the test after a generous time.
  tls::Notice WaitFor(const std::function<bool(const tls::Notice&)>& wanted) {
    base::MutexLock lock(mutex_);
    tls::Notice found;
    const bool ok = changed_.wait_for(lock, std::chrono::seconds(30), [&] {
      for (const tls::Notice& notice : notices_) {
        if (wanted(notice)) {
          found = notice;
          return true;
        }
      }
      return false;
    });
    EXPECT_TRUE(ok) << "the notice did not come";
    return found;
  }
  tls::Notice WaitFor(tls::Notice::Kind kind) {
    return WaitFor([kind](const tls::Notice& notice) { return notice.kind == kind; });
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<tls::Notice> notices_;
};

class Service {
 public:
  Service() { StartAgent(); }
  explicit Service(const agent::v1::MtlsContexts& contexts) : Service() { Deliver(contexts); }

  void StartAgent() { agent_ = std::make_unique<FakeAgent>(socket()); }
  void StopAgent() { agent_.reset(); }
  FakeAgent& agent() { return *agent_; }

  // Returns when these very contexts are in force.
  void Deliver(const agent::v1::MtlsContexts& contexts) {
    if (source_ == nullptr) Open();
    const auto leaf = x509::Certificate::FromDer(contexts.identities(0).chain(0));
    ASSERT_TRUE(leaf.ok()) << leaf.status();
    const std::string serial = x509::SerialText(leaf->fields().serial);
    const uint64_t epoch = contexts.trust_epoch();
    agent_->Deliver(contexts);
    notices_->WaitFor([&](const tls::Notice& notice) {
      return !notice.identities.empty() && notice.identities[0].serial == serial &&
             notice.identities[0].trust_epoch == epoch;
    });
  }

  void Open() {
    tls::ContextSource::Options options;
    options.socket = "unix://" + socket();
    options.observer = [notices = notices_](const tls::Notice& n) { notices->Add(n); };
    options.clock = &clock_;
    source_ = tls::ContextSource::Open(options).value();
  }

  const std::shared_ptr<tls::ContextSource>& source() { return source_; }
  std::shared_ptr<tls::ServerTls> Server(tls::TlsOptions options = {}) {
    return tls::ServerTls::Make(source_, options).value();
  }
  std::shared_ptr<tls::ClientTls> Client(tls::TlsOptions options = {}) {
    return tls::ClientTls::Make(source_, options).value();
  }
  Notices& notices() { return *notices_; }
  ShiftedClock& clock() { return clock_; }
  std::string socket() const { return dir_.Join("agent.sock"); }

 private:
  TempDir dir_;
  ShiftedClock clock_;
  std::shared_ptr<Notices> notices_ = std::make_shared<Notices>();
  std::unique_ptr<FakeAgent> agent_;
  std::shared_ptr<tls::ContextSource> source_;
};

// A listening Unix socket.
class Listener {
 public:
  Listener();
  ~Listener() { close(fd_); }
  std::string address() const { return "unix://" + dir_.Join("s"); }
  int Accept() { return accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC); }

 private:
  TempDir dir_;
  int fd_;
};

// Both ends of one attempt. A pair is up once a byte has gone each way.
struct Pair {
  absl::StatusOr<std::unique_ptr<tls::Connection>> client = absl::UnknownError("not tried");
  absl::StatusOr<std::unique_ptr<tls::Connection>> server = absl::UnknownError("not tried");
};
Pair Meet(const tls::ClientTls& client, const tls::ServerTls& server,
          const std::string& expected_id);

// Sends a byte each way.
void ExpectAlive(Pair& pair);

}  // namespace linchpin::test
