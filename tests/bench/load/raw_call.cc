// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/bench/load/raw_call.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace linchpin::bench {
namespace {

// RFC 9113 §6.
constexpr char kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoAway = 7,
               kWindowUpdate = 8;
constexpr char kAck = 1, kEndStream = 1, kEndHeaders = 4;
constexpr size_t kFrameHead = 9, kMessageHead = 5;
constexpr uint32_t kWindow = 1U << 30;
constexpr int kPatienceMs = 30'000;

std::string Number(uint32_t value, int bytes) {
  std::string out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
  return out;
}

uint32_t Number(absl::string_view bytes) {
  uint32_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::string FrameOf(char type, char flags, uint32_t stream, absl::string_view payload) {
  return absl::StrCat(Number(static_cast<uint32_t>(payload.size()), 3), std::string(1, type),
                      std::string(1, flags), Number(stream, 4), payload);
}

std::string Text(absl::string_view text) {  // RFC 7541 §5.2, below 127 bytes
  return absl::StrCat(std::string(1, static_cast<char>(text.size())), text);
}

std::string Opening() {
  const std::string settings = Number(4, 2) + Number(kWindow, 4);  // INITIAL_WINDOW_SIZE
  return absl::StrCat("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FrameOf(kSettings, 0, 0, settings),
                      FrameOf(kWindowUpdate, 0, 0, Number(kWindow, 4)));
}

std::string Literal(absl::string_view name, absl::string_view value) {
  return absl::StrCat(std::string(1, '\0'), Text(name), Text(value));
}

std::string Asking(const RawRequest& request, uint32_t stream) {
  const std::string headers =
      absl::StrCat("\x83\x86",                                         // :method POST, :scheme http
                   "\x04", Text(request.path), "\x01", Text("agent"),  // :path, :authority
                   "\x0f\x10", Text("application/grpc"), Literal("te", "trailers"),
                   request.header.empty() ? "" : Literal(request.header, request.value));
  const std::string data =
      absl::StrCat(std::string(1, '\0'), Number(static_cast<uint32_t>(request.message.size()), 4),
                   request.message);
  return absl::StrCat(FrameOf(kHeaders, kEndHeaders, stream, headers),
                      FrameOf(kData, kEndStream, stream, data));
}

absl::Status Errno(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

}  // namespace

struct RawCall::Frame {
  char type;
  char flags;
  uint32_t stream;
  std::string payload;
};

RawCall::RawCall(RawCall&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      incoming_(std::move(other.incoming_)),
      data_(std::move(other.data_)),
      stream_(other.stream_) {}

RawCall::~RawCall() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<RawCall> RawCall::Start(const std::string& socket, const RawRequest& request) {
  sockaddr_un address{.sun_family = AF_UNIX};
  if (socket.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(socket, " is too long for a socket"));
  }
  socket.copy(address.sun_path, socket.size());
  RawCall call(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (call.fd_ < 0) return Errno("no socket");
  if (connect(call.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Errno(absl::StrCat("cannot connect to ", socket));
  }
  RETURN_IF_ERROR(call.Send(Opening() + Asking(request, call.stream_)));
  return call;
}

absl::Status RawCall::Again(const RawRequest& request) {
  constexpr uint32_t kCancel = 8;
  const std::string reset = FrameOf(kReset, 0, stream_, Number(kCancel, 4));
  stream_ += 2;
  data_.clear();
  return Send(reset + Asking(request, stream_));
}

absl::Status RawCall::Send(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return Errno("cannot send");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

absl::Status RawCall::Fill(size_t least) {
  while (incoming_.size() < least) {
    pollfd waiting{.fd = fd_, .events = POLLIN};
    if (poll(&waiting, 1, kPatienceMs) == 0) {
      return absl::DeadlineExceededError("the server said nothing for half a minute");
    }
    char bytes[16 * 1024];
    const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
    if (got < 0) return Errno("cannot receive");
    if (got == 0) return absl::UnavailableError("the server closed the connection");
    incoming_.append(bytes, static_cast<size_t>(got));
  }
  return absl::OkStatus();
}

absl::StatusOr<RawCall::Frame> RawCall::ReadFrame() {
  RETURN_IF_ERROR(Fill(kFrameHead));
  const absl::string_view head(incoming_);
  const size_t size = Number(head.substr(0, 3));
  Frame frame{.type = head[3], .flags = head[4], .stream = Number(head.substr(5, 4))};
  RETURN_IF_ERROR(Fill(kFrameHead + size));
  frame.payload = incoming_.substr(kFrameHead, size);
  incoming_.erase(0, kFrameHead + size);
  return frame;
}

absl::StatusOr<std::string> RawCall::Read() {
  while (true) {
    if (data_.size() >= kMessageHead) {
      const size_t size = Number(absl::string_view(data_).substr(1, 4));
      if (data_.size() >= kMessageHead + size) {
        std::string message = data_.substr(kMessageHead, size);
        data_.erase(0, kMessageHead + size);
        return message;
      }
    }
    ASSIGN_OR_RETURN(const Frame frame, ReadFrame());
    const bool asks = (frame.flags & kAck) == 0;
    if (frame.stream != 0 && frame.stream != stream_) continue;  // of a call before
    if (frame.type == kData) {
      data_ += frame.payload;
    } else if (frame.type == kSettings && asks) {
      RETURN_IF_ERROR(Send(FrameOf(kSettings, kAck, 0, "")));
    } else if (frame.type == kPing && asks) {
      RETURN_IF_ERROR(Send(FrameOf(kPing, kAck, 0, frame.payload)));
    } else if (frame.type == kReset || frame.type == kGoAway ||
               (frame.type == kHeaders && (frame.flags & kEndStream) != 0)) {
      return absl::UnavailableError(absl::StrCat("the server ended the call: ", frame.payload));
    }
  }
}

}  // namespace linchpin::bench
