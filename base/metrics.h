// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Prometheus metrics and the small HTTP server for them: /metrics, /healthz (live), /readyz.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace linchpin::base {

using Labels = std::map<std::string, std::string>;

// Any thread. A series is made at its first use; at most 10,000 series, later ones are dropped and
// counted in linchpin_metrics_dropped_total, so that no caller can exhaust memory with labels.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  void Add(const std::string& counter, const Labels& labels = {}, double value = 1);
  void Set(const std::string& gauge, double value, const Labels& labels = {});
  void Remove(const std::string& gauge, const Labels& labels);
  // The help text of a metric; set once at start.
  void Describe(const std::string& name, const std::string& help);
  std::string Text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Serves until destroyed. `ready` answers with an empty string when ready, else why not.
class MetricsServer {
 public:
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& address,
                                                              const Metrics& metrics,
                                                              std::function<std::string()> ready);
  ~MetricsServer();
  int port() const;

 private:
  struct Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace linchpin::base
