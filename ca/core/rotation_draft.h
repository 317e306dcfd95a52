// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The writes of one step of a rotation, which become one commit. Part of rotation.cc.
#pragma once

#include <string>
#include <vector>

#include "ca/core/rotation.h"

namespace linchpin::ca {

inline constexpr char kIssuer[] = "issuer";
inline constexpr char kRoot[] = "root";
inline constexpr char kSigners[] = "signers";
inline constexpr char kFailover[] = "failover";
inline constexpr char kHold[] = "hold";
inline constexpr char kProceed[] = "proceed";

class RotationDraft {
 public:
  RotationDraft(const Tables& tables, const Row<state::v1::RotationRecord>& row)
      : tables_(tables), before_(row), rotation(row.record) {}

  // The authority of a record key; null: it is gone.
  const Authority* Find(const std::string& record_key) const {
    return tables_.authorities.Find(record_key);
  }
  void SetState(const std::string& record_key, absl::string_view state);
  // What this issuer certified is to be renewed within, as long as it is retiring.
  void Replace(const std::string& record_key, absl::Time from, absl::Time until);
  void SetWithheld(const google::protobuf::RepeatedPtrField<std::string>& record_keys,
                   bool withheld);
  // The nodes are to be told: the trust epoch that the batch makes.
  uint64_t RaiseEpoch();
  void AtEpoch(uint64_t epoch) { epoch_ = epoch; }  // which the same commit writes elsewhere

  // All writes, with the step that they reach and its entry in the history. No `gate`: the entry
  // has the coverage of the trust epoch that was in force until then.
  std::vector<Write> Reach(v1::RotationStep step, const std::string& by, const std::string& note,
                           const v1::RotationGate& gate, absl::Time now);

 private:
  state::v1::AuthorityRecord* Edit(const std::string& record_key);

  const Tables& tables_;
  const Row<state::v1::RotationRecord>& before_;
  std::map<std::string, state::v1::AuthorityRecord> edited_;
  uint64_t epoch_ = 0;
  bool raises_epoch_ = false;

 public:
  state::v1::RotationRecord rotation;
};

// The keys that a set must name for the new ones to be trusted: all of `record_keys` among it.
bool NamesAll(const trust::v1::PinSet& set, const Authorities& authorities,
              const google::protobuf::RepeatedPtrField<std::string>& record_keys);
bool NamesAny(const trust::v1::PinSet& set, const Authorities& authorities,
              const google::protobuf::RepeatedPtrField<std::string>& record_keys);
// The signed set in force; nothing under set 0.
std::optional<trust::v1::PinSet> SetInForce(const Registry& registry);

// Whether all hold and enforce the epoch, but for those that the rotation goes on without.
v1::RotationGate GateOf(const Tables& tables, const state::v1::RotationRecord& rotation,
                        uint64_t epoch, absl::Time now);
// When the last certificate ends that was ordered of the issuers among `record_keys`, by the clocks
// of all: nodes' may be behind, though by no more than a leaf lives.
absl::Time LastIssued(const Tables& tables,
                      const google::protobuf::RepeatedPtrField<std::string>& record_keys);
// When the issuer that is to go can make no certificates of the usual length any more: what the
// rotation should not outlast. At the earliest half of its life. Decided when the rotation begins,
// so that no registration moves it.
absl::Time DeadlineFor(const Profile& profile, const Authority& issuer);
// When a rotation that is told to proceed does: not before nodes had time to take the new keys.
absl::Time ProceedsAt(const Profile& profile, const state::v1::RotationRecord& rotation);
// Of a gate that waits for nodes which the store does not know: why, and until when.
std::string UnknownNodes(const v1::RotationGate& gate);
// Quick: false if GateOf() would not be open.
bool MayBeOpen(const Tables& tables, const state::v1::RotationRecord& rotation, uint64_t epoch,
               absl::Time now);
// The issuer of `record_keys` that signs, or signed; null if none.
const Authority* SignerAmong(const Authorities& authorities,
                             const google::protobuf::RepeatedPtrField<std::string>& record_keys);

// Names or ids of nodes that no gate waits for. NOT_FOUND: one is not known, or the gate would seem
// to be told of it.
absl::Status AddExcept(const Tables& tables,
                       const google::protobuf::RepeatedPtrField<std::string>& names,
                       state::v1::RotationRecord* rotation);
// Who is missing, and that `command` can go on without them.
absl::Status GateClosed(absl::string_view command, const v1::RotationGate& gate);

std::string NameOf(const state::v1::RotationRecord& rotation);  // "the rotation of the issuer"
absl::string_view StepName(v1::RotationStep step);              // as operators read it

}  // namespace linchpin::ca
