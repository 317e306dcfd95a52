// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Both ends of a node's connection to its CA.

#include <memory>
#include <utility>

#include "ca/attest/join_token.h"
#include "sync/projection.h"
#include "tests/agent/agent_harness.h"
#include "tests/ca/core_world.h"
#include "tests/fuzz/parsers.h"
#include "x509/certificate_request.h"

namespace linchpin::fuzz {
namespace {

constexpr int kMostMessages = 64;
constexpr int kMostForAgent = 12;  // each is sealed and delivered: with more, little is tried

}  // namespace

void SyncMessages(const SyncCase& sent) {
  sync::Receiver receiver({});
  for (const ca::v1::CaMessage& message : sent.messages()) {
    const auto complete = receiver.Add(message);
    if (!complete.ok() || !*complete) continue;
    const sync::Receiver::Change change = receiver.Take();
    Require(change.stamp.revision == message.revision(), "a change is of its last message");
    Require(change.projection.identities.size() <= sync::kMaxIdentities &&
                change.projection.rules.size() <= sync::kMaxRules,
            "limits hold");
    // What is held can be said again, and is then the same.
    const sync::Projection& held = change.projection;
    sync::Receiver other({});
    absl::StatusOr<bool> done = false;
    for (const ca::v1::CaMessage& part : sync::Snapshot(held, nullptr, {"store", 1, 0, 0})) {
      Require(!*done, "a snapshot ends once");
      done = other.Add(part);
      Require(done.ok(), "a snapshot of what is held is taken");
    }
    Require(*done && other.Take().projection.Digest() == held.Digest(), "and gives the same");
  }
}

// A node that has joined, with a service, hears anything from its CA.
void AgentSync(const SyncCase& sent) {
  if (sent.messages_size() > kMostForAgent) return;
  test::AgentHarness node;
  node.Join();
  node.Open("service", {"unix:uid:1000"});
  node.Register("i1", "/web", {"unix:uid:1000"}, 2);
  Require(node.Last("service") != nullptr && node.Last("service")->identities_size() == 1,
          "a service is served");
  for (const ca::v1::CaMessage& message : sent.messages()) node.Say(message);
  node.Advance(absl::Seconds(10));
  for (const ca::v1::Hello& hello : node.hellos) RequireReadable(hello, "a hello can be read");
  for (const ca::v1::Ack& ack : node.acks) {
    RequireReadable(ack, "an acknowledgement can be read");
    Require(ack.trust_epoch() <= node.core->held_epoch() || node.acks.size() > 1,
            "what is acknowledged was held");
  }
  for (const auto& [consumer, deliveries] : node.deliveries) {
    for (const auto& delivery : deliveries) RequireReadable(*delivery, "a delivery can be read");
  }
  Require(!node.sealed.has_value() || node.sealed->SerializeAsString().size() < (64u << 20),
          "the state stays small");
}

namespace {

// Two nodes, attested, and an identity for each.
struct Ca {
  Ca() {
    nodes[0] = world.Join("n1");
    nodes[1] = world.Join("n2");
    for (const char* path : {"/web", "/db"}) {
      const auto identity = world.Register(path);
      Require(identity.ok(), "registered");
      identities[path] = identity->identity_id();
    }
    ca::AllowPeer allow;
    allow.rule = test::Rule(test::Id("/web"), test::Id("/db"));
    Require(world.Admin<ca::v1::PolicyChange>(allow).ok(), "allowed");
  }
  test::CoreWorld world;
  std::string nodes[2];
  std::map<std::string, std::string> identities;  // ids by path
  ca::SessionId next_session = 1;
};

}  // namespace

void NodeMessages(const NodeCase& said) {
  if (said.events_size() > kMostMessages) return;
  static auto* const ca = new Ca();
  test::CoreWorld& world = ca->world;
  world.pushed.clear();
  world.shared.clear();
  world.closed.clear();
  world.replies.clear();
  world.notes.clear();
  world.log.clear();
  ca::SessionId sessions[2] = {ca->next_session++, ca->next_session++};
  for (const std::string& node : ca->nodes) {
    world.Hello(sessions[node == ca->nodes[1]], node);
  }
  for (const NodeCase::Event& event : said.events()) {
    const std::string& node = ca->nodes[event.second_node()];
    ca::SessionId& session = sessions[event.second_node()];
    if (event.goes()) {
      world.Step(ca::event::NodeGone{session});
    } else if (event.has_asks_trust()) {
      world.Step(ca::event::GetTrustAsked{world.next_call++, event.asks_trust()});
    } else if (event.what_case() == NodeCase::Event::kIssue) {
      const auto known = ca->identities.find(event.issue());
      world.AskIssue(node, known == ca->identities.end() ? event.issue() : known->second);
    } else if (event.says().has_hello()) {
      session = ca->next_session++;
      world.Hello(session, node, event.says().hello());
    } else if (event.says().has_ack()) {
      world.Step(ca::event::NodeAck{session, event.says().ack()});
    } else if (event.says().has_verdicts()) {
      world.Step(ca::event::NodeVerdicts{session, event.says().verdicts()});
    }
  }
  for (const auto& [call, reply] : world.replies) {
    if (!reply.status.ok()) continue;
    const std::unique_ptr<google::protobuf::Message> read(reply.message->New());
    Require(read->ParseFromString(reply.message->SerializeAsString()), "an answer can be read");
  }
  for (const auto& [session, messages] : world.pushed) {
    for (const auto& message : messages) RequireReadable(message, "a push can be read");
  }
  const auto coverage = world.Admin<ca::v1::Coverage>(ca::v1::CoverageRequest());
  Require(coverage.ok(), "coverage is told");
  RequireReadable(*coverage, "an operator can read it, whatever nodes say");
  const auto nodes = world.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest());
  Require(nodes.ok(), "nodes are listed");
  RequireReadable(*nodes, "an operator can read them, whatever nodes say");
  for (const ca::SessionId session : sessions) world.Step(ca::event::NodeGone{session});
}

void AttestRequest(const ca::v1::AttestRequest& request) {
  (void)x509::CertificateRequest::FromDer(request.certificate_request());
  ca::JoinTokenVerifier by_token;
  ca::ExpiredCertificateVerifier by_certificate;
  int handled = 0;
  for (ca::NodeVerifier* verifier :
       std::initializer_list<ca::NodeVerifier*>{&by_token, &by_certificate}) {
    if (!verifier->Handles(request)) continue;
    ++handled;
    int answers = 0;
    verifier->Verify(request, [&](absl::StatusOr<ca::NodeClaim> claim) {
      ++answers;
      Require(!claim.ok() || claim->expired_certificate.has_value() ||
                  claim->join_token_sha256.size() == 32,
              "a claim has its proof");
    });
    Require(answers == 1, "a verifier answers once");
  }
  Require(handled <= 1, "evidence is for one verifier");
}

}  // namespace linchpin::fuzz
