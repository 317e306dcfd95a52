// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/fetch_writer.h"

#include <grp.h>
#include <pwd.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/backoff.h"
#include "base/random.h"
#include "base/run_program.h"
#include "base/status_macros.h"
#include "cli/table.h"
#include "trust/context_files.h"
#include "trust/trust_codec.h"
#include "x509/secret_bytes.h"

namespace linchpin::cli {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(500);
constexpr absl::Duration kMostPause = absl::Seconds(30);

// Trying again cannot help.
bool IsMistake(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
         absl::IsPermissionDenied(status);
}

absl::StatusOr<uid_t> UserOf(const std::string& name) {
  uint32_t number = 0;
  if (absl::SimpleAtoi(name, &number)) return number;
  const passwd* found = getpwnam(name.c_str());
  if (found == nullptr) return absl::NotFoundError(absl::StrCat("--owner: no user ", name));
  return found->pw_uid;
}

absl::StatusOr<gid_t> GroupOf(const std::string& name) {
  uint32_t number = 0;
  if (absl::SimpleAtoi(name, &number)) return number;
  const group* found = getgrnam(name.c_str());
  if (found == nullptr) return absl::NotFoundError(absl::StrCat("--owner: no group ", name));
  return found->gr_gid;
}

absl::Status WriteFiles(const WriteOptions& options, const agent::v1::MtlsContexts& contexts,
                        absl::Time now, base::WriterLock* lock, std::string* said) {
  ASSIGN_OR_RETURN(const trust::ContextFiles rendered,
                   trust::RenderContextFiles(contexts, options.id, options.bundle, now));
  std::vector<base::SwappedFile> files;
  for (const trust::ContextFile& file : rendered.files) {
    files.push_back({.name = file.name, .contents = file.contents.Reveal(), .secret = file.secret});
  }
  *said = rendered.why_empty;
  return base::SwapFiles(options.place, files, now, lock);
}

}  // namespace

absl::StatusOr<mode_t> ParseSecretMode(const std::string& text) {
  uint32_t mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7' || mode > 077) mode = 01000;
    mode = mode * 8 + static_cast<uint32_t>(c - '0');
  }
  if (text.empty() || mode == 0 || (mode & ~0660u) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--mode ", text, ": the key's file is 0600 (its owner reads it) to 0660 (its group too)"));
  }
  return mode;
}

absl::Status ParseOwner(const std::string& text, base::SwappedDirectoryOptions* place) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  if (!parts.first.empty()) {
    ASSIGN_OR_RETURN(place->uid, UserOf(parts.first));
  }
  if (!parts.second.empty()) {
    ASSIGN_OR_RETURN(place->gid, GroupOf(parts.second));
  }
  return absl::OkStatus();
}

absl::Status WriteContexts(const WriteOptions& options, const agent::v1::MtlsContexts& contexts,
                           absl::Time now, base::WriterLock* lock, std::string* said) {
  RETURN_IF_ERROR(WriteFiles(options, contexts, now, lock, said));
  if (options.command.empty()) return absl::OkStatus();
  return base::RunProgram(options.command, options.command_timeout);
}

FollowingWriter::FollowingWriter(Parts parts)
    : parts_(std::move(parts)), thread_([this] { Run(); }) {}

FollowingWriter::~FollowingWriter() {
  {
    const base::MutexLock lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

absl::Status FollowingWriter::Give(const agent::v1::MtlsContexts& contexts) {
  if (contexts.identities().empty()) return absl::OkStatus();
  Work work{.contexts = x509::ShareWiped(agent::v1::MtlsContexts(contexts), trust::WipeKeys)};
  if (!std::exchange(begun_, true)) {
    const absl::Status first = Do(&work);
    if (first.ok()) return first;
    if (!work.loaded && IsMistake(first)) return first;
    if (!work.loaded) Say(first);
  }
  {
    const base::MutexLock lock(mutex_);
    next_ = std::move(work);
  }
  changed_.notify_all();
  return absl::OkStatus();
}

void FollowingWriter::Run() {
  base::MutexLock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || next_.has_value(); });
    if (stop_) return;
    Work work = *std::exchange(next_, std::nullopt);
    while (!stop_ && !next_.has_value()) {
      lock.unlock();
      const absl::Status done = Do(&work);
      if (!done.ok() && !work.loaded) Say(done);
      lock.lock();
      if (done.ok()) break;
      const absl::Duration pause = base::Backoff(
          work.attempt - 1, base::RandomFraction(base::SystemRandom()), kFirstPause, kMostPause);
      changed_.wait_for(lock, absl::ToChronoMilliseconds(pause),
                        [this] { return stop_ || next_.has_value(); });
    }
  }
}

void FollowingWriter::Say(const absl::Status& failed) const {
  parts_.err << "linchpin: " << Printable(std::string(failed.message())) << "; trying again"
             << std::endl;
}

absl::Status FollowingWriter::Do(Work* work) {
  const int attempt = work->attempt++;
  if (!work->loaded) {
    std::string said;
    const absl::Status written =
        WriteContexts(parts_.options, *work->contexts, parts_.clock.Now(), &lock_, &said);
    if (!said.empty() && attempt == 0) parts_.err << "linchpin: " << Printable(said) << std::endl;
    if (!written.ok()) return written;
    if (attempt > 0) parts_.err << "linchpin: written and loaded" << std::endl;
    if (parts_.options.command.empty()) return absl::OkStatus();
    const absl::Status told = parts_.loaded(*work->contexts);
    if (!told.ok()) Say(told);  // once
    *work = {.contexts = work->contexts, .attempt = 1, .loaded = true};
    return told;
  }
  return parts_.loaded(*work->contexts);
}

}  // namespace linchpin::cli
