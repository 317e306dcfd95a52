// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The CA in the simulation: the production core on a store, a log and keys that survive its
// crashes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ca/core/ca_core.h"
#include "ca/core/serving_keys.h"
#include "ca/keys/memory_key_manager.h"
#include "ca/store/memory_store.h"
#include "tests/sim/history.h"
#include "tests/sim/world.h"
#include "trust/judge.h"
#include "trust/mtls_context.h"
#include "x509/leaf_template.h"

namespace linchpin::sim {

// Who stands in the CA's place and tells nodes something else.
class Liar {
 public:
  virtual ~Liar() = default;
  virtual trust::RawChain Shown(const trust::RawChain& true_chain) = 0;
  using Message = std::shared_ptr<const google::protobuf::Message>;
  virtual Message Distort(const Message& message) = 0;
};

class SimCa {
 public:
  using Message = Liar::Message;
  using Reply = std::function<void(const absl::Status&, const Message&)>;
  struct Session {
    std::function<void(std::shared_ptr<const ca::v1::CaMessage>)> push;
    std::function<void(absl::Status)> closed;
  };

  SimCa(World& world, absl::Duration clock_offset);

  void Start();
  void Crash();
  // What a backup of its data directory has.
  struct Copy {
    ca::Store::Listing store;
    std::vector<ca::v1::LogEntry> log;
  };
  Copy MakeCopy() { return {*store_.List(""), log_}; }
  // Has the copy the authorities, the rotation and the pin sets of now? Then no node needs what
  // only signers, or another root, could give it.
  bool MayPutBack(const Copy& copy);
  // While it is down. Revisions go on: they name what was allowed when.
  void PutBack(const Copy& copy);
  bool up() const { return core_ != nullptr; }
  // Does this CA fail at storing and signing now and then?
  void set_faulty(bool faulty) { faulty_ = faulty; }

  void set_liar(Liar* liar) { liar_ = liar; }  // null: nobody lies
  bool lies() const { return liar_ != nullptr; }

  // What it shows in a handshake (DER, leaf first) and judges nodes with; empty before there is
  // one.
  trust::RawChain shown() const;
  std::shared_ptr<const trust::MtlsContext> context() const { return context_; }
  absl::Time clock() const { return world_.now() + clock_offset_; }

  // `reply` is called unless the CA crashes first.
  void Call(const std::function<ca::Event(ca::CallId)>& make, Reply reply);
  ca::SessionId OpenSession(const ca::NodeCaller& node, const ca::v1::Hello& hello,
                            Session session);
  void Tell(ca::Event event);
  void Leave(ca::SessionId session);  // the stream broke

  const ca::CaCore& core() const { return *core_; }
  const ca::Registry& stored() const { return stored_; }  // what the store holds
  const History& history() const { return history_; }
  bool Logged(const std::string& certificate_sha256) const {
    return logged_.contains(certificate_sha256);
  }
  // Was this trust state, by its digest, offered as that epoch since a copy was put back last?
  bool Offered(uint64_t epoch, const std::string& digest) const {
    return offered_.contains({epoch, digest});
  }
  // Of a service's certificate that is valid, if one is found at once.
  std::optional<std::string> AnySerial();
  std::optional<std::string> AnyServiceId();
  // Is anything valid that was issued through this node, or to it?
  bool HasValidThrough(const std::string& node_id) const;
  const trust::TrustDomain& trust_domain() const { return options_.profile.trust_domain; }
  ca::MemoryKeyManager& keys() { return keys_; }

 private:
  void FirstStart();
  ca::Outstanding ReadLog();
  void Step(ca::Event event);
  void Later(std::function<void()> work);  // unless the CA crashes first
  void ReadStore();
  void Record(const std::vector<ca::Write>& batch, ca::Revision revision);
  absl::StatusOr<x509::LeafTemplate> TemplateOf(const x509::Certificate& issuer,
                                                const std::string& key_name);
  void Do(const ca::action::Commit& action);
  void Do(const ca::action::SignAndLog& action);
  void Do(const ca::action::Reload& action);
  void Do(const ca::action::Reply& action);
  void Do(const ca::action::Push& action);
  void Do(const ca::action::CloseSession& action);
  void Do(const ca::action::MakeServingKey& action);
  void Do(const ca::action::UseServingCertificate& action);
  void Do(const ca::action::UseTrust& action);
  void Do(const ca::action::Prove& action);
  void Do(const ca::action::MakeAuthorities& action);
  void Do(const ca::action::DeleteKey& action) { (void)keys_.Delete(action.key_name); }
  void Do(const ca::action::FindIssued& action);
  void Do(const ca::action::Note& action);
  void Tick();
  void UseContext();

  World& world_;
  const absl::Duration clock_offset_;
  ca::CoreOptions options_;
  test::SeededRandom core_random_;
  bool faulty_ = true;
  Liar* liar_ = nullptr;

  // What survives.
  ca::MemoryStore store_;
  ca::Registry stored_;
  ca::MemoryKeyManager keys_;
  std::map<std::string, x509::LeafTemplate> templates_;  // by key name
  std::set<std::string> logged_;                         // SHA-256 of the certificates
  std::vector<ca::v1::LogEntry> log_;                    // of what may be valid still
  std::vector<ca::v1::LogEntry> issued_;                 // the same, whatever was lost of the log
  std::set<std::pair<uint64_t, std::string>> offered_;
  History history_;

  // What does not.
  uint64_t life_ = 0;
  std::unique_ptr<ca::CaCore> core_;
  std::map<ca::CallId, Reply> calls_;
  std::map<ca::SessionId, Session> sessions_;
  uint64_t last_id_ = 0;
  ca::ServingKeys serving_keys_;
  x509::Chain serving_chain_;
  std::shared_ptr<const trust::TrustState> trust_;
  std::shared_ptr<const trust::MtlsContext> context_;
};

}  // namespace linchpin::sim
