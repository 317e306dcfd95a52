// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/relay.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace linchpin::rpc {
namespace {

constexpr uint32_t kIn = EPOLLIN;
constexpr uint32_t kOut = EPOLLOUT;
constexpr int kPiecesAtOnce = 4;  // before other connections have their turn

bool WouldBlock() { return errno == EAGAIN || errno == EINTR; }

// What goes to the caller holds its private keys: no copy of it stays here.
void Wipe(std::string* held) {
  explicit_bzero(held->data(), held->size());
  *held = std::string();
}

// Sends what it can of `bytes`; the rest goes to `left`. False: the reader has gone.
bool SendSome(int to, absl::string_view bytes, std::string* left) {
  const ssize_t sent = send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && !WouldBlock()) return false;
  std::string rest(bytes.substr(sent < 0 ? 0 : static_cast<size_t>(sent)));
  left->swap(rest);
  Wipe(&rest);
  return true;
}

ssize_t Receive(int from, char* bytes) { return recv(from, bytes, Relay::kPiece, MSG_DONTWAIT); }

}  // namespace

Relay::~Relay() {
  Wipe(&to_caller_);
  if (caller_ >= 0) close(caller_);
  close(server_);
}

Relay::State Relay::Pump(const std::function<bool(absl::string_view)>& admit) {
  const State down = Down();
  return down != State::kOpen ? down : Up(admit);
}

Relay::State Relay::Down() {
  if (!to_caller_.empty() && !SendSome(caller_, to_caller_, &to_caller_)) {
    return State::kCallerGone;
  }
  char bytes[kPiece];
  for (int i = 0; i < kPiecesAtOnce && to_caller_.empty(); ++i) {
    const ssize_t size = Receive(server_, bytes);
    if (size < 0 && WouldBlock()) break;
    if (size <= 0) return State::kServerGone;
    const bool sent =
        SendSome(caller_, absl::string_view(bytes, static_cast<size_t>(size)), &to_caller_);
    explicit_bzero(bytes, static_cast<size_t>(size));
    if (!sent) return State::kCallerGone;
  }
  return State::kOpen;
}

Relay::State Relay::Up(const std::function<bool(absl::string_view)>& admit) {
  if (!to_server_.empty() && !SendSome(server_, to_server_, &to_server_)) {
    return State::kServerGone;
  }
  char bytes[kPiece];
  for (int i = 0; i < kPiecesAtOnce && hears_ && to_server_.empty() && to_caller_.empty(); ++i) {
    const ssize_t size = Receive(caller_, bytes);
    if (size < 0 && WouldBlock()) break;
    if (size <= 0) return State::kCallerGone;
    const absl::string_view got(bytes, static_cast<size_t>(size));
    if (!admit(got)) return State::kRefused;
    if (!SendSome(server_, got, &to_server_)) return State::kServerGone;
  }
  return State::kOpen;
}

uint32_t Relay::CallerEvents() const {
  if (!to_caller_.empty()) return kOut;
  return hears_ && to_server_.empty() ? kIn : 0;
}

uint32_t Relay::ServerEvents() const {
  return (to_caller_.empty() ? kIn : 0) | (to_server_.empty() ? 0 : kOut);
}

void Relay::HangUp() {
  close(caller_);
  caller_ = -1;
  Wipe(&to_caller_);
  Wipe(&to_server_);
  shutdown(server_, SHUT_WR);
}

bool Relay::Drain() {
  char bytes[kPiece];
  for (int i = 0; i < kPiecesAtOnce; ++i) {
    const ssize_t size = Receive(server_, bytes);
    if (size < 0 && WouldBlock()) return false;
    if (size <= 0) return true;
    explicit_bzero(bytes, static_cast<size_t>(size));
  }
  return false;
}

}  // namespace linchpin::rpc
