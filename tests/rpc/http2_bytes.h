// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// HTTP/2 as a caller writes and reads it, frame by frame: also what no client would send.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "rpc/grpc_frames.h"

namespace linchpin::test {

// RFC 9113, 6.
enum FrameType : uint8_t { kData, kHeaders, kPriority, kReset, kSettings, kPush, kPing, kGoAway };
inline constexpr uint8_t kWindowUpdate = 8, kContinuation = 9;
inline constexpr uint8_t kEndStream = 1, kAck = 1, kEndHeaders = 4;
using HeaderList = std::vector<std::pair<std::string, std::string>>;

inline std::string Number(uint32_t value, int bytes) {
  std::string out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
  return out;
}

inline std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload) {
  return absl::StrCat(Number(static_cast<uint32_t>(payload.size()), 3), Number(type, 1),
                      Number(flags, 1), Number(stream, 4), payload);
}

inline std::string Opening(const std::string& settings = "") {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, settings);
}

// Literals that no table remembers (RFC 7541, 6.2.2), of names and values below 16 KiB.
inline std::string Block(const HeaderList& headers) {
  const auto text = [](const std::string& bytes) {
    if (bytes.size() < 127) return Number(static_cast<uint32_t>(bytes.size()), 1) + bytes;
    const auto more = static_cast<uint32_t>(bytes.size() - 127);
    return Number(127, 1) + Number(0x80 | (more & 0x7f), 1) + Number(more >> 7, 1) + bytes;
  };
  std::string block;
  for (const auto& [name, value] : headers)
    block += std::string(1, '\0') + text(name) + text(value);
  return block;
}

inline HeaderList Asking(const std::string& path, const HeaderList& more = {}) {
  HeaderList headers = {{":method", "POST"},
                        {":scheme", "http"},
                        {":path", path},
                        {":authority", "agent"},
                        {"content-type", "application/grpc"},
                        {"te", "trailers"}};
  headers.insert(headers.end(), more.begin(), more.end());
  return headers;
}

inline std::string Headers(uint32_t stream, const HeaderList& headers, uint8_t flags = 0) {
  return Frame(kHeaders, kEndHeaders | flags, stream, Block(headers));
}

inline std::string Message(absl::string_view bytes) {
  return absl::StrCat(rpc::MessageHead(bytes.size()), bytes);
}

// A whole call with one message.
inline std::string Call(uint32_t stream, const HeaderList& headers,
                        const std::string& message = Message("")) {
  return Headers(stream, headers) + Frame(kData, kEndStream, stream, message);
}

// What a server said of its streams.
struct Heard {
  struct Answer {
    std::map<std::string, std::string> headers;  // and trailers
    std::string data;
    bool ended = false;
    int reset = -1;  // the error, if it was
  };
  std::map<uint32_t, Answer> answers;
  int gone_away = -1;  // the error, if it was said
  std::string settings;
  size_t acks = 0;

  Heard() { nghttp2_hd_inflate_new(&inflater_); }
  ~Heard() { nghttp2_hd_inflate_del(inflater_); }
  Heard(const Heard&) = delete;

  void Take(absl::string_view bytes) {
    rest_.append(bytes.data(), bytes.size());
    while (rest_.size() >= 9) {
      const auto byte = [this](size_t at) { return static_cast<uint8_t>(rest_[at]); };
      const size_t size = size_t{byte(0)} << 16 | size_t{byte(1)} << 8 | byte(2);
      if (rest_.size() < 9 + size) return;
      const uint32_t stream = Read(rest_.substr(5, 4));
      TakeFrame(byte(3), byte(4), stream, rest_.substr(9, size));
      rest_.erase(0, 9 + size);
    }
  }

 private:
  static uint32_t Read(absl::string_view bytes) {
    uint32_t value = 0;
    for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }
  void TakeFrame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
    if (type == kSettings) {
      (flags & kAck) != 0 ? void(++acks) : void(settings = payload);
    } else if (type == kGoAway) {
      gone_away = static_cast<int>(Read(absl::string_view(payload).substr(4, 4)));
    } else if (type == kReset) {
      answers[stream].reset = static_cast<int>(Read(payload));
    } else if (type == kData) {
      answers[stream].data += payload;
    } else if (type == kHeaders) {
      Inflate(payload, &answers[stream].headers);
    }
    if ((type == kData || type == kHeaders) && (flags & kEndStream) != 0) {
      answers[stream].ended = true;
    }
  }
  void Inflate(const std::string& block, std::map<std::string, std::string>* headers) {
    const auto* at = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    int flags = 0;
    while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
      nghttp2_nv field{};
      const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, at, left, 1);
      if (used < 0) return;
      at += used;
      left -= static_cast<size_t>(used);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        (*headers)[std::string(field.name, field.name + field.namelen)] =
            std::string(field.value, field.value + field.valuelen);
      }
    }
    nghttp2_hd_inflate_end_headers(inflater_);
  }

  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string rest_;
};

}  // namespace linchpin::test
