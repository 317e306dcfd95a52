// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What lies on a disk: sealed state, the issuance log, the CA's store.

#include <algorithm>
#include <vector>

#include "agent/core/agent_core.h"
#include "agent/core/model.h"
#include "ca/core/registry.h"
#include "ca/log/log_format.h"
#include "tests/fuzz/parsers.h"
#include "tests/support/seeded_random.h"
#include "x509/digest.h"
#include "x509/sealing.h"

namespace linchpin::fuzz {
namespace {

std::string LittleEndian(uint32_t number) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(number >> shift));
  return bytes;
}

std::string Checked(const std::string& bytes) {
  return bytes + x509::Sha256(bytes).substr(0, ca::kLogCheckBytes);
}

std::string EncodeFrame(const LogCase::Frame& frame, ca::LogPosition* position) {
  if (frame.payload().empty()) {
    std::vector<ca::v1::LogEntry> entries(frame.entries().begin(), frame.entries().end());
    return ca::EncodeLogFrame(&entries, position);
  }
  const auto size = static_cast<uint32_t>(frame.payload().size());
  return Checked(LittleEndian(size) + LittleEndian(frame.count())) + Checked(frame.payload());
}

struct Scanned {
  absl::StatusOr<ca::LogSegmentScan> scan;
  std::vector<size_t> offsets;  // of the whole frames
};
Scanned Scan(absl::string_view bytes) {
  Scanned scanned{absl::UnknownError(""), {}};
  scanned.scan = ca::ScanLogSegment(
      bytes, [&](size_t offset, uint64_t) { scanned.offsets.push_back(offset); });
  if (scanned.scan.ok()) {
    Require(scanned.scan->whole_bytes <= bytes.size(), "a scan stays within its bytes");
    Require(scanned.scan->whole_bytes == bytes.size() || !scanned.scan->torn.empty(),
            "what is left over is named");
  }
  return scanned;
}

}  // namespace

void Sealed(absl::string_view bytes) {
  const x509::SecretBytes key(std::string(x509::kSealingKeySize, 'k'));
  Require(!x509::Unseal(key, bytes, "fuzz").ok(), "nothing opens that was not sealed");
  test::SeededRandom random(bytes.size());
  auto sealed = x509::Seal(key, bytes, "fuzz", random);
  Require(sealed.ok(), "anything can be sealed");
  const auto opened = x509::Unseal(key, *sealed, "fuzz");
  Require(opened.ok() && opened->Reveal() == bytes, "what was sealed opens");
  Require(!x509::Unseal(key, *sealed, "other").ok(), "a seal is bound to its purpose");
  (*sealed)[random.Below(sealed->size())] ^= static_cast<char>(1 << random.Below(8));
  Require(!x509::Unseal(key, *sealed, "fuzz").ok(), "one bit breaks a seal");
}

void AgentState(const state::v1::AgentState& state) {
  const trust::TrustDomain& trust_domain = Authority().trust_domain();
  const auto model = agent::DecodeState(state, trust_domain, test::kNow, absl::Seconds(60));
  if (model.ok()) {
    const state::v1::AgentState encoded = agent::EncodeState(*model, trust_domain);
    RequireReadable(encoded, "a state that was taken can be sealed again");
    Require(agent::DecodeState(encoded, trust_domain, test::kNow, absl::Seconds(60)).ok(),
            "a state that was taken is taken again");
  }
  test::SeededRandom random(1);
  agent::AgentCore core({.trust_domain = trust_domain}, random);
  for (const auto& action : core.Step(test::kNow, agent::event::Started{state})) {
    if (const auto* seal = std::get_if<agent::action::Seal>(&action)) {
      RequireReadable(*seal->state, "what is sealed can be read");
    }
  }
}

void LogSegment(absl::string_view bytes) {
  (void)Scan(bytes);
  const ca::LogFrame frame = ca::DecodeLogFrame(bytes.empty() ? "0" : bytes);
  if (frame.state == ca::LogFrameState::kWhole) (void)ca::DecodeLogEntries(frame, nullptr);
}

void Log(const LogCase& written) {
  ca::LogPosition position;
  position.next_index = written.first_index();
  std::string segment = ca::EncodeLogHeader(position);
  std::vector<size_t> offsets;
  bool ours = true;  // all of it was written as the log writes
  for (const LogCase::Frame& frame : written.frames()) {
    offsets.push_back(segment.size());
    segment += EncodeFrame(frame, &position);
    ours = ours && frame.payload().empty();
  }
  const size_t whole = segment.size();
  if (ours) {
    const Scanned scanned = Scan(segment);
    Require(scanned.scan.ok() && scanned.scan->torn.empty(), "what was written is read");
    Require(scanned.scan->end.next_index == position.next_index &&
                scanned.scan->end.hash == position.hash,
            "with its chain");
    Require(scanned.offsets == offsets, "frame by frame");
  }
  segment += written.tail();
  const size_t cut = std::min<size_t>(written.cut() % 4096, segment.size());
  segment.resize(segment.size() - cut);
  const size_t kept = std::min(segment.size(), whole);
  segment.append(written.zeros() % 4096, '\0');
  if (written.flip_at() != 0) {
    const size_t back = written.flip_at() % (segment.size() + 1);
    if (back > 0) segment[segment.size() - back] ^= static_cast<char>(written.flip());
  }
  const Scanned scanned = Scan(segment);
  if (!ours || !written.tail().empty() || written.flip_at() != 0) return;
  if (kept < ca::kLogHeaderBytes) return;
  Require(scanned.scan.ok(), "a crash leaves nothing that counts as damage");
  const auto before =
      std::count_if(offsets.begin(), offsets.end(), [&](size_t offset) { return offset < kept; });
  Require(static_cast<size_t>(before) <= scanned.offsets.size() + 1, "a crash tears one frame");
}

void StoreRecords(const StoreCase& stored) {
  ca::Store::Listing listing;
  listing.at = 1000;
  for (const StoreCase::Record& record : stored.records()) {
    std::string value = record.raw();
    const auto* const field = record.GetReflection()->GetOneofFieldDescriptor(
        record, record.GetDescriptor()->FindOneofByName("value"));
    if (field != nullptr && field->message_type() != nullptr) {
      value = record.GetReflection()->GetMessage(record, field).SerializeAsString();
    }
    listing.records.push_back({record.key(), value, 1});
  }
  const auto registry = ca::Registry::FromListing(listing);
  if (!registry.ok()) return;
  for (const auto& [node_id, row] : registry->nodes()) {
    (void)registry->ProjectionFor(node_id);
    (void)registry->IdentityCountOf(node_id);
  }
}

}  // namespace linchpin::fuzz
