// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Writes into the cluster's objects how it stands with them, in a thread of its own: a slow API
// server delays what people read, and nothing that is in force.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/run_loop.h"
#include "ca/kubernetes/objects.h"
#include "kube/api.h"

namespace linchpin::ca {

class StandingWriter {
 public:
  // Both outlive this object.
  StandingWriter(kube::Api& api, const base::Clock& clock);
  ~StandingWriter();  // within a second or so
  // Begins to end.
  void Stop() { stopped_ = true; }
  // All that there are of these kinds; what was told of them before is as nothing. Any thread.
  void Tell(const std::string& kinds, std::vector<Standing> standings);

 private:
  void Turn();  // the loop's thread
  absl::Status Write(const Standing& standing, const Standing* before);
  void WriteEvent(const Standing& standing);

  kube::Api& api_;
  const base::Clock& clock_;
  std::atomic<bool> stopped_ = false;
  base::Mutex mutex_;
  std::map<std::string, std::vector<Standing>> told_;  // by kinds
  bool turn_due_ = false;
  std::map<std::string, Standing> written_;  // by the object's uid; the loop's thread alone
  int failures_ = 0;
  base::RunLoop loop_;
  std::thread thread_;
};

}  // namespace linchpin::ca
