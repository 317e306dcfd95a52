// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Tells when processes end.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "rpc/unix_peer.h"

namespace linchpin::agent {

class ExitWatcher {
 public:
  // `exited` is called from a thread of this object, once for each process that was watched.
  explicit ExitWatcher(std::function<void(const std::string& process)> exited);
  ~ExitWatcher();
  ExitWatcher(const ExitWatcher&) = delete;

  // A process that is watched already is not watched twice. One whose end the kernel cannot tell is
  // never reported.
  void Watch(const std::string& process, std::shared_ptr<const rpc::UnixPeer> peer);

 private:
  void Run();
  void End(uint64_t key);

  const std::function<void(const std::string&)> exited_;
  int epoll_ = -1;
  int wake_ = -1;
  base::Mutex mutex_;
  uint64_t last_key_ = 0;
  std::map<uint64_t, std::pair<std::string, std::shared_ptr<const rpc::UnixPeer>>> watched_;
  std::map<std::string, uint64_t> keys_;
  std::thread thread_;
};

}  // namespace linchpin::agent
