// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/swapped_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/durable_file.h"
#include "base/status_macros.h"

namespace linchpin::base {
namespace {

constexpr char kCurrent[] = "current";
constexpr char kNewLink[] = ".current.new";
constexpr char kLock[] = ".lock";
constexpr absl::string_view kPrefix = ".generation-";
constexpr size_t kMostGenerations = 16;
constexpr absl::Duration kKept = absl::Minutes(1);
constexpr mode_t kOpenMode = 0644;
constexpr mode_t kDirectoryMode = 0755;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

std::string NameOf(uint64_t generation) { return absl::StrCat(kPrefix, generation); }

// What is in the directory, all of it ours.
struct Contents {
  std::set<uint64_t> generations;
  std::set<std::string> links;  // of files
  uint64_t current = 0;         // 0: none yet
};

absl::StatusOr<std::set<std::string>> List(int directory, const std::string& path) {
  const int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return ErrnoStatus(errno, absl::StrCat("list ", path));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(copy), closedir);
  if (stream == nullptr) {
    close(copy);
    return ErrnoStatus(errno, absl::StrCat("list ", path));
  }
  std::set<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.insert(name);
  }
  if (errno != 0) return ErrnoStatus(errno, absl::StrCat("list ", path));
  return names;
}

std::string LinkTarget(int directory, const std::string& name) {
  char target[256];
  const ssize_t size = readlinkat(directory, name.c_str(), target, sizeof(target));
  return size < 0 ? "" : std::string(target, static_cast<size_t>(size));
}

std::optional<uint64_t> GenerationOf(absl::string_view name) {
  uint64_t number = 0;
  if (!absl::ConsumePrefix(&name, kPrefix) || !absl::SimpleAtoi(name, &number)) return std::nullopt;
  return number;
}

absl::StatusOr<Contents> Look(int directory, const std::string& path) {
  ASSIGN_OR_RETURN(const std::set<std::string> names, List(directory, path));
  Contents contents;
  for (const std::string& name : names) {
    const std::string target = LinkTarget(directory, name);
    const std::optional<uint64_t> generation = GenerationOf(name);
    if (generation.has_value() && target.empty()) {
      contents.generations.insert(*generation);
    } else if (name == kCurrent && GenerationOf(target).has_value()) {
      contents.current = *GenerationOf(target);
    } else if (!target.empty() && target == absl::StrCat(kCurrent, "/", name)) {
      contents.links.insert(name);
    } else if (name != kNewLink && (name != kLock || !target.empty())) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, " holds something else, ", name, ": name a directory of its own"));
    }
  }
  return contents;
}

absl::StatusOr<Fd> OpenOwn(const std::string& path) {
  const bool made = mkdir(path.c_str(), kDirectoryMode) == 0;
  if (!made && errno != EEXIST)
    return ErrnoStatus(errno, absl::StrCat("make the directory ", path));
  Fd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.ok()) {
    if (errno != ENOTDIR && errno != ELOOP) {
      return ErrnoStatus(errno, absl::StrCat("open the directory ", path));
    }
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is a symbolic link or no directory: name the directory itself"));
  }
  struct stat found {};
  if (fstat(directory.get(), &found) != 0) {
    return ErrnoStatus(errno, absl::StrCat("look at ", path));
  }
  if (found.st_uid != geteuid()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " belongs to uid ", found.st_uid, ", this process is uid ", geteuid(),
                     ": whoever owns the directory could put other files in its place"));
  }
  // Whatever the umask was: readers of other users pass through.
  if (made && fchmod(directory.get(), kDirectoryMode) != 0) {
    return ErrnoStatus(errno, absl::StrCat("chmod ", path));
  }
  if (!made && (found.st_mode & 0022) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path,
                     " is writable by others, who could put other files in place: chmod "
                     "go-w it"));
  }
  return directory;
}

void RemoveGeneration(int directory, uint64_t generation) {
  const std::string name = NameOf(generation);
  const Fd inside(openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!inside.ok()) return;
  const absl::StatusOr<std::set<std::string>> names = List(inside.get(), name);
  if (!names.ok()) return;
  for (const std::string& file : *names) unlinkat(inside.get(), file.c_str(), 0);
  unlinkat(directory, name.c_str(), AT_REMOVEDIR);
}

absl::Status WriteAll(int fd, absl::string_view contents) {
  while (!contents.empty()) {
    const ssize_t wrote = write(fd, contents.data(), contents.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return ErrnoStatus(errno, "write it");
    contents.remove_prefix(static_cast<size_t>(wrote));
  }
  return absl::OkStatus();
}

absl::Status WriteFile(int generation, const SwappedFile& file,
                       const SwappedDirectoryOptions& options) {
  const Fd fd(openat(generation, file.name.c_str(),
                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.ok()) return ErrnoStatus(errno, "make it");
  RETURN_IF_ERROR(WriteAll(fd.get(), file.contents));
  if ((options.uid.has_value() || options.gid.has_value()) &&
      fchown(fd.get(), options.uid.value_or(static_cast<uid_t>(-1)),
             options.gid.value_or(static_cast<gid_t>(-1))) != 0) {
    return ErrnoStatus(errno, "give it to its owner");
  }
  if (fchmod(fd.get(), file.secret ? options.secret_mode : kOpenMode) != 0) {
    return ErrnoStatus(errno, "set its mode");
  }
  if (fsync(fd.get()) != 0) return ErrnoStatus(errno, "sync it");
  return absl::OkStatus();
}

absl::Status WriteGeneration(int directory, uint64_t number, const std::vector<SwappedFile>& files,
                             const SwappedDirectoryOptions& options) {
  const std::string name = NameOf(number);
  const std::string path = absl::StrCat(options.directory, "/", name);
  if (mkdirat(directory, name.c_str(), kDirectoryMode) != 0) {
    return ErrnoStatus(errno, absl::StrCat("make ", path));
  }
  const Fd generation(
      openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!generation.ok() || fchmod(generation.get(), kDirectoryMode) != 0) {
    return ErrnoStatus(errno, absl::StrCat("open ", path));
  }
  for (const SwappedFile& file : files) {
    const absl::Status written = WriteFile(generation.get(), file, options);
    if (!written.ok()) {
      return absl::Status(written.code(),
                          absl::StrCat(path, "/", file.name, ": ", written.message()));
    }
  }
  if (fsync(generation.get()) != 0) return ErrnoStatus(errno, absl::StrCat("sync ", path));
  return absl::OkStatus();
}

absl::Status MakeCurrent(int directory, uint64_t number, const std::string& path) {
  unlinkat(directory, kNewLink, 0);  // left by a writer that was killed
  if (symlinkat(NameOf(number).c_str(), directory, kNewLink) != 0 ||
      renameat(directory, kNewLink, directory, kCurrent) != 0) {
    return ErrnoStatus(errno, absl::StrCat("replace ", path, "/", kCurrent));
  }
  return absl::OkStatus();
}

absl::Status LinkFiles(int directory, const std::vector<SwappedFile>& files,
                       const std::set<std::string>& links, const std::string& path) {
  for (const SwappedFile& file : files) {
    if (links.contains(file.name)) continue;
    if (symlinkat(absl::StrCat(kCurrent, "/", file.name).c_str(), directory, file.name.c_str()) !=
        0) {
      return ErrnoStatus(errno, absl::StrCat("link ", path, "/", file.name));
    }
  }
  return absl::OkStatus();
}

absl::Time ChangedAt(int directory, uint64_t generation) {
  struct stat found {};
  if (fstatat(directory, NameOf(generation).c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) {
    return absl::InfiniteFuture();
  }
  return absl::TimeFromTimespec(found.st_mtim);
}

// A generation was replaced when the next one was made.
void RemoveOld(int directory, std::set<uint64_t> generations, absl::Time now) {
  while (generations.size() > 1) {
    const uint64_t oldest = *generations.begin();
    generations.erase(generations.begin());
    const absl::Time replaced = ChangedAt(directory, *generations.begin());
    const bool young = replaced > now - kKept && replaced < now + kKept;
    if (young && generations.size() < kMostGenerations) return;
    RemoveGeneration(directory, oldest);
  }
}

}  // namespace

WriterLock::~WriterLock() {
  if (fd_ >= 0) close(fd_);
}

absl::Status WriterLock::Take(int directory, const std::string& path) {
  Fd file(openat(directory, kLock, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  struct stat found {};
  if (!file.ok() || fstat(file.get(), &found) != 0) {
    return ErrnoStatus(errno, absl::StrCat("open ", path, "/", kLock));
  }
  if (!S_ISREG(found.st_mode) || found.st_uid != geteuid() || (found.st_mode & 0077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, "/", kLock,
                     " is no file that this process's user alone can open: remove it, or name "
                     "another directory"));
  }
  struct stat held {};
  if (fd_ >= 0 && fstat(fd_, &held) == 0 && held.st_dev == found.st_dev &&
      held.st_ino == found.st_ino) {
    return absl::OkStatus();
  }
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, absl::StrCat("lock ", path, "/", kLock));
    return absl::FailedPreconditionError(
        absl::StrCat("another process writes to ", path, ": one writer a directory"));
  }
  if (fd_ >= 0) close(fd_);
  fd_ = file.Release();
  return absl::OkStatus();
}

absl::Status SwapFiles(const SwappedDirectoryOptions& options,
                       const std::vector<SwappedFile>& files, absl::Time now, WriterLock* lock) {
  SwappedDirectoryOptions trimmed = options;
  std::string& path = trimmed.directory;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty() || path.front() != '/') {
    return absl::InvalidArgumentError(
        absl::StrCat("the directory '", path, "' is relative: give the whole path"));
  }
  ASSIGN_OR_RETURN(const Fd directory, OpenOwn(path));
  RETURN_IF_ERROR(Look(directory.get(), path).status());  // before anything in it is touched
  RETURN_IF_ERROR(lock->Take(directory.get(), path));
  ASSIGN_OR_RETURN(Contents contents, Look(directory.get(), path));
  // Half a generation, of a writer that was killed.
  while (!contents.generations.empty() && *contents.generations.rbegin() > contents.current) {
    RemoveGeneration(directory.get(), *contents.generations.rbegin());
    contents.generations.erase(std::prev(contents.generations.end()));
  }
  const uint64_t next = contents.current + 1;
  absl::Status status = WriteGeneration(directory.get(), next, files, trimmed);
  if (status.ok()) status = MakeCurrent(directory.get(), next, path);
  if (!status.ok()) {
    unlinkat(directory.get(), kNewLink, 0);
    RemoveGeneration(directory.get(), next);
    return status;
  }
  RETURN_IF_ERROR(LinkFiles(directory.get(), files, contents.links, path));
  if (fsync(directory.get()) != 0) return ErrnoStatus(errno, absl::StrCat("sync ", path));
  contents.generations.insert(next);
  RemoveOld(directory.get(), std::move(contents.generations), now);
  return absl::OkStatus();
}

}  // namespace linchpin::base
