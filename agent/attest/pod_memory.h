// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// This node's pods on its disk, so that an agent which starts while the API server is away knows
// them as they were: private/pods.sealed, under the key of the agent's state. What is damaged or
// missing costs nothing but that.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/attest/pod_table.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/run_loop.h"
#include "linchpin/state/v1/agent_state.pb.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {

// Pure; each of what the other makes.
state::v1::KnownPods KnownPodsOf(const std::string& node,
                                 const std::vector<std::shared_ptr<const kube::Pod>>& pods);
// Of another node: nothing.
std::vector<kube::Pod> PodsIn(const state::v1::KnownPods& known, const std::string& node);

class PodMemory {
 public:
  static constexpr size_t kMaxBytes = size_t{64} << 20;
  static constexpr absl::Duration kGather = absl::Seconds(2);  // changes that are written together

  struct File {
    std::string path;
    x509::SecretBytes key;  // that seals it
  };
  // `table` and `clock` outlive this object.
  PodMemory(File file, std::string node, PodTable& table, const base::Clock& clock);
  ~PodMemory();  // writes what is still to be written
  // What was written before goes into the table. Before anybody else uses that.
  void Recall();
  // The table has changed. Any thread; returns at once.
  void Changed();

 private:
  absl::StatusOr<state::v1::KnownPods> Read() const;
  void Write();

  const File file_;
  const std::string node_;
  PodTable& table_;
  base::Mutex mutex_;
  bool due_ = false;
  bool told_ = false;  // of a failure; the loop's thread alone
  base::RunLoop loop_;
  std::thread thread_;
};

}  // namespace linchpin::agent
