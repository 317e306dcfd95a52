// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Carries bytes between a caller's socket and the one that gRPC was given in its place.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/strings/string_view.h"

namespace linchpin::rpc {

// Holds at most one piece each way, and only while its reader is slow. From a caller that does not
// read its answers nothing is taken: gRPC would queue more of them. One thread.
class Relay {
 public:
  static constexpr size_t kPiece = 16384;

  // Owns both; neither blocks.
  Relay(int caller, int server) : caller_(caller), server_(server) {}
  ~Relay();
  Relay(const Relay&) = delete;

  enum class State { kOpen, kCallerGone, kServerGone, kRefused };
  // Moves what is there, a few pieces at most. `admit` sees what the caller sends before it is
  // passed on; false is kRefused.
  State Pump(const std::function<bool(absl::string_view)>& admit);

  // While false, nothing more is taken from the caller, also within Pump().
  void Hear(bool hears) { hears_ = hears; }
  bool hears() const { return hears_; }

  // What to wait for, as epoll's level-triggered events.
  uint32_t CallerEvents() const;
  uint32_t ServerEvents() const;

  // Hangs up on the caller and tells gRPC. Then Drain() until it is true: gRPC has closed its end.
  void HangUp();
  bool Drain();

  int caller() const { return caller_; }
  int server() const { return server_; }

 private:
  State Down();
  State Up(const std::function<bool(absl::string_view)>& admit);

  int caller_;
  int server_;
  bool hears_ = true;
  std::string to_caller_;
  std::string to_server_;
};

}  // namespace linchpin::rpc
