// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/durable_file.h"

extern char** environ;

namespace linchpin::base {
namespace {

// 0, or the error.
int Spawn(const std::vector<std::string>& words, pid_t* pid) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  const int error = posix_spawnp(pid, arguments[0], &files, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

// Whether it ended in time. A kernel that cannot tell ends nothing early: then we wait on.
bool EndsWithin(pid_t pid, absl::Duration timeout) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return true;
  const absl::Time end = absl::Now() + timeout;
  pollfd waited = {.fd = fd, .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    const absl::Duration left = std::max(end - absl::Now(), absl::ZeroDuration());
    const auto wait = absl::ToInt64Milliseconds(std::min(left, absl::Hours(1))) + 1;
    ready = poll(&waited, 1, static_cast<int>(wait));
  } while ((ready < 0 && errno == EINTR) || (ready == 0 && absl::Now() < end));
  close(fd);
  return ready > 0;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> SplitCommand(absl::string_view command) {
  std::vector<std::string> words;
  bool in_word = false;
  char quote = 0;
  for (const char c : command) {
    if (quote != 0 && c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
      if (!in_word) words.emplace_back();
      in_word = true;
    } else if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
      in_word = false;
    } else {
      if (!in_word) words.emplace_back();
      in_word = true;
      words.back() += c;
    }
  }
  if (quote != 0) {
    return absl::InvalidArgumentError(absl::StrCat("a quote does not end in: ", command));
  }
  if (words.empty() || words.front().empty()) {
    return absl::InvalidArgumentError("the command is empty");
  }
  return words;
}

absl::Status RunProgram(const std::vector<std::string>& words, absl::Duration timeout) {
  pid_t pid = 0;
  const int error = Spawn(words, &pid);
  if (error != 0) return ErrnoStatus(error, absl::StrCat("run ", words.front()));
  const bool ended = EndsWithin(pid, timeout);
  if (!ended) kill(-pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) {
    return absl::DeadlineExceededError(absl::StrCat(
        words.front(), " did not end within ", absl::FormatDuration(timeout), " and was killed"));
  }
  if (WIFSIGNALED(status)) {
    return absl::AbortedError(
        absl::StrCat(words.front(), " was ended by signal ", WTERMSIG(status)));
  }
  if (WEXITSTATUS(status) != 0) {
    return absl::AbortedError(absl::StrCat(words.front(), " exited with ", WEXITSTATUS(status)));
  }
  return absl::OkStatus();
}

}  // namespace linchpin::base
