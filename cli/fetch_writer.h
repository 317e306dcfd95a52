// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Files that follow what the agent delivers, and the command that makes a service load them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/swapped_directory.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "trust/bundle.h"

namespace linchpin::cli {

struct WriteOptions {
  base::SwappedDirectoryOptions place;
  std::string id;  // empty: the first identity
  trust::BundleKind bundle = trust::BundleKind::kPinned;
  std::vector<std::string> command;  // run after each change; empty: none
  absl::Duration command_timeout = absl::Seconds(30);
};

// "0600" to "0640": octal, and never readable by everybody. INVALID_ARGUMENT.
absl::StatusOr<mode_t> ParseSecretMode(const std::string& text);
// "USER", "USER:GROUP" or ":GROUP", names or numbers. NOT_FOUND: no such user or group.
absl::Status ParseOwner(const std::string& text, base::SwappedDirectoryOptions* place);

// Writes the files, then runs the command; who holds `lock` meanwhile keeps other writers out.
// `said` gets a sentence that somebody should read though
// nothing failed. The codes of trust::RenderContextFiles, base::SwapFiles and base::RunProgram.
absl::Status WriteContexts(const WriteOptions& options, const agent::v1::MtlsContexts& contexts,
                           absl::Time now, base::WriterLock* lock, std::string* said);

// Writes what was given last, in a thread of its own, and tries again until it succeeds or
// something newer is there: a full disk or a service that does not load may be mended meanwhile.
class FollowingWriter {
 public:
  struct Parts {
    const WriteOptions& options;
    const base::Clock& clock;
    std::ostream& err;  // what fails is said here, by the thread
    // After the command exited with 0: tells the agent. At an error it is called again, alone,
    // until it succeeds or something newer is given.
    std::function<absl::Status(const agent::v1::MtlsContexts&)> loaded;
  };
  // `parts` must outlive this object.
  explicit FollowingWriter(Parts parts);
  ~FollowingWriter();  // waits for a command that runs

  // Replaces what still waits. Contexts without identities change nothing in the files. The first
  // are written before this returns: an error says that trying again cannot help (the directory is
  // not one to write to, the command cannot be run).
  absl::Status Give(const agent::v1::MtlsContexts& contexts);

 private:
  struct Work {
    std::shared_ptr<const agent::v1::MtlsContexts> contexts;
    int attempt = 0;
    bool loaded = false;  // all that is left is to tell the agent
  };
  void Run();
  void Say(const absl::Status& failed) const;
  absl::Status Do(Work* work);

  const Parts parts_;
  base::WriterLock lock_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::optional<Work> next_;
  bool stop_ = false;
  bool begun_ = false;  // of the one who gives
  std::thread thread_;
};

}  // namespace linchpin::cli
