// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What the benchmarks of the SDK share.
#pragma once

#include <cstdlib>
#include <ctime>
#include <memory>

#include "sdk/context_source.h"
#include "tests/sdk/fake_agent.h"
#include "tests/support/temp_dir.h"

namespace linchpin::bench {

inline void Require(bool ok) {
  if (!ok) std::abort();
}

// Of all threads.
inline double CpuMicroseconds() { return static_cast<double>(std::clock()) * 1e6 / CLOCKS_PER_SEC; }

// A source that an agent has served.
struct SdkPeer {
  explicit SdkPeer(const agent::v1::MtlsContexts& contexts) {
    agent.Deliver(contexts);
    tls::ContextSource::Options options;
    options.socket = dir.Join("agent.sock");
    options.observer = [](const tls::Notice&) {};
    source = tls::ContextSource::Open(options).value();
    Require(source->WaitReady(absl::Seconds(60)).ok());
  }
  test::TempDir dir;
  test::FakeAgent agent{dir.Join("agent.sock")};
  std::shared_ptr<tls::ContextSource> source;
};

}  // namespace linchpin::bench
