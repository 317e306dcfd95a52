// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a demonstration service has to say: one JSON object a line on stdout.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "sdk/types.h"

namespace linchpin::demo {

// Any thread.
class Events {
 public:
  // The library's notices: identities, refusals, an agent that is gone.
  void Notice(const tls::Notice& notice);
  void Listening(int port);
  // An attempt that failed here; `word` is the verdict's reason, or UNAVAILABLE and the like.
  void Failed(const std::string& word, const std::string& text);
  // An attempt that succeeded, a byte each way; only the first of each peer and group is a line.
  void Succeeded(const std::string& peer, const std::string& group);
  void Counts();  // how many so far

 private:
  std::mutex mutex_;
  uint64_t ok_ = 0;
  uint64_t failed_ = 0;
  std::map<std::string, uint64_t> reasons_;
  std::string greeted_;  // the last peer and group that was a line
};

}  // namespace linchpin::demo
