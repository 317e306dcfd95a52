// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/durable_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status_macros.h"

namespace linchpin::base {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { Close(); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;

  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  int Close() { return fd_ < 0 ? 0 : close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

template <typename Call>
auto RetryOnInterrupt(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

struct Place {
  std::string directory;
  std::string name;
};

absl::StatusOr<Place> Split(const std::string& path) {
  const size_t slash = path.rfind('/');
  Place place;
  place.directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  place.name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (place.name.empty() || place.name == "." || place.name == "..") {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' does not name a file"));
  }
  return place;
}

int OpenDirectory(const std::string& path) {
  return RetryOnInterrupt([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
}

absl::Status WriteAll(int fd, absl::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t written =
        RetryOnInterrupt([&] { return write(fd, contents.data(), contents.size()); });
    if (written < 0) return ErrnoStatus(errno, absl::StrCat("write ", path));
    contents.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status WriteTemporary(int directory, const std::string& name, absl::string_view contents,
                            mode_t mode) {
  Fd file(RetryOnInterrupt([&] {
    return openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  mode & 0700);
  }));
  if (!file.ok()) return ErrnoStatus(errno, absl::StrCat("create ", name));
  if (fchmod(file.get(), mode) != 0) return ErrnoStatus(errno, absl::StrCat("chmod ", name));
  RETURN_IF_ERROR(WriteAll(file.get(), contents, name));
  if (RetryOnInterrupt([&] { return fsync(file.get()); }) != 0) {
    return ErrnoStatus(errno, absl::StrCat("sync ", name));
  }
  if (file.Close() != 0) return ErrnoStatus(errno, absl::StrCat("close ", name));
  return absl::OkStatus();
}

constexpr size_t kLeastRoom = 1023;
constexpr char kTemporary[] = ".tmp.";
constexpr size_t kTemporaryBytes = 8;  // of randomness, in hex

std::string TemporaryName(const std::string& name) {
  return absl::StrCat(name, kTemporary,
                      absl::BytesToHexString(RandomBytes(SystemRandom(), kTemporaryBytes)));
}

bool IsTemporary(const std::string& name) {
  const size_t at = name.rfind(kTemporary);
  if (at == std::string::npos || at == 0) return false;
  const std::string hex = name.substr(at + sizeof(kTemporary) - 1);
  return hex.size() == 2 * kTemporaryBytes &&
         hex.find_first_not_of("0123456789abcdef") == std::string::npos;
}

absl::Status In(const std::string& directory, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(status.message(), " (in ", directory, ")"));
}

// Parents are made as they come; symbolic links among them are the machine's business.
absl::Status MakeParents(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    struct stat found {};
    if (stat(parent.c_str(), &found) == 0) continue;
    if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, absl::StrCat("make the directory ", parent));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOurs(int fd, const std::string& path) {
  struct stat found {};
  if (fstat(fd, &found) != 0) return ErrnoStatus(errno, absl::StrCat("look at ", path));
  if (found.st_uid != geteuid()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the directory ", path, " belongs to user ", found.st_uid,
                     " but this process runs as user ", geteuid(), ": give it one of its own"));
  }
  if ((found.st_mode & S_ISVTX) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the directory ", path, " is shared by several users (sticky): name one below it"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ErrnoStatus(int error, absl::string_view doing) {
  const std::string message =
      absl::StrCat("cannot ", doing, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::Status WriteFileDurably(const std::string& path, absl::string_view contents, mode_t mode) {
  ASSIGN_OR_RETURN(const Place place, Split(path));
  Fd directory(OpenDirectory(place.directory));
  if (!directory.ok()) {
    return ErrnoStatus(errno, absl::StrCat("open the directory ", place.directory));
  }
  const std::string temporary = TemporaryName(place.name);
  absl::Status status = WriteTemporary(directory.get(), temporary, contents, mode);
  if (status.ok() &&
      renameat(directory.get(), temporary.c_str(), directory.get(), place.name.c_str()) != 0) {
    status = ErrnoStatus(errno, absl::StrCat("rename ", temporary, " to ", place.name));
  }
  if (!status.ok()) {
    unlinkat(directory.get(), temporary.c_str(), 0);
    return In(place.directory, status);
  }
  if (RetryOnInterrupt([&] { return fsync(directory.get()); }) != 0) {
    return ErrnoStatus(errno, absl::StrCat("sync the directory ", place.directory));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_size) {
  Fd file(RetryOnInterrupt([&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
  if (!file.ok()) return ErrnoStatus(errno, absl::StrCat("open ", path));
  struct stat found {};
  if (fstat(file.get(), &found) != 0) return ErrnoStatus(errno, absl::StrCat("look at ", path));
  // Room at once, so that no copies of a secret are left behind by growth. (Files of /proc say that
  // they have no size.)
  const size_t room = std::max(static_cast<size_t>(found.st_size), kLeastRoom);
  std::string contents(std::min(room, max_size) + 1, '\0');
  size_t size = 0;
  while (true) {
    if (size == contents.size()) contents.resize(std::min(2 * size, max_size + 1));
    const ssize_t got = RetryOnInterrupt(
        [&] { return read(file.get(), contents.data() + size, contents.size() - size); });
    if (got < 0) return ErrnoStatus(errno, absl::StrCat("read ", path));
    if (got == 0) break;
    size += static_cast<size_t>(got);
    if (size > max_size) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the file ", path, " is larger than ", max_size, " bytes"));
    }
  }
  contents.resize(size);
  return contents;
}

absl::Status EnsureDirectory(const std::string& path, mode_t mode) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  if (trimmed.empty()) return absl::InvalidArgumentError("the name of a directory is empty");
  RETURN_IF_ERROR(MakeParents(trimmed));
  const bool made = mkdir(trimmed.c_str(), mode & 0700) == 0;
  if (!made && errno != EEXIST) {
    return ErrnoStatus(errno, absl::StrCat("make the directory ", trimmed));
  }
  Fd directory(RetryOnInterrupt(
      [&] { return open(trimmed.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }));
  if (!directory.ok()) {
    if (errno == ENOTDIR || errno == ELOOP) {
      return absl::FailedPreconditionError(
          absl::StrCat(trimmed, " exists and is no directory (symbolic links are not followed)"));
    }
    return ErrnoStatus(errno, absl::StrCat("open the directory ", trimmed));
  }
  RETURN_IF_ERROR(CheckOurs(directory.get(), trimmed));
  if (fchmod(directory.get(), mode) != 0) {
    return ErrnoStatus(errno, absl::StrCat("chmod ", trimmed));
  }
  if (!made) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Place place, Split(trimmed));
  return SyncDirectory(place.directory);
}

absl::Status RemoveFileDurably(const std::string& path) {
  ASSIGN_OR_RETURN(const Place place, Split(path));
  if (unlink(path.c_str()) != 0) return ErrnoStatus(errno, absl::StrCat("remove ", path));
  return SyncDirectory(place.directory);
}

absl::Status SyncDirectory(const std::string& path) {
  Fd directory(OpenDirectory(path));
  if (!directory.ok()) return ErrnoStatus(errno, absl::StrCat("open the directory ", path));
  if (RetryOnInterrupt([&] { return fsync(directory.get()); }) != 0) {
    return ErrnoStatus(errno, absl::StrCat("sync the directory ", path));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> RemoveTemporaries(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> left;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (IsTemporary(name) &&
        it->symlink_status(error).type() == std::filesystem::file_type::regular)
      left.push_back(name);
  }
  if (error) return ErrnoStatus(error.value(), absl::StrCat("list the directory ", directory));
  for (const std::string& name : left) {
    RETURN_IF_ERROR(RemoveFileDurably(absl::StrCat(directory, "/", name)));
  }
  return static_cast<int>(left.size());
}

absl::StatusOr<DirectoryLock> DirectoryLock::Acquire(const std::string& directory) {
  const std::string path = directory + "/lock";
  Fd file(RetryOnInterrupt(
      [&] { return open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600); }));
  if (!file.ok()) return ErrnoStatus(errno, absl::StrCat("open ", path));
  if (RetryOnInterrupt([&] { return flock(file.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno == EWOULDBLOCK) {
      return absl::FailedPreconditionError(
          absl::StrCat("the directory ", directory,
                       " is in use by another process, which holds its lock file: stop that "
                       "process or choose another directory"));
    }
    return ErrnoStatus(errno, absl::StrCat("lock ", path));
  }
  return DirectoryLock(file.Release());
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace linchpin::base
