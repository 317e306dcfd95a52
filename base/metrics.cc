// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <cmath>
#include <utility>

#include "base/mutex.h"

namespace linchpin::base {
namespace {

constexpr size_t kMaxSeries = 10000;

bool IsName(const std::string& name, bool colons) {
  if (name.empty()) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    const bool digit = c >= '0' && c <= '9' && i > 0;
    if (!letter && !digit && !(colons && c == ':')) return false;
  }
  return true;
}

// The library throws for these.
bool IsSeries(const std::string& name, const Labels& labels) {
  if (!IsName(name, true)) return false;
  for (const auto& [label, value] : labels) {
    if (!IsName(label, false) || label.substr(0, 2) == "__") return false;
  }
  return true;
}

}  // namespace

struct Metrics::Impl {
  using Key = std::pair<std::string, Labels>;

  template <typename Metric>
  struct Kind {
    std::map<std::string, prometheus::Family<Metric>*> families;
    std::map<Key, Metric*> series;
  };

  // Null when the series cannot or must not be made.
  template <typename Metric, typename Builder>
  Metric* Find(Kind<Metric>& kind, Builder build, const Key& key) {
    const auto found = kind.series.find(key);
    if (found != kind.series.end()) return found->second;
    if (counters.series.size() + gauges.series.size() >= kMaxSeries ||
        !IsSeries(key.first, key.second)) {
      dropped->Increment();
      return nullptr;
    }
    auto family = kind.families.find(key.first);
    if (family == kind.families.end()) {
      if (counters.families.count(key.first) + gauges.families.count(key.first) > 0) {
        dropped->Increment();  // a counter and a gauge of one name
        return nullptr;
      }
      auto& made = build().Name(key.first).Help(help[key.first]).Register(registry);
      family = kind.families.emplace(key.first, &made).first;
    }
    Metric* const metric = &family->second->Add(key.second);
    kind.series.emplace(key, metric);
    return metric;
  }

  mutable Mutex mutex;
  prometheus::Registry registry;
  prometheus::Counter* dropped = nullptr;
  Kind<prometheus::Counter> counters;
  Kind<prometheus::Gauge> gauges;
  std::map<std::string, std::string> help;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {
  impl_->dropped = &prometheus::BuildCounter()
                        .Name("linchpin_metrics_dropped_total")
                        .Help("Changes of series that were not kept: too many, or misnamed.")
                        .Register(impl_->registry)
                        .Add({});
}

Metrics::~Metrics() = default;

void Metrics::Add(const std::string& counter, const Labels& labels, double value) {
  if (!(value >= 0) || std::isinf(value)) return;
  MutexLock lock(impl_->mutex);
  auto* const metric = impl_->Find(impl_->counters, prometheus::BuildCounter, {counter, labels});
  if (metric != nullptr) metric->Increment(value);
}

void Metrics::Set(const std::string& gauge, double value, const Labels& labels) {
  MutexLock lock(impl_->mutex);
  auto* const metric = impl_->Find(impl_->gauges, prometheus::BuildGauge, {gauge, labels});
  if (metric != nullptr) metric->Set(value);
}

void Metrics::Remove(const std::string& gauge, const Labels& labels) {
  MutexLock lock(impl_->mutex);
  const auto found = impl_->gauges.series.find({gauge, labels});
  if (found == impl_->gauges.series.end()) return;
  impl_->gauges.families[gauge]->Remove(found->second);
  impl_->gauges.series.erase(found);
}

void Metrics::Describe(const std::string& name, const std::string& help) {
  MutexLock lock(impl_->mutex);
  impl_->help[name] = help;
}

std::string Metrics::Text() const {
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace linchpin::base
