// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/grpc_frames.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace linchpin::rpc {
namespace {

constexpr size_t kMostDigits = 8;
constexpr char kHex[] = "0123456789ABCDEF";

absl::Status Compressed(absl::string_view encoding) {
  if (encoding.empty() || encoding == "identity") {
    return absl::InternalError("a message is marked as compressed, and no grpc-encoding was named");
  }
  return absl::UnimplementedError(
      "compressed messages are not taken here; send them with grpc-encoding: identity");
}

}  // namespace

std::string MessageHead(size_t size) {
  std::string head(kMessageHead, '\0');
  for (size_t i = 1; i < kMessageHead; ++i) {
    head[i] = static_cast<char>(size >> 8 * (kMessageHead - 1 - i));
  }
  return head;
}

absl::StatusOr<std::optional<std::string>> IncomingMessages::Next(absl::string_view encoding) {
  const absl::string_view bytes = absl::string_view(bytes_).substr(taken_);
  if (bytes.size() < kMessageHead) return std::nullopt;
  const auto byte = [bytes](size_t at) { return static_cast<uint8_t>(bytes[at]); };
  if (byte(0) == 1) return Compressed(encoding);
  if (byte(0) != 0) return absl::InternalError("a message begins with no known flag");
  const size_t size =
      size_t{byte(1)} << 24 | size_t{byte(2)} << 16 | size_t{byte(3)} << 8 | byte(4);
  if (size > max_message_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a message of ", size, " bytes: at most ", max_message_, " are taken"));
  }
  if (bytes.size() - kMessageHead < size) return std::nullopt;
  std::string message(bytes.substr(kMessageHead, size));
  taken_ += kMessageHead + size;
  if (empty()) {
    Clear();
  } else if (taken_ >= bytes_.size() / 2) {  // seldom: each would move all that follow
    bytes_.erase(0, taken_);
    taken_ = 0;
  }
  return message;
}

bool IsGrpc(absl::string_view content_type) {
  const std::string lower = absl::AsciiStrToLower(content_type);
  absl::string_view rest = lower;
  if (!absl::ConsumePrefix(&rest, "application/grpc")) return false;
  absl::ConsumePrefix(&rest, "+proto");
  return rest.empty() || rest[0] == ';';
}

std::optional<absl::Duration> ParseTimeout(absl::string_view text) {
  if (text.size() < 2 || text.size() > kMostDigits + 1) return std::nullopt;
  const absl::string_view digits = text.substr(0, text.size() - 1);
  int64_t value = 0;
  if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(digits, &value)) {
    return std::nullopt;
  }
  switch (text.back()) {
    case 'H':
      return absl::Hours(value);
    case 'M':
      return absl::Minutes(value);
    case 'S':
      return absl::Seconds(value);
    case 'm':
      return absl::Milliseconds(value);
    case 'u':
      return absl::Microseconds(value);
    case 'n':
      return absl::Nanoseconds(value);
    default:
      return std::nullopt;
  }
}

std::string PercentEncode(absl::string_view text) {
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      encoded.push_back(c);
      continue;
    }
    const auto byte = static_cast<uint8_t>(c);
    encoded.append({'%', kHex[byte >> 4], kHex[byte & 15]});
  }
  return encoded;
}

}  // namespace linchpin::rpc
