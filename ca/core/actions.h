// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What CaCore wants done, as plain values; most are answered by an event.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "ca/core/certificate_order.h"
#include "ca/core/events.h"
#include "ca/core/new_authorities.h"
#include "ca/store/store.h"
#include "linchpin/ca/v1/node.pb.h"
#include "trust/trust_state.h"
#include "x509/certificate.h"

namespace linchpin::ca {

namespace action {

// Answer: Committed. At most one is under way.
struct Commit {
  Ticket ticket = 0;
  std::vector<Write> batch;
};
// MakeCertificates() under the named key, append to the log, then answer: Issued.
struct SignAndLog {
  Ticket ticket = 0;
  std::vector<CertificateOrder> orders;
  x509::Certificate issuer;
  std::string key_name;
};
struct Reload {};  // answer: Reloaded
struct Reply {
  CallId call = 0;
  absl::Status status;
  std::shared_ptr<const google::protobuf::Message> message;  // null if status is an error
};
// In order within a session. An adaptor that cannot keep up ends the session.
struct Push {
  SessionId session = 0;
  std::shared_ptr<const v1::CaMessage> message;
};
struct CloseSession {  // after what was pushed; NodeGone need not follow
  SessionId session = 0;
  absl::Status status;
  bool at_once = false;  // instead: what was pushed and not sent yet is dropped
};
struct MakeServingKey {};  // answer: ServingKeyMade
// For the newest serving key: leaf, issuer, root.
struct UseServingCertificate {
  x509::Chain chain;
};
struct UseTrust {  // what the CA itself judges nodes with
  std::shared_ptr<const trust::TrustState> trust;
};
struct Prove {  // answer: PossessionProved
  CallId call = 0;
  std::string key_name;
};
// Keys that were given are kept, those that are there taken up, the others made, each durable; then
// MakeAuthorities(). Answer: AuthoritiesMade.
struct MakeAuthorities {
  CallId call = 0;
  Asker who;
  Planned request;
  AuthorityPlan plan;
};
struct DeleteKey {  // of a retired authority; where it fails it is asked for again
  std::string key_name;
};
// Read the log for what `asked` revokes, with IssuedMatches; answer: IssuedFound.
struct FindIssued {
  CallId call = 0;
  Asker who;
  v1::RevokeRequest asked;
  absl::Time since;  // nothing that was issued before is valid
};
// Worth a line in the log, unless `message` is empty; `count` more in `counter`, unless that is.
struct Note {
  bool warning = false;
  std::string message;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string counter;
  std::vector<std::pair<std::string, std::string>> labels;
  double count = 1;
};

}  // namespace action

using Action =
    std::variant<action::Commit, action::SignAndLog, action::Reload, action::Reply, action::Push,
                 action::CloseSession, action::MakeServingKey, action::UseServingCertificate,
                 action::UseTrust, action::Prove, action::MakeAuthorities, action::DeleteKey,
                 action::FindIssued, action::Note>;
using Actions = std::vector<Action>;

}  // namespace linchpin::ca
