// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/http2_gate.h"

#include <algorithm>

namespace linchpin::rpc {
namespace {

// RFC 9113, 6.
constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kPushPromise = 5;
constexpr uint8_t kContinuation = 9;
constexpr uint8_t kEndHeaders = 4;

}  // namespace

void Allowance::Refill(absl::Duration now) {
  left_ = std::min(most_, left_ + a_second_ * absl::ToDoubleSeconds(now - last_));
  last_ = now;
}

void Allowance::Charge(size_t count, absl::Duration now) {
  Refill(now);
  left_ -= static_cast<double>(count);
}

absl::Duration Allowance::FreeAt() const {
  return last_ + absl::Seconds(std::max(-left_, 0.0) / a_second_);
}

bool Allowance::Take(size_t count, absl::Duration now) {
  Refill(now);
  if (left_ < static_cast<double>(count)) return false;
  left_ -= static_cast<double>(count);
  return true;
}

Http2Gate::Verdict Http2Gate::Look(absl::string_view bytes, absl::Duration now) {
  Verdict verdict;
  while (true) {
    const size_t skipped = std::min(skip_, bytes.size());
    skip_ -= skipped;
    bytes.remove_prefix(skipped);
    const size_t taken = std::min(kFrameHeader - header_size_, bytes.size());
    std::copy_n(bytes.begin(), taken, header_.begin() + header_size_);
    header_size_ += taken;
    bytes.remove_prefix(taken);
    if (header_size_ < kFrameHeader) break;
    header_size_ = 0;
    const auto byte = [this](size_t at) { return static_cast<uint8_t>(header_[at]); };
    skip_ = size_t{byte(0)} << 16 | size_t{byte(1)} << 8 | byte(2);
    if (!Begin(skip_, byte(3), byte(4))) return verdict;
    if (byte(3) == kHeaders) ++verdict.opened;
    ++verdict.frames;
  }
  verdict.pass = verdict.frames == 0 || frames_.Take(verdict.frames, now);
  return verdict;
}

bool Http2Gate::Begin(size_t length, uint8_t type, uint8_t flags) {
  // 6.10: CONTINUATION frames follow HEADERS "without any intervening frames".
  if (in_block_ != (type == kContinuation) || type == kPushPromise) return false;
  if (type != kData && length > kMaxControlFrame) return false;
  if (type != kHeaders && type != kContinuation) return true;
  block_ += length;
  if (block_ > kMaxHeaderBlock) return false;
  in_block_ = (flags & kEndHeaders) == 0;
  if (!in_block_) block_ = 0;
  return true;
}

}  // namespace linchpin::rpc
