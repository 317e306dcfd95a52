// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The connections that gRPC has been given, and who is at the other end of each.
#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <map>
#include <memory>

#include "base/mutex.h"
#include "rpc/unix_peer.h"

namespace linchpin::rpc {

// gRPC owns the socket that it was given, closes it when it likes, and names a call's connection by
// its number (file descriptor).
class ServedSockets {
 public:
  ServedSockets();

  // Moves a file to a number that was not in use lately: a call that began on a connection that has
  // just gone must not find another there. The same number where there is no other.
  int Renumber(int fd);

  void Add(int number, uint64_t inode, std::shared_ptr<const UnixPeer> peer);
  void Remove(int number, uint64_t inode);

  // Any thread. Null if unknown or if the connection has gone.
  std::shared_ptr<const UnixPeer> PeerOf(const grpc::ServerContextBase& context) const;

  // Of an open file; 0: none. While a socket is open no other has its inode.
  static uint64_t InodeOf(int fd);

 private:
  struct Served {
    std::shared_ptr<const UnixPeer> peer;
    uint64_t inode = 0;
  };

  const int end_;  // of the numbers
  int next_ = 0;
  mutable base::Mutex mutex_;
  std::map<int, Served> served_;
};

}  // namespace linchpin::rpc
