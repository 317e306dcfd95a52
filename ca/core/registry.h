// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The store's records as tables: nodes, tokens, identities, policy, trust. Changed by applying
// records only, so that loading and committing are one path. Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ca/store/store.h"
#include "linchpin/state/v1/ca_state.pb.h"
#include "sync/projection.h"
#include "trust/spiffe_id.h"

namespace linchpin::ca {

// The keys of the store's records.
inline constexpr char kMetaKey[] = "meta";
inline constexpr char kTrustKey[] = "trust";
inline constexpr char kChangePrefix[] = "change/";
inline constexpr char kLogHeadKey[] = "log/head";
std::string AuthorityKey(bool is_root, absl::string_view pin_bytes);  // pin as hex
std::string NodeKey(absl::string_view node_id);                       // its last segment
std::string TokenKey(absl::string_view token_sha256);                 // hex of 32 bytes
std::string IdentityKey(absl::string_view identity_id);
std::string PolicyKey(absl::string_view from, absl::string_view to);
std::string OperatorKey(absl::string_view name);
inline constexpr char kAuthorityPrefix[] = "authority/";
inline constexpr char kRevocationPrefix[] = "revocation/";
inline constexpr char kAwaitedPrefix[] = "awaited/";
std::string AwaitedKey(absl::string_view pin_bytes);  // pin as hex
inline constexpr char kEpochPrefix[] = "epoch/";
inline constexpr char kSeenPrefix[] = "seen/";
std::string EpochKey(uint64_t epoch);            // sorts as the number
std::string SeenKey(absl::string_view node_id);  // its last segment

template <typename T>
struct Row {
  T record;
  Revision revision = 0;  // of the key's last change
};

// Where the chain of changes stands (change_log.h). The changes themselves stay in the store.
struct ChangeHead {
  uint64_t first = 1;  // that is kept
  uint64_t next = 1;   // index of the next one
  std::string hash = std::string(32, '\0');
};

// What a change may have altered in the projections of nodes.
struct Touched {
  bool everything = false;
  bool trust = false;
  bool incarnation = false;          // nodes are sent all anew; then `everything` and `trust`, too
  std::set<std::string> identities;  // by identity id
  std::set<std::pair<std::string, std::string>> rules;
  bool nothing() const { return !everything && !trust && identities.empty() && rules.empty(); }
};

class Registry {
 public:
  static constexpr uint32_t kFormat = 1;
  using RuleKey = std::pair<std::string, std::string>;  // from, to

  // DATA_LOSS names the record that cannot be read; FAILED_PRECONDITION: a newer format.
  static absl::StatusOr<Registry> FromListing(const Store::Listing& listing);

  // Takes over a batch that was committed as `revision`.
  absl::Status Apply(const std::vector<Write>& batch, Revision revision);
  // What Apply(batch) may change for nodes; asked before it.
  Touched TouchedBy(const std::vector<Write>& batch) const;

  Revision revision() const { return revision_; }
  // The last that changed who may call whom, or at which the store was read.
  Revision policy_revision() const { return policy_revision_; }
  const state::v1::Meta& meta() const { return meta_; }
  const Row<state::v1::TrustRecord>& trust() const { return trust_; }
  const std::map<std::string, Row<state::v1::AuthorityRecord>>& authorities() const {
    return authorities_;  // by key
  }
  const std::map<std::string, Row<state::v1::AwaitedRecord>>& awaited() const {
    return awaited_;  // by key
  }
  const std::map<std::string, Row<state::v1::NodeRecord>>& nodes() const { return nodes_; }
  const std::map<std::string, Row<state::v1::TokenRecord>>& tokens() const {
    return tokens_;  // by key
  }
  const std::map<std::string, Row<state::v1::IdentityRecord>>& identities() const {
    return identities_;  // by identity id
  }
  const std::map<RuleKey, Row<state::v1::PolicyRecord>>& rules() const { return rules_; }
  const std::map<std::string, Row<state::v1::RotationRecord>>& rotations() const {
    return rotations_;  // by key: the last is the current one
  }
  const std::map<std::string, Row<state::v1::RevocationRecord>>& revocations() const {
    return revocations_;  // by key
  }
  const std::map<std::string, Row<state::v1::OperatorRecord>>& operators() const {
    return operators_;  // by name
  }
  const ChangeHead& changes() const { return changes_; }
  const state::v1::LogHeadRecord& log_head() const { return log_head_; }
  // As the listing had it: nothing was issued between that and this start.
  const state::v1::LogHeadRecord& log_head_at_start() const { return log_head_at_start_; }
  const std::map<std::string, Row<state::v1::EpochRecord>>& epochs() const {
    return epochs_;  // by key
  }
  const std::map<std::string, Row<state::v1::SeenRecord>>& seen() const { return seen_; }  // by key
  // Certificates of this SPIFFE ID that begin then or earlier are denied; the infinite past: none.
  absl::Time DeniedUntil(const std::string& spiffe_id) const;

  // Null if there is none.
  const Row<state::v1::NodeRecord>* FindNode(absl::string_view node_id) const;
  const Row<state::v1::TokenRecord>* FindToken(absl::string_view token_sha256) const;
  const Row<state::v1::IdentityRecord>* FindIdentity(absl::string_view identity_id) const;
  const Row<state::v1::OperatorRecord>* FindOperator(const std::string& name) const;
  // Identity ids of the registrations of a SPIFFE ID.
  const std::set<std::string>& IdentitiesOf(const std::string& spiffe_id) const;
  uint64_t next_order() const { return next_order_; }

  // Of the rules of this SPIFFE ID, as caller and as callee.
  void AddRulesOf(const std::string& spiffe_id, std::set<RuleKey>* keys) const;
  // May this node have this identity?
  bool Sees(const std::string& node_id, const v1::Identity& identity) const;
  // Identity ids of the registrations that name this node.
  const std::set<std::string>& IdentitiesNaming(const std::string& node_id) const;
  size_t IdentityCountOf(const std::string& node_id) const;
  size_t GreatestIdentityCount() const;  // of any node
  // What a snapshot of the node's identities takes, with the rules of all, of which it sees some.
  size_t SnapshotBytesOf(const std::string& node_id) const;
  size_t GreatestSnapshotBytes() const;  // of any node
  sync::Projection ProjectionFor(const std::string& node_id) const;
  // The part of it that is among `touched`.
  sync::Projection SliceFor(const std::string& node_id, const Touched& touched) const;

 private:
  absl::Status Put(const std::string& key, const std::string& value, Revision revision);
  void Remove(const std::string& key);
  void PutIdentity(state::v1::IdentityRecord record, Revision revision);
  void RemoveIdentity(const std::string& identity_id);
  void PutRule(state::v1::PolicyRecord record, Revision revision);
  void RemoveRule(const std::string& key);
  absl::Status PutChange(const std::string& key, const std::string& value);
  bool SeesAny(const std::string& node_id, const std::string& spiffe_id) const;
  void IndexRevocations();

  Revision revision_ = 0, policy_revision_ = 0;
  state::v1::Meta meta_;
  Row<state::v1::TrustRecord> trust_;
  std::map<std::string, Row<state::v1::AuthorityRecord>> authorities_;
  std::map<std::string, Row<state::v1::AwaitedRecord>> awaited_;
  std::map<std::string, Row<state::v1::NodeRecord>> nodes_;  // by node id
  std::map<std::string, Row<state::v1::TokenRecord>> tokens_;
  std::map<std::string, Row<state::v1::IdentityRecord>> identities_;
  std::map<RuleKey, Row<state::v1::PolicyRecord>> rules_;
  std::map<std::string, Row<state::v1::RevocationRecord>> revocations_;
  std::map<std::string, Row<state::v1::OperatorRecord>> operators_;
  ChangeHead changes_;
  state::v1::LogHeadRecord log_head_;
  state::v1::LogHeadRecord log_head_at_start_;
  std::map<std::string, Row<state::v1::RotationRecord>> rotations_;
  std::map<std::string, Row<state::v1::EpochRecord>> epochs_;
  std::map<std::string, Row<state::v1::SeenRecord>> seen_;
  uint64_t next_order_ = 1;

  // Indices over the tables above.
  std::set<RuleKey> rules_by_callee_;                          // to, from
  std::map<std::string, RuleKey> rules_by_key_;                // of the record
  std::map<std::string, std::set<std::string>> by_spiffe_id_;  // identity ids
  std::map<std::string, std::set<std::string>> by_node_;       // identity ids
  std::set<std::string> of_any_node_;                          // identity ids
  std::map<std::string, size_t> bytes_by_node_;                // of identities
  size_t bytes_of_any_node_ = 0;
  size_t bytes_of_rules_ = 0;
  std::map<std::string, int64_t> denied_until_;  // by SPIFFE ID
};

}  // namespace linchpin::ca
