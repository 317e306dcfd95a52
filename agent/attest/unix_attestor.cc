// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/unix_attestor.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "x509/digest.h"

namespace linchpin::agent {
namespace {

constexpr size_t kChunk = 256 * 1024;
constexpr size_t kNameBuffer = 64 * 1024;
constexpr absl::Duration kCoarsestTick = absl::Seconds(2);

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::Status Ended(pid_t pid) {
  return absl::UnauthenticatedError(
      absl::StrCat("the process that connected (pid ", pid, ") has ended"));
}

// getpwuid(3): with these the name service says that there is no such entry; with any other, that
// it cannot tell now.
bool SaysNone(int error) {
  return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

NameAnswer UserName(uint32_t uid) {
  std::string buffer(kNameBuffer, '\0');
  passwd entry{};
  passwd* found = nullptr;
  const int error = getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  if (found != nullptr) return {.name = std::string(found->pw_name)};
  return {.failed = !SaysNone(error)};
}

NameAnswer GroupName(uint32_t gid) {
  std::string buffer(kNameBuffer, '\0');
  group entry{};
  group* found = nullptr;
  const int error = getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found);
  if (found != nullptr) return {.name = std::string(found->gr_name)};
  return {.failed = !SaysNone(error)};
}

bool IsOutOfResources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO;
}

int OpenProgram(pid_t pid) {
  return open(absl::StrCat("/proc/", pid, "/exe").c_str(), O_PATH | O_CLOEXEC);
}

// As the kernel says it, whatever is there.
std::optional<std::string> SaidPathOf(int fd) {
  char target[PATH_MAX];
  const ssize_t size = readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), target, sizeof(target));
  if (size <= 0 || size >= static_cast<ssize_t>(sizeof(target))) return std::nullopt;
  std::string path(target, static_cast<size_t>(size));
  if (path[0] != '/' || absl::EndsWith(path, " (deleted)")) return std::nullopt;
  return path;
}

std::optional<std::string> PathOf(int fd) {
  std::optional<std::string> path = SaidPathOf(fd);
  if (!path.has_value()) return std::nullopt;
  struct stat opened {};
  struct stat named {};
  if (fstat(fd, &opened) != 0 || stat(path->c_str(), &named) != 0) return std::nullopt;
  if (opened.st_dev != named.st_dev || opened.st_ino != named.st_ino) return std::nullopt;
  return path;
}

// Which file that is, by what the kernel remembers.
std::optional<std::tuple<uint32_t, uint32_t, uint64_t>> FileAtHand(int fd) {
  struct statx file {};
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &file) != 0) return std::nullopt;
  return std::tuple(file.stx_dev_major, file.stx_dev_minor, file.stx_ino);
}

// PathOf() if no file system has to be asked for it: one may be a user's own program.
std::optional<std::string> PathAtHand(int fd) {
  std::optional<std::string> path = SaidPathOf(fd);
  if (!path.has_value()) return std::nullopt;
  open_how how{.flags = O_PATH | O_CLOEXEC, .mode = 0, .resolve = RESOLVE_CACHED};
  const Descriptor named(
      static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path->c_str(), &how, sizeof(how))));
  const auto file = named.get() < 0 ? std::nullopt : FileAtHand(named.get());
  if (!file.has_value() || file != FileAtHand(fd)) return std::nullopt;
  return path;
}

class Selectors {
 public:
  explicit Selectors(const PeerProcess& peer) {
    Add("uid", absl::StrCat(peer.uid));
    Add("gid", absl::StrCat(peer.gid));
  }
  void Add(absl::string_view what, absl::string_view value) {
    all_.push_back(absl::StrCat("unix:", what, ":", value));
  }
  void AddIfKnown(absl::string_view what, const std::optional<std::string>& value) {
    if (value.has_value()) Add(what, *value);
  }
  // Whatever was read of the pid was read of this process only if it has lived all the while.
  absl::StatusOr<Attested> Of(const PeerProcess& peer) {
    if (!peer.is_alive()) return Ended(peer.pid);
    std::sort(all_.begin(), all_.end());
    return Attested{absl::StrCat(peer.pid, ".", peer.start_time), std::move(all_)};
  }

 private:
  std::vector<std::string> all_;
};

// A descriptor that was opened by O_PATH, for reading; of the very same file.
int Reopen(int fd) {
  return open(absl::StrCat("/proc/self/fd/", fd).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

NameCache::NameCache(const base::Clock& clock, NameAnswer (*look_up)(uint32_t id))
    : clock_(clock), look_up_(look_up) {}

std::optional<std::string> NameCache::NameOf(uint32_t id) {
  {
    base::MutexLock lock(mutex_);
    const auto it = names_.find(id);
    if (it != names_.end() && clock_.Uptime() < it->second.until) return it->second.name;
  }
  NameAnswer answer = look_up_(id);
  base::MutexLock lock(mutex_);
  if (answer.failed) {
    const auto it = names_.find(id);
    return it == names_.end() ? std::nullopt : it->second.name;
  }
  if (names_.size() >= kMaxNames) names_.clear();
  names_[id] = {answer.name, clock_.Uptime() + kNamesLast};
  return answer.name;
}

std::optional<NameAnswer> NameCache::Remembered(uint32_t id) {
  base::MutexLock lock(mutex_);
  const auto it = names_.find(id);
  if (it == names_.end() || clock_.Uptime() >= it->second.until) return std::nullopt;
  return NameAnswer{.name = it->second.name};
}

bool HasSettled(absl::Time changed, absl::Time now) { return now - changed > kCoarsestTick; }

UnixAttestor::UnixAttestor(const base::Clock& clock, int64_t max_hashed_bytes)
    : clock_(clock),
      max_hashed_bytes_(max_hashed_bytes),
      users_(clock, UserName),
      groups_(clock, GroupName) {}

std::optional<std::string> UnixAttestor::HashOf(int fd, const PeerProcess& peer) {
  const auto look = [&](struct stat* file) -> std::optional<FileKey> {
    if (fstat(fd, file) != 0 || !S_ISREG(file->st_mode)) return std::nullopt;
    return FileKey(file->st_dev, file->st_ino, file->st_size, Nanoseconds(file->st_mtim),
                   Nanoseconds(file->st_ctim));
  };
  struct stat file {};
  const std::optional<FileKey> key = look(&file);
  if (!key.has_value() || file.st_size > max_hashed_bytes_) return std::nullopt;
  {
    base::MutexLock lock(mutex_);
    const auto it = hashes_.find(*key);
    if (it != hashes_.end()) return it->second;
  }
  const absl::Time begun = clock_.Now();
  x509::Sha256Stream hasher;
  std::string chunk(kChunk, '\0');
  for (off_t offset = 0; offset < file.st_size;) {
    if (!peer.is_alive()) return std::nullopt;  // nobody waits for the rest
    const ssize_t size = pread(fd, chunk.data(), chunk.size(), offset);
    if (size <= 0) return std::nullopt;
    hasher.Add(absl::string_view(chunk.data(), static_cast<size_t>(size)));
    offset += size;
  }
  const std::string hex = absl::BytesToHexString(hasher.Finish());
  if (look(&file) != key) return std::nullopt;  // written to meanwhile
  if (!HasSettled(absl::TimeFromTimespec(file.st_ctim), begun)) return hex;
  base::MutexLock lock(mutex_);
  if (hashes_.size() >= kMaxHashes) hashes_.clear();
  hashes_[*key] = hex;
  return hex;
}

absl::StatusOr<Attested> UnixAttestor::Attest(const PeerProcess& peer, bool want_hash) {
  if (!peer.is_alive()) return Ended(peer.pid);
  Selectors selectors(peer);
  selectors.AddIfKnown("user", users_.NameOf(peer.uid));
  selectors.AddIfKnown("group", groups_.NameOf(peer.gid));
  const Descriptor program(OpenProgram(peer.pid));
  if (program.get() < 0 && IsOutOfResources(errno)) {
    // To be told of no identity for want of a file of ours would be wrong, and would last.
    return absl::UnavailableError(absl::StrCat("the program of pid ", peer.pid,
                                               " cannot be looked at: ", std::strerror(errno)));
  }
  if (program.get() >= 0) {
    selectors.AddIfKnown("path", PathOf(program.get()));
    if (want_hash) {
      const Descriptor contents(Reopen(program.get()));
      selectors.AddIfKnown("sha256", HashOf(contents.get(), peer));
    }
  }
  return selectors.Of(peer);
}

std::optional<absl::StatusOr<Attested>> UnixAttestor::AttestAtOnce(const PeerProcess& peer,
                                                                   bool want_hash) {
  if (want_hash || !peer.is_alive()) return std::nullopt;
  const std::optional<NameAnswer> user = users_.Remembered(peer.uid);
  const std::optional<NameAnswer> group = groups_.Remembered(peer.gid);
  if (!user.has_value() || !group.has_value()) return std::nullopt;
  const Descriptor program(OpenProgram(peer.pid));
  const auto path = program.get() < 0 ? std::nullopt : PathAtHand(program.get());
  if (!path.has_value()) return std::nullopt;
  Selectors selectors(peer);
  selectors.AddIfKnown("user", user->name);
  selectors.AddIfKnown("group", group->name);
  selectors.Add("path", *path);
  return selectors.Of(peer);
}

}  // namespace linchpin::agent
