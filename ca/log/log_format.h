// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The bytes of an issuance log's segment. Pure: from bytes and to bytes. All numbers little-endian.
//
//   segment  = header frame*
//   header   = "LPINLG01" | first index u64 | chain hash before it (32) | check (8)
//   frame    = payload length u32 | number of entries u32 | check of these two (8) |
//              payload | check of the payload (8)
//   payload  = (length u32 | chain hash (32) | IssuanceRecord) for each entry
//   check    = the first 8 bytes of SHA-256 of what it covers
//   chain hash of an entry = SHA-256 over the separator, the hash before it and its IssuanceRecord,
//              each preceded by its length (x509/digest.h)
//
// A frame is what one sync made durable, so a crash can tear only the last one. Its length has a
// check of its own: damage there is never taken for a torn tail, which would drop what follows.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "linchpin/ca/v1/admin.pb.h"

namespace linchpin::ca {

inline constexpr size_t kLogHeaderBytes = 8 + 8 + 32 + 8;
inline constexpr size_t kLogFrameHeaderBytes = 4 + 4 + 8;
inline constexpr size_t kLogCheckBytes = 8;
inline constexpr size_t kMaxLogPayload = 8 * 1024 * 1024;

// Where a chain stands: the index and the hash that the next entry continues.
struct LogPosition {
  uint64_t next_index = 0;
  std::string hash = std::string(32, '\0');
};

std::string EncodeLogHeader(const LogPosition& first);
// DATA_LOSS says what is wrong with it.
absl::StatusOr<LogPosition> DecodeLogHeader(absl::string_view bytes);

// Gives each entry its index and hash, moves `position` on, returns the frame.
std::string EncodeLogFrame(std::vector<v1::LogEntry>* entries, LogPosition* position);

enum class LogFrameState {
  kWhole,
  kTorn,     // what a crash while it was written leaves, if nothing follows it
  kDamaged,  // no crash of ours leaves this
};
struct LogFrame {
  LogFrameState state = LogFrameState::kDamaged;
  size_t size = 0;  // of a whole one, in bytes
  uint32_t entries = 0;
  absl::string_view payload;  // within the bytes given
  std::string problem;        // of a torn or damaged one
};
// The frame at the beginning of `bytes`, which must reach to the segment's end and not be empty.
LogFrame DecodeLogFrame(absl::string_view bytes);

// The size of the frame that begins with `header` (kLogFrameHeaderBytes); nothing if its check
// fails.
std::optional<size_t> LogFrameBytes(absl::string_view header);

// The entries of a whole frame, their chain checked from `position`, which moves on; with a null
// `position` the chain is not checked. DATA_LOSS.
absl::StatusOr<std::vector<v1::LogEntry>> DecodeLogEntries(const LogFrame& frame,
                                                           LogPosition* position);

// Reads a whole segment. `on_frame` is told each frame's offset and first index.
struct LogSegmentScan {
  LogPosition end;         // after the last whole frame
  size_t whole_bytes = 0;  // the header and the whole frames
  std::string torn;        // what was found after them; empty: nothing
};
absl::StatusOr<LogSegmentScan> ScanLogSegment(
    absl::string_view segment, const std::function<void(size_t, uint64_t)>& on_frame);

}  // namespace linchpin::ca
