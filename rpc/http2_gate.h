// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a local HTTP/2 client may do before it is hung up on. gRPC 1.51 itself sets no bound to a
// header block that goes on for ever, to strings in it, or to calls that are reset in haste.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace linchpin::rpc {

// So many at once, so many a second in the long run.
class Allowance {
 public:
  Allowance(double at_once, double a_second)
      : most_(at_once), a_second_(a_second), left_(at_once) {}
  // False: there are not as many. `now` never goes back.
  bool Take(size_t count, absl::Duration now);
  // Takes them all the same: then nothing more is allowed before FreeAt().
  void Charge(size_t count, absl::Duration now);
  absl::Duration FreeAt() const;

 private:
  void Refill(absl::Duration now);

  double most_;
  double a_second_;
  double left_;
  absl::Duration last_ = absl::ZeroDuration();
};

// Follows the frames of one client; holds no content. Begins before the connection preface, whose
// bytes have been looked at elsewhere.
class Http2Gate {
 public:
  // Several times what gRPC's clients send with a call; as many frames as a client that makes one
  // call after the other can send.
  static constexpr size_t kMaxHeaderBlock = 16384;
  static constexpr size_t kMaxControlFrame = 16384;
  static constexpr double kFramesAtOnce = 4096;
  static constexpr double kFramesASecond = 4096;

  struct Verdict {
    bool pass = false;
    size_t opened = 0;  // header blocks that began: calls
    size_t frames = 0;  // that began
  };
  // Of the bytes that follow those of the last call. After a refusal there is no more.
  Verdict Look(absl::string_view bytes, absl::Duration now);

 private:
  bool Begin(size_t length, uint8_t type, uint8_t flags);

  static constexpr size_t kFrameHeader = 9;
  static constexpr size_t kPreface = 24;

  Allowance frames_{kFramesAtOnce, kFramesASecond};
  std::array<char, kFrameHeader> header_;
  size_t header_size_ = 0;
  size_t skip_ = kPreface;  // bytes up to the next frame
  bool in_block_ = false;
  size_t block_ = 0;  // bytes of the header block so far
};

}  // namespace linchpin::rpc
