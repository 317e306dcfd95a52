// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <algorithm>
#include <iterator>
#include <list>
#include <unordered_map>
#include <utility>

#include "x509/path.h"

namespace linchpin::x509 {

struct PathMemo::Impl {
  struct Entry {
    std::string key;
    Chain path;
    absl::Time first;  // valid from then
    absl::Time last;   // through then
  };
  explicit Impl(size_t most_entries) : most(std::max<size_t>(most_entries, 1)) {}

  void Forget(std::list<Entry>::iterator entry) {
    by_key.erase(entry->key);
    entries.erase(entry);
  }

  base::Mutex mutex;
  const size_t most;
  std::list<Entry> entries;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key;
  size_t hits = 0;
  size_t misses = 0;
};

PathMemo::PathMemo(size_t most_entries) : impl_(std::make_unique<Impl>(most_entries)) {}
PathMemo::~PathMemo() = default;

std::optional<Chain> PathMemo::Find(const std::string& key, absl::Time now) {
  base::MutexLock lock(impl_->mutex);
  const auto found = impl_->by_key.find(key);
  if (found == impl_->by_key.end() || now < found->second->first || now > found->second->last) {
    ++impl_->misses;
    return std::nullopt;
  }
  ++impl_->hits;
  impl_->entries.splice(impl_->entries.begin(), impl_->entries, found->second);
  return found->second->path;
}

void PathMemo::Insert(const std::string& key, const Chain& path, absl::Duration skew) {
  Impl::Entry entry{key, path, absl::InfinitePast(), absl::InfiniteFuture()};
  for (const Certificate& certificate : path) {
    entry.first = std::max(entry.first, certificate.fields().not_before - skew);
    entry.last = std::min(entry.last, certificate.fields().not_after);
  }
  base::MutexLock lock(impl_->mutex);
  if (const auto known = impl_->by_key.find(key); known != impl_->by_key.end()) {
    impl_->Forget(known->second);
  } else if (impl_->entries.size() >= impl_->most) {
    impl_->Forget(std::prev(impl_->entries.end()));
  }
  impl_->entries.push_front(std::move(entry));
  impl_->by_key[key] = impl_->entries.begin();
}

size_t PathMemo::hits() const {
  base::MutexLock lock(impl_->mutex);
  return impl_->hits;
}
size_t PathMemo::misses() const {
  base::MutexLock lock(impl_->mutex);
  return impl_->misses;
}

}  // namespace linchpin::x509
