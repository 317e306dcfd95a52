// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A CA with two nodes that take every trust state, unless they are told to sleep.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "ca/core/rotation.h"
#include "tests/ca/core_world.h"
#include "trust/canary.h"
#include "x509/certificate_builder.h"

namespace linchpin::test {

class RotationWorld : public CoreWorld {
 public:
  using Request = ca::v1::RotateRequest;

  RotationWorld() {
    for (const char* name : {"a", "b"}) nodes.push_back(Join(name));
    Connect();
  }

  // After a start of the CA, or when a sleeper wakes.
  void Connect() {
    for (const std::string& node : nodes) {
      if (asleep.count(node) > 0) continue;
      const ca::SessionId session = ++last_session;
      sessions[node] = session;
      ca::v1::Hello hello = HelloHolding(held[node]);
      hello.set_incarnation(core->registry().meta().incarnation());
      Hello(session, node, hello);
    }
    Acknowledge();
  }
  void Sleep(const std::string& node) {
    asleep.insert(node);
    Step(ca::event::NodeGone{sessions.at(node)});
    sessions.erase(node);
  }
  // Every node that is awake holds what it was sent.
  void Acknowledge() {
    for (const auto& [node, session] : sessions) {
      if (asleep.count(node) > 0) continue;
      for (const ca::v1::CaMessage& message : pushed[session]) {
        if (message.has_trust()) held[node] = message.trust().epoch();
      }
      Step(ca::event::NodeAck{session, Holding(held[node])});
    }
  }
  void CrashAndRestart() {
    Restart();
    Connect();
  }

  absl::StatusOr<ca::v1::Rotation> Rotate(Request::Action action,
                                          const std::vector<std::string>& except = {}) {
    Request request;
    request.set_action(action);
    if (action == Request::PREPARE) request.set_what(what);
    if (action == Request::PREPARE) request.set_on_deadline(on_deadline);
    for (const std::string& node : except) request.add_except(node);
    auto answer = Admin<ca::v1::Rotation>(request);
    Acknowledge();
    return answer;
  }
  ca::v1::Rotation Status() {
    auto status = Admin<ca::v1::Rotation>(ca::v1::GetRotationRequest());
    EXPECT_OK(status);
    return status.ok() ? *status : ca::v1::Rotation();
  }
  // A backup issuer whose key is kept apart, as `linchpin ca backup create` makes it.
  absl::StatusOr<ca::v1::Authority> Certify(const x509::PrivateKey& key) {
    return Admin<ca::v1::Authority>(ca::CertifyBackup{CoreWorld::Request(key)});
  }
  absl::StatusOr<ca::v1::Authority> Finish(const ca::v1::Authority& certified,
                                           const x509::PrivateKey& key) {
    const auto certificate = *x509::Certificate::FromDer(certified.certificate());
    ca::v1::FinishBackupRequest finish;
    finish.set_certificate(certificate.der());
    finish.set_twin(x509::MakeTwin(certificate, key, "\x40serial")->der());
    finish.set_canary(
        trust::MakeCanary(options.profile.trust_domain, certificate, key, "\x40serial")->der());
    auto answer = Admin<ca::v1::Authority>(finish);
    Acknowledge();
    return answer;
  }
  absl::StatusOr<ca::v1::Authority> CreateBackup(const x509::PrivateKey& key) {
    ASSIGN_OR_RETURN(const ca::v1::Authority certified, Certify(key));
    return Finish(certified, key);
  }
  void Tick() {
    Step(ca::event::Tick{});
    Acknowledge();
  }
  // The issuer that signs now, by its pin.
  std::string Signer() const {
    return core->authorities().active().certificate.public_key().pin().bytes();
  }
  std::string StateOf(const std::string& pin) const {
    for (const ca::Authority& authority : core->authorities().all()) {
      if (authority.certificate.public_key().pin().bytes() == pin) return authority.state;
    }
    return "gone";
  }
  // The pins that nodes are told of as issuers.
  std::set<std::string> Declared() const {
    const auto message = ca::TrustMessage(core->registry(), core->authorities(), 0);
    return {message.declared_issuers().begin(), message.declared_issuers().end()};
  }
  void ExpireEverything() { now += absl::Hours(24) + absl::Minutes(1); }

  std::string what = "issuer";
  std::string on_deadline = "hold";
  std::vector<std::string> nodes;  // ids
  std::set<std::string> asleep;
  std::map<std::string, uint64_t> held;  // trust epochs
  std::map<std::string, ca::SessionId> sessions;
  ca::SessionId last_session = 0;
};

}  // namespace linchpin::test
