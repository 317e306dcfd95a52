// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/exit_watcher.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace linchpin::agent {
namespace {

constexpr int kEventsAtOnce = 64;

}  // namespace

ExitWatcher::ExitWatcher(std::function<void(const std::string&)> exited)
    : exited_(std::move(exited)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
  thread_ = std::thread([this] { Run(); });
}

ExitWatcher::~ExitWatcher() {
  eventfd_write(wake_, 1);
  thread_.join();
  close(wake_);
  close(epoll_);
}

void ExitWatcher::Watch(const std::string& process, std::shared_ptr<const rpc::UnixPeer> peer) {
  if (peer->pidfd() < 0) return;
  base::MutexLock lock(mutex_);
  if (!keys_.emplace(process, last_key_ + 1).second) return;
  const uint64_t key = ++last_key_;
  epoll_event event{.events = EPOLLIN | EPOLLONESHOT, .data = {.u64 = key}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, peer->pidfd(), &event) != 0) {
    keys_.erase(process);
    return;
  }
  watched_[key] = {process, std::move(peer)};
}

void ExitWatcher::End(uint64_t key) {
  std::string process;
  {
    base::MutexLock lock(mutex_);
    const auto it = watched_.find(key);
    if (it == watched_.end()) return;
    process = it->second.first;
    epoll_ctl(epoll_, EPOLL_CTL_DEL, it->second.second->pidfd(), nullptr);
    keys_.erase(process);
    watched_.erase(it);
  }
  exited_(process);
}

void ExitWatcher::Run() {
  epoll_event events[kEventsAtOnce];
  while (true) {
    const int count = epoll_wait(epoll_, events, kEventsAtOnce, -1);
    if (count < 0 && errno != EINTR) return;
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == 0) return;
      End(events[i].data.u64);
    }
  }
}

}  // namespace linchpin::agent
