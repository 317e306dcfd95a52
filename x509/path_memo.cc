// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <algorithm>
#include <list>
#include <unordered_map>

#include "x509/path.h"

namespace linchpin::x509 {

struct PathMemo::Impl {
  struct Entry {
    std::string key;
    Chain path;
  };
  explicit Impl(size_t most_entries) : most(std::max<size_t>(most_entries, 1)) {}

  base::Mutex mutex;
  const size_t most;
  std::list<Entry> entries;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key;
  size_t hits = 0;
  size_t misses = 0;
};

PathMemo::PathMemo(size_t most_entries) : impl_(std::make_unique<Impl>(most_entries)) {}
PathMemo::~PathMemo() = default;

bool PathMemo::Find(const std::string& key, Chain* path) {
  base::MutexLock lock(impl_->mutex);
  const auto found = impl_->by_key.find(key);
  if (found == impl_->by_key.end()) {
    ++impl_->misses;
    return false;
  }
  ++impl_->hits;
  impl_->entries.splice(impl_->entries.begin(), impl_->entries, found->second);
  *path = found->second->path;
  return true;
}

void PathMemo::Insert(const std::string& key, const Chain& path) {
  base::MutexLock lock(impl_->mutex);
  const auto found = impl_->by_key.find(key);
  if (found != impl_->by_key.end()) {
    found->second->path = path;
    impl_->entries.splice(impl_->entries.begin(), impl_->entries, found->second);
    return;
  }
  if (impl_->entries.size() >= impl_->most) {
    impl_->by_key.erase(impl_->entries.back().key);
    impl_->entries.pop_back();
  }
  impl_->entries.push_front({key, path});
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
