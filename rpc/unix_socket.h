// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A listening Unix socket and its file.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace linchpin::rpc {

class UnixSocket {
 public:
  // Binds `path` with `mode` (a stale socket is replaced, a live one is FAILED_PRECONDITION) and
  // listens. Does not block.
  static absl::StatusOr<std::unique_ptr<UnixSocket>> Bind(const std::string& path, mode_t mode);
  ~UnixSocket();  // unlinks the path if it is still this socket
  UnixSocket(const UnixSocket&) = delete;

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }

 private:
  UnixSocket(const std::string& path, int fd, uint64_t file) : path_(path), fd_(fd), file_(file) {}

  const std::string path_;
  const int fd_;
  const uint64_t file_;  // the inode at path_
};

}  // namespace linchpin::rpc
