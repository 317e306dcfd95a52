// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/http2_preface.h"

#include "absl/strings/match.h"

namespace linchpin::rpc {
namespace {

constexpr absl::string_view kMagic("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
// A frame's header: three bytes of length, type, flags, four bytes of stream. SETTINGS is type 4,
// on stream 0, and the first is no acknowledgement.
constexpr absl::string_view kTypeFlagsStream("\x04\0\0\0\0\0", 6);
constexpr size_t kLengthBytes = 3;
constexpr size_t kBytesOfSetting = 6;

}  // namespace

Preface LookAtPreface(absl::string_view first_bytes) {
  const absl::string_view magic = first_bytes.substr(0, kMagic.size());
  if (!absl::StartsWith(kMagic, magic)) return Preface::kForeign;
  const absl::string_view frame = first_bytes.substr(magic.size());
  if (frame.size() < kLengthBytes) return Preface::kBegun;
  size_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length = length << 8 | static_cast<uint8_t>(frame[i]);
  const size_t most = kPrefaceBytes - kMagic.size() - kLengthBytes - kTypeFlagsStream.size();
  if (length > most || length % kBytesOfSetting != 0) return Preface::kForeign;
  const absl::string_view rest = frame.substr(kLengthBytes);
  if (!absl::StartsWith(kTypeFlagsStream, rest.substr(0, kTypeFlagsStream.size()))) {
    return Preface::kForeign;
  }
  return rest.size() < kTypeFlagsStream.size() + length ? Preface::kBegun : Preface::kWhole;
}

}  // namespace linchpin::rpc
