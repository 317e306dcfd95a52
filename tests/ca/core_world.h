// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A CaCore with a store in memory and keys at hand. Commits and signatures are completed at once,
// or held until a test lets them go.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ca/core/ca_core.h"
#include "ca/core/new_authorities.h"
#include "ca/store/memory_store.h"
#include "gtest/gtest.h"
#include "tests/support/seeded_random.h"
#include "tests/support/status_matchers.h"
#include "trust/pin_set.h"
#include "trust/trust_acceptance.h"
#include "x509/digest.h"
#include "x509/leaf_template.h"

namespace linchpin::test {

inline constexpr char kDomain[] = "example.org";
inline std::string Id(absl::string_view path) { return "spiffe://example.org" + std::string(path); }

class CoreWorld {
 public:
  CoreWorld() {
    const ca::FirstKeys first{.root = *x509::PrivateKey::Generate(x509::KeyType::kP256),
                              .active = *x509::PrivateKey::Generate(x509::KeyType::kP256),
                              .backup = *x509::PrivateKey::Generate(x509::KeyType::kP256)};
    keys.emplace(ca::kRootKeyName, first.root);
    keys.emplace(ca::kActiveKeyName, first.active);
    keys.emplace(ca::kBackupKeyName, first.backup);
    auto records = ca::FirstRecords(options.profile, first, now, random);
    EXPECT_OK(records);
    EXPECT_OK(store.Commit(*records));
    Restart();
  }

  void Restart() {
    held_commits.clear();
    held_issues.clear();
    auto made = ca::CaCore::Make(options, *store.List(""), random);
    EXPECT_OK(made);
    core = *std::move(made);
    ca::Outstanding outstanding;
    for (const ca::v1::LogEntry& entry : log) {
      if (entry.spiffe_id() == Id("/linchpin/ca")) continue;
      outstanding.Issued(entry.node_id(), entry.issuer_key_sha256(),
                         absl::FromUnixSeconds(entry.not_after()));
    }
    Step(ca::event::Started{std::move(outstanding)});
  }

  void Step(ca::Event event) {
    ca::Actions actions = core->Step(now, std::move(event));
    for (ca::Action& action : actions) waiting_.push_back(std::move(action));
    if (busy_) return;
    busy_ = true;
    while (!waiting_.empty()) {
      ca::Action action = std::move(waiting_.front());
      waiting_.pop_front();
      std::visit([&](auto&& a) { Do(std::move(a)); }, std::move(action));
    }
    busy_ = false;
  }

  void Complete(const ca::action::Commit& commit) {
    if (!commit_fault.has_value()) {
      return Step(ca::event::Committed{commit.ticket, store.Commit(commit.batch)});
    }
    if (fault_after_applying) {
      EXPECT_OK(store.Commit(commit.batch));
    }
    Step(ca::event::Committed{commit.ticket, *std::exchange(commit_fault, std::nullopt)});
  }
  void Complete(const ca::action::SignAndLog& order) {
    const auto issuer = x509::LeafTemplate::Make(order.issuer, keys.at(order.key_name));
    auto made = ca::MakeCertificates(order.orders, *issuer, now);
    if (issue_fault.has_value()) {
      return Step(ca::event::Issued{order.ticket, *std::exchange(issue_fault, std::nullopt)});
    }
    if (!made.ok()) return Step(ca::event::Issued{order.ticket, made.status()});
    for (ca::v1::LogEntry& entry : made->entries) log.push_back(std::move(entry));
    Step(ca::event::Issued{order.ticket, made->certificates});
  }
  void CompleteAll() {
    while (!held_commits.empty() || !held_issues.empty()) {
      if (!held_commits.empty()) {
        const ca::action::Commit commit = held_commits.front();
        held_commits.pop_front();
        Complete(commit);
      } else {
        const ca::action::SignAndLog order = held_issues.front();
        held_issues.pop_front();
        Complete(order);
      }
    }
  }

  // Calls; the answer, if it has come.
  const ca::action::Reply* ReplyOf(ca::CallId call) const {
    const auto it = replies.find(call);
    return it == replies.end() ? nullptr : &it->second;
  }
  template <typename Message>
  absl::StatusOr<Message> Answer(ca::CallId call) const {
    const ca::action::Reply* reply = ReplyOf(call);
    if (reply == nullptr) return absl::DeadlineExceededError("no answer yet");
    if (!reply->status.ok()) return reply->status;
    return dynamic_cast<const Message&>(*reply->message);
  }
  ca::CallId Ask(ca::AdminRequest request) {
    const ca::CallId call = next_call++;
    Step(ca::event::AdminAsked{call, asker, std::move(request)});
    return call;
  }
  template <typename Message>
  absl::StatusOr<Message> Admin(ca::AdminRequest request) {
    return Answer<Message>(Ask(std::move(request)));
  }

  std::string Token(const std::string& name, int64_t ttl = 600) {
    ca::v1::CreateJoinTokenRequest asked;
    asked.set_node_name(name);
    asked.set_ttl_seconds(ttl);
    auto token = Admin<ca::v1::JoinToken>(asked);
    EXPECT_OK(token);
    return token.ok() ? token->token() : "";
  }
  static std::string RequestDer(const x509::PrivateKey& key, const std::string& uri = "") {
    return *x509::MakeCertificateRequest(key, uri);
  }
  static x509::CertificateRequest Request(const x509::PrivateKey& key) {
    return *x509::CertificateRequest::FromDer(RequestDer(key));
  }
  absl::StatusOr<ca::v1::AttestResponse> Attest(const std::string& token,
                                                const x509::PrivateKey& key) {
    const ca::CallId call = next_call++;
    Step(ca::event::AttestAsked{call, Request(key), ca::TokenEvidence{x509::Sha256(token)}});
    return Answer<ca::v1::AttestResponse>(call);
  }
  // A node of that name, attested with `node_key`.
  std::string Join(const std::string& name) {
    auto attested = Attest(Token(name), node_key);
    EXPECT_OK(attested);
    return attested.ok() ? attested->node_id() : "";
  }
  absl::StatusOr<ca::v1::Identity> Register(const std::string& path,
                                            const std::vector<std::string>& nodes = {}) {
    ca::v1::Identity identity;
    identity.set_spiffe_id(Id(path));
    identity.add_selectors("unix:uid:1000");
    for (const std::string& node : nodes) identity.add_node_ids(node);
    identity.set_any_node(nodes.empty());
    return Admin<ca::v1::Identity>(ca::CreateIdentity{identity});
  }
  // A node as it shows itself with `key`, or with node_key.
  static ca::NodeCaller Caller(const std::string& node, const x509::PrivateKey& key) {
    return {node, key.public_key().pin().bytes()};
  }
  ca::NodeCaller Caller(const std::string& node) const { return Caller(node, node_key); }
  ca::CallId AskIssue(const std::string& node, const std::string& identity_id,
                      const std::string& asks_for = "") {
    const ca::CallId call = next_call++;
    Step(
        ca::event::IssueAsked{call, Caller(node), {{identity_id, RequestDer(node_key, asks_for)}}});
    return call;
  }
  absl::StatusOr<ca::v1::AttestResponse> Renew(const ca::NodeCaller& caller,
                                               const x509::PrivateKey& key) {
    const ca::CallId call = next_call++;
    Step(ca::event::RenewAsked{call, caller, Request(key)});
    return Answer<ca::v1::AttestResponse>(call);
  }
  void Hello(ca::SessionId session, const std::string& node, ca::v1::Hello hello = {}) {
    Step(ca::event::NodeHello{session, Caller(node), std::move(hello)});
  }

  // What a node says that holds the epoch as it was offered here.
  ca::v1::Ack Holding(uint64_t epoch) const {
    ca::v1::Ack ack;
    ack.set_trust_epoch(epoch);
    const auto digest = digests.find(epoch);
    if (digest != digests.end()) ack.set_trust_digest(digest->second);
    return ack;
  }
  ca::v1::Hello HelloHolding(uint64_t epoch) const {
    ca::v1::Hello hello;
    hello.set_trust_epoch(epoch);
    hello.set_trust_digest(Holding(epoch).trust_digest());
    return hello;
  }

  absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  SeededRandom random{7};
  ca::CoreOptions options{.profile = {.trust_domain = *trust::TrustDomain::FromName(kDomain)}};
  ca::MemoryStore store;
  std::map<std::string, x509::PrivateKey> keys;
  x509::PrivateKey node_key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  std::unique_ptr<ca::CaCore> core;
  ca::Asker asker{.on_socket = true, .name = "unix:root", .from = "a test"};  // of Ask()
  ca::CallId next_call = 1;

  // Faults and holds.
  bool hold_commits = false;
  bool hold_issues = false;
  std::optional<absl::Status> commit_fault;  // of the next commit
  bool fault_after_applying = false;
  std::optional<absl::Status> issue_fault;
  std::optional<absl::Status> reload_fault;
  std::deque<ca::action::Commit> held_commits;
  std::deque<ca::action::SignAndLog> held_issues;

  // What came out.
  std::map<ca::CallId, ca::action::Reply> replies;
  std::map<ca::SessionId, std::vector<ca::v1::CaMessage>> pushed;
  std::map<ca::SessionId, std::vector<std::shared_ptr<const ca::v1::CaMessage>>> shared;
  std::map<ca::SessionId, absl::Status> closed;
  std::set<ca::SessionId> at_once;
  std::vector<ca::v1::LogEntry> log;
  std::vector<x509::Chain> serving;
  std::vector<std::shared_ptr<const trust::TrustState>> trusts;
  std::map<uint64_t, std::string> digests;  // of what was offered, by trust epoch
  std::vector<ca::action::Note> notes;
  int reloads = 0;

 private:
  void Do(ca::action::Commit commit) {
    if (hold_commits) return held_commits.push_back(std::move(commit));
    Complete(commit);
  }
  void Do(ca::action::SignAndLog order) {
    if (hold_issues) return held_issues.push_back(std::move(order));
    Complete(order);
  }
  void Do(ca::action::Reload) {
    ++reloads;
    if (reload_fault.has_value()) {
      return Step(ca::event::Reloaded{*std::exchange(reload_fault, std::nullopt)});
    }
    Step(ca::event::Reloaded{store.List("")});
  }
  void Do(ca::action::Reply reply) {
    EXPECT_EQ(replies.count(reply.call), 0u) << "answered twice";
    replies.emplace(reply.call, std::move(reply));
  }
  void Do(ca::action::Push push) {
    pushed[push.session].push_back(*push.message);
    shared[push.session].push_back(std::move(push.message));
  }
  void Do(ca::action::CloseSession close) {
    closed.emplace(close.session, close.status);
    if (close.at_once) at_once.insert(close.session);
  }
  void Do(ca::action::MakeServingKey) {
    Step(ca::event::ServingKeyMade{x509::PrivateKey::Generate(x509::KeyType::kP256)->public_key()});
  }
  void Do(ca::action::UseServingCertificate use) { serving.push_back(std::move(use.chain)); }
  void Do(ca::action::UseTrust use) {
    trusts.push_back(std::move(use.trust));
    const auto offer = ca::TrustMessage(core->registry(), core->authorities(), 0);
    digests[offer.epoch()] = trust::OfferDigest(offer);
  }
  void Do(ca::action::Prove prove) {
    Step(ca::event::PossessionProved{
        prove.call,
        trust::ProvePossession(options.profile.trust_domain, keys.at(prove.key_name), now)});
  }
  void Do(ca::action::MakeAuthorities make) {
    for (const auto& [name, key] : make.plan.given) keys.emplace(name, key);
    for (const ca::NewAuthority& wanted : make.plan.authorities) {
      if (wanted.elsewhere.has_value()) continue;
      keys.emplace(wanted.key_name, *x509::PrivateKey::Generate(x509::KeyType::kP256));
    }
    auto made = ca::MakeAuthorities(make.plan, keys, now, random);
    Step(ca::event::AuthoritiesMade{make.call, make.who, make.request, std::move(made)});
  }
  void Do(ca::action::DeleteKey del) { keys.erase(del.key_name); }
  void Do(const ca::action::FindIssued& find) {
    ca::IssuedMatches found;
    for (const ca::v1::LogEntry& entry : log) found.Look(find.asked, entry, now);
    Step(ca::event::IssuedFound{find.call, find.who, find.asked, std::move(found)});
  }
  void Do(ca::action::Note note) { notes.push_back(std::move(note)); }

  std::deque<ca::Action> waiting_;
  bool busy_ = false;
};

}  // namespace linchpin::test
