// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/log/log_format.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "linchpin/state/v1/ca_state.pb.h"
#include "x509/digest.h"

namespace linchpin::ca {
namespace {

constexpr absl::string_view kMagic = "LPINLG01";
constexpr absl::string_view kChainSeparator = "linchpin issuance log entry v1";
constexpr size_t kHashBytes = 32;

void PutU32(uint32_t number, std::string* out) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(number >> shift));
}
void PutU64(uint64_t number, std::string* out) {
  for (int shift = 0; shift < 64; shift += 8) out->push_back(static_cast<char>(number >> shift));
}
uint64_t GetNumber(absl::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return number;
}
std::string Check(absl::string_view bytes) { return x509::Sha256(bytes).substr(0, kLogCheckBytes); }

std::string ChainHash(const std::string& before, absl::string_view record) {
  return x509::FieldHasher(kChainSeparator).Add(before).Add(record).Finish();
}

size_t SizeWithoutTrailingZeros(absl::string_view bytes) {
  const size_t last = bytes.find_last_not_of('\0');
  return last == absl::string_view::npos ? 0 : last + 1;
}

// Moves `position` over an entry that continues it.
absl::Status Follow(const v1::LogEntry& entry, absl::string_view bytes, absl::string_view hash,
                    LogPosition* position) {
  std::string expected = ChainHash(position->hash, bytes);
  if (entry.index() != position->next_index || hash != expected) {
    return absl::DataLossError(
        absl::StrCat("entry ", position->next_index, " does not continue the hash chain"));
  }
  ++position->next_index;
  position->hash = std::move(expected);
  return absl::OkStatus();
}

LogFrame Failed(LogFrameState state, std::string problem) {
  LogFrame frame;
  frame.state = state;
  frame.problem = std::move(problem);
  return frame;
}

}  // namespace

std::string EncodeLogHeader(const LogPosition& first) {
  std::string header(kMagic);
  PutU64(first.next_index, &header);
  header += first.hash;
  header += Check(header);
  return header;
}

absl::StatusOr<LogPosition> DecodeLogHeader(absl::string_view bytes) {
  if (bytes.size() < kLogHeaderBytes) {
    return absl::DataLossError(
        absl::StrCat("its header has ", bytes.size(), " bytes instead of ", kLogHeaderBytes));
  }
  const absl::string_view covered = bytes.substr(0, kLogHeaderBytes - kLogCheckBytes);
  if (covered.substr(0, kMagic.size()) != kMagic) {
    return absl::DataLossError("it does not begin as a log segment of this format");
  }
  if (bytes.substr(covered.size(), kLogCheckBytes) != Check(covered)) {
    return absl::DataLossError("its header's checksum is wrong");
  }
  LogPosition position;
  position.next_index = GetNumber(covered.substr(kMagic.size(), 8));
  position.hash = std::string(covered.substr(kMagic.size() + 8));
  return position;
}

std::string EncodeLogFrame(std::vector<v1::LogEntry>* entries, LogPosition* position) {
  std::string payload;
  for (v1::LogEntry& entry : *entries) {
    entry.set_index(position->next_index++);
    entry.clear_hash();
    state::v1::IssuanceRecord record;
    *record.mutable_entry() = entry;
    const std::string bytes = record.SerializeAsString();
    position->hash = ChainHash(position->hash, bytes);
    entry.set_hash(position->hash);
    PutU32(static_cast<uint32_t>(bytes.size()), &payload);
    payload += position->hash;
    payload += bytes;
  }
  std::string frame;
  frame.reserve(kLogFrameHeaderBytes + payload.size() + kLogCheckBytes);
  PutU32(static_cast<uint32_t>(payload.size()), &frame);
  PutU32(static_cast<uint32_t>(entries->size()), &frame);
  frame += Check(frame);
  frame += payload;
  frame += Check(payload);
  return frame;
}

std::optional<size_t> LogFrameBytes(absl::string_view header) {
  if (header.size() < kLogFrameHeaderBytes) return std::nullopt;
  if (header.substr(8, kLogCheckBytes) != Check(header.substr(0, 8))) return std::nullopt;
  const uint64_t length = GetNumber(header.substr(0, 4));
  if (length > kMaxLogPayload) return std::nullopt;
  return kLogFrameHeaderBytes + length + kLogCheckBytes;
}

LogFrame DecodeLogFrame(absl::string_view bytes) {
  // A file system may have grown the file and not written all of it: zeros at its end are absent.
  if (SizeWithoutTrailingZeros(bytes.substr(0, kLogFrameHeaderBytes + 1)) == 0 &&
      SizeWithoutTrailingZeros(bytes) == 0) {
    return Failed(LogFrameState::kTorn, absl::StrCat(bytes.size(), " zero bytes"));
  }
  if (bytes.size() < kLogFrameHeaderBytes) {
    return Failed(LogFrameState::kTorn, absl::StrCat("only ", bytes.size(), " bytes of a frame"));
  }
  const std::optional<size_t> size = LogFrameBytes(bytes);
  if (!size.has_value()) {
    if (SizeWithoutTrailingZeros(bytes) < kLogFrameHeaderBytes) {
      return Failed(LogFrameState::kTorn, "a part of a frame's header");
    }
    return Failed(LogFrameState::kDamaged, "the header of a frame is wrong");
  }
  LogFrame frame;
  frame.size = *size;
  frame.entries = static_cast<uint32_t>(GetNumber(bytes.substr(4, 4)));
  if (bytes.size() < frame.size) {
    return Failed(LogFrameState::kTorn,
                  absl::StrCat("only ", bytes.size(), " of the ", frame.size, " bytes of a frame"));
  }
  const size_t payload_end = frame.size - kLogCheckBytes;
  frame.payload = bytes.substr(kLogFrameHeaderBytes, payload_end - kLogFrameHeaderBytes);
  if (bytes.substr(payload_end, kLogCheckBytes) != Check(frame.payload)) {
    // Only the last frame can be torn.
    const bool last = SizeWithoutTrailingZeros(bytes.substr(frame.size)) == 0;
    return Failed(last ? LogFrameState::kTorn : LogFrameState::kDamaged,
                  "the checksum of a frame is wrong");
  }
  frame.state = LogFrameState::kWhole;
  return frame;
}

absl::StatusOr<std::vector<v1::LogEntry>> DecodeLogEntries(const LogFrame& frame,
                                                           LogPosition* position) {
  absl::string_view rest = frame.payload;
  std::vector<v1::LogEntry> entries;
  while (!rest.empty()) {
    if (rest.size() < 4 + kHashBytes) return absl::DataLossError("an entry is cut short");
    const uint64_t length = GetNumber(rest.substr(0, 4));
    const absl::string_view hash = rest.substr(4, kHashBytes);
    rest.remove_prefix(4 + kHashBytes);
    if (rest.size() < length) return absl::DataLossError("an entry is cut short");
    const absl::string_view bytes = rest.substr(0, length);
    rest.remove_prefix(length);

    state::v1::IssuanceRecord record;
    if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return absl::DataLossError("an entry is malformed");
    }
    if (position != nullptr) RETURN_IF_ERROR(Follow(record.entry(), bytes, hash, position));
    record.mutable_entry()->set_hash(std::string(hash));
    entries.push_back(std::move(*record.mutable_entry()));
  }
  if (entries.size() != frame.entries) {
    return absl::DataLossError(
        absl::StrCat("a frame of ", frame.entries, " entries holds ", entries.size()));
  }
  return entries;
}

absl::StatusOr<LogSegmentScan> ScanLogSegment(
    absl::string_view segment, const std::function<void(size_t, uint64_t)>& on_frame) {
  LogSegmentScan scan;
  ASSIGN_OR_RETURN(scan.end, DecodeLogHeader(segment));
  scan.whole_bytes = kLogHeaderBytes;
  while (scan.whole_bytes < segment.size()) {
    const LogFrame frame = DecodeLogFrame(segment.substr(scan.whole_bytes));
    if (frame.state == LogFrameState::kTorn) {
      scan.torn = absl::StrCat("at offset ", scan.whole_bytes, ": ", frame.problem);
      return scan;
    }
    if (frame.state == LogFrameState::kDamaged) {
      return absl::DataLossError(absl::StrCat("at offset ", scan.whole_bytes, ": ", frame.problem));
    }
    const uint64_t first = scan.end.next_index;
    const absl::StatusOr<std::vector<v1::LogEntry>> entries = DecodeLogEntries(frame, &scan.end);
    if (!entries.ok()) {
      return absl::DataLossError(
          absl::StrCat("at offset ", scan.whole_bytes, ": ", entries.status().message()));
    }
    on_frame(scan.whole_bytes, first);
    scan.whole_bytes += frame.size;
  }
  return scan;
}

}  // namespace linchpin::ca
