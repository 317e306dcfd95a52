// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/served_sockets.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace linchpin::rpc {
namespace {

constexpr int kLowestNumber = 64;
constexpr rlim_t kMostNumbers = 65536;  // the kernel's table grows to the highest

// Numbers go round below this, so that the process's other files find free ones above.
int HighestNumber() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlim_t most = std::min(limit.rlim_cur, kMostNumbers);
  return static_cast<int>(most - most / 8);
}

}  // namespace

ServedSockets::ServedSockets() : end_(HighestNumber()) {}

int ServedSockets::Renumber(int fd) {
  if (next_ < kLowestNumber || next_ >= end_) next_ = kLowestNumber;
  int number = fcntl(fd, F_DUPFD_CLOEXEC, next_);
  if (number < 0) number = fcntl(fd, F_DUPFD_CLOEXEC, kLowestNumber);
  if (number < 0) return fd;
  close(fd);
  next_ = number + 1;
  return number;
}

void ServedSockets::Add(int number, uint64_t inode, std::shared_ptr<const UnixPeer> peer) {
  base::MutexLock lock(mutex_);
  served_[number] = {std::move(peer), inode};
}

void ServedSockets::Remove(int number, uint64_t inode) {
  std::shared_ptr<const UnixPeer> released;  // outside the lock
  base::MutexLock lock(mutex_);
  const auto found = served_.find(number);
  if (found == served_.end() || found->second.inode != inode) return;
  released = std::move(found->second.peer);
  served_.erase(found);
  lock.unlock();
}

uint64_t ServedSockets::InodeOf(int fd) {
  struct stat found {};
  return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

std::shared_ptr<const UnixPeer> ServedSockets::PeerOf(
    const grpc::ServerContextBase& context) const {
  const std::string name = context.peer();
  absl::string_view digits = name;
  int number = 0;
  if (!absl::ConsumePrefix(&digits, "fd:") || !absl::SimpleAtoi(digits, &number)) return nullptr;
  base::MutexLock lock(mutex_);
  const auto found = served_.find(number);
  if (found == served_.end() || InodeOf(number) != found->second.inode) return nullptr;
  // A call outlives its connection only as a cancelled one; the number may be another's by now.
  if (context.IsCancelled()) return nullptr;
  return found->second.peer;
}

}  // namespace linchpin::rpc
