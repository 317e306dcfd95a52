// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/client_hello.h"

namespace linchpin::rpc {
namespace {

constexpr unsigned char kHandshake = 22;
constexpr unsigned char kMajor = 3;
constexpr unsigned char kMostMinor = 4;
constexpr unsigned char kClientHello = 1;
constexpr size_t kHeader = 5;
constexpr size_t kLeastFragment = 4;  // a handshake message's own header
constexpr size_t kMostFragment = 1 << 14;

}  // namespace

Hello LookAtHello(absl::string_view first_bytes, size_t available) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(first_bytes[i]); };
  const size_t size = first_bytes.size();
  if (size > 0 && at(0) != kHandshake) return Hello::kForeign;
  if (size > 1 && at(1) != kMajor) return Hello::kForeign;
  if (size > 2 && at(2) > kMostMinor) return Hello::kForeign;
  if (size < kHeader) return Hello::kBegun;
  const size_t fragment = size_t{at(3)} << 8 | at(4);
  if (fragment < kLeastFragment || fragment > kMostFragment) return Hello::kForeign;
  if (size > kHeader && at(kHeader) != kClientHello) return Hello::kForeign;
  return size > kHeader && available >= kHeader + fragment ? Hello::kWhole : Hello::kBegun;
}

}  // namespace linchpin::rpc
