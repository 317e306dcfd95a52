// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/agent/agent_harness.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"

namespace linchpin::test {

using agent::Event;

AgentHarness::AgentHarness(uint64_t seed) : random(seed) {
  options.emplace(agent::CoreOptions{.trust_domain = authority.trust_domain()});
  options->ca_pins = {authority.root().pin()};
}

void AgentHarness::Start() {
  core = std::make_unique<agent::AgentCore>(*options, random);
  Do(agent::event::Started{sealed, alive});
}

void AgentHarness::Restart() {
  held.clear();
  deliveries.clear();
  log.clear();
  timer = absl::InfiniteFuture();
  Start();
}

void AgentHarness::Do(Event event) {
  events_.push_back(std::move(event));
  if (busy_) return;
  busy_ = true;
  while (!events_.empty()) {
    const Event next = std::move(events_.front());
    events_.pop_front();
    const agent::Instant at = uptime ? agent::Instant(now, *uptime) : agent::Instant(now);
    for (const agent::Action& action : core->Step(at, next)) {
      std::visit([this](const auto& a) { Act(a); }, action);
    }
  }
  busy_ = false;
}

void AgentHarness::Advance(absl::Duration by) {
  const absl::Time end = now + by;
  if (uptime) *uptime += by;
  while (timer <= end) {
    now = std::max(now, timer);
    timer = absl::InfiniteFuture();
    Do(agent::event::TimerFired{});
  }
  now = end;
}

void AgentHarness::Join() {
  Start();
  ca::v1::CaMessage message = Message(1);
  message.set_reset(true);
  *message.mutable_trust() = authority.Message(1);
  Say(message);
}

ca::v1::CaMessage AgentHarness::Message(uint64_t revision) const {
  ca::v1::CaMessage message;
  message.set_incarnation(incarnation);
  message.set_revision(revision);
  message.set_complete(true);
  message.set_ca_time(absl::ToUnixSeconds(now + ca_clock_ahead));
  return message;
}

void AgentHarness::Say(const ca::v1::CaMessage& message) {
  Do(agent::event::SyncReceived{stream, message});
}

void AgentHarness::Register(const std::string& identity_id, const std::string& path,
                            const std::vector<std::string>& selectors, uint64_t revision) {
  ca::v1::CaMessage message = Message(revision);
  ca::v1::NodeIdentity* identity = message.add_identities();
  identity->set_identity_id(identity_id);
  identity->set_spiffe_id(authority.Id(path).ToString());
  for (const std::string& selector : selectors) identity->add_selectors(selector);
  identity->set_order(revision);
  Say(message);
}

void AgentHarness::Unregister(const std::string& identity_id, uint64_t revision) {
  ca::v1::CaMessage message = Message(revision);
  message.add_removed_identities(identity_id);
  Say(message);
}

void AgentHarness::SayTrust(const trust::v1::TrustState& trust, uint64_t revision) {
  ca::v1::CaMessage message = Message(revision);
  *message.mutable_trust() = trust;
  Say(message);
}

void AgentHarness::Open(const std::string& consumer, const std::vector<std::string>& selectors,
                        ca::v1::Evidence evidence) {
  Do(agent::event::ConsumerOpened{consumer, "process of " + consumer, selectors, evidence});
}

const Certified& AgentHarness::IssuerFor(const std::string& path) const {
  const bool own = path == "/linchpin/ca" && serves_by_active;
  return issuer && !own ? *issuer : authority.active();
}

std::vector<std::string> AgentHarness::Chain(const x509::PrivateKey& key,
                                             const std::string& path) const {
  x509::CertificateSpec spec;
  spec.organization = "Linchpin";
  spec.serial = "\x01" + base::RandomBytes(base::SystemRandom(), 8);
  const absl::Time second = absl::FromUnixSeconds(absl::ToUnixSeconds(now + ca_clock_ahead));
  spec.not_before = second - backdate;
  spec.not_after = second + leaf_life;
  spec.digital_signature = true;
  spec.server_auth = true;
  spec.client_auth = true;
  spec.uri_sans = {authority.Id(path).ToString()};
  const Certified& by = IssuerFor(path);
  const x509::Certificate leaf =
      *x509::SignCertificate(spec, key.public_key(), by.certificate, by.key);
  return {leaf.der(), by.certificate.der()};
}

bool AgentHarness::Answers() const {
  const Certified& by = IssuerFor("");
  return ca_up && now + ca_clock_ahead + leaf_life < by.certificate.fields().not_after;
}

absl::Status AgentHarness::Connect(const trust::MtlsContext& context) const {
  if (!Answers()) return absl::UnavailableError("down");
  const trust::Verdict verdict =
      trust::Judge(Chain(KeyNamed("ca serving"), "/linchpin/ca"), context,
                   trust::Direction::kOutbound, trust::Expect::Ca(), now, nullptr);
  return verdict.allowed ? absl::OkStatus() : absl::UnavailableError(verdict.ToString());
}

const agent::v1::MtlsContexts* AgentHarness::Last(const std::string& consumer) const {
  const auto it = deliveries.find(consumer);
  return it == deliveries.end() ? nullptr : it->second.back().get();
}

bool AgentHarness::Alarmed(const std::string& part) const {
  return std::any_of(alarms.begin(), alarms.end(),
                     [&](const std::string& text) { return absl::StrContains(text, part); });
}

size_t AgentHarness::CountLog(const std::string& line) const {
  return static_cast<size_t>(std::count(log.begin(), log.end(), line));
}

void AgentHarness::Release() {
  for (Event& event : std::exchange(held, {})) Do(std::move(event));
}

void AgentHarness::Answer(Event event, bool hold) {
  (hold ? held : events_).push_back(std::move(event));
}

void AgentHarness::Act(const agent::action::MakeNodeKey&) {
  Answer(agent::event::NodeKeyMade{KeyNamed("node")});
}

void AgentHarness::Act(const agent::action::FirstContact&) {
  log.push_back("first contact");
  if (!Answers()) return Answer(agent::event::FirstContactDone{absl::UnavailableError("down")});
  agent::Shown seen{.chain = shown, .pin_sets = shown_sets};
  if (seen.chain.empty()) {
    seen.chain = Chain(KeyNamed("ca serving"), "/linchpin/ca");
    seen.chain.push_back(authority.root().certificate.der());
  }
  Answer(agent::event::FirstContactDone{std::move(seen)});
}

ca::v1::AttestResponse AgentHarness::NodeResponse(const x509::PrivateKey& key) const {
  ca::v1::AttestResponse response;
  response.set_node_id(authority.Id("/linchpin/node/n").ToString());
  for (const std::string& der : Chain(key, "/linchpin/node/n")) response.add_chain(der);
  *response.mutable_trust() = trust_at_attestation.value_or(authority.Message(1));
  response.set_ca_time(absl::ToUnixSeconds(now + ca_clock_ahead));
  response.set_incarnation(incarnation);
  return response;
}

void AgentHarness::Act(const agent::action::Attest& action) {
  log.push_back("attest");
  attest = action;
  if (const absl::Status met = Connect(*action.context); !met.ok()) {
    return Answer(agent::event::AttestDone{met});
  }
  if (!attest_status.ok()) return Answer(agent::event::AttestDone{attest_status});
  Answer(agent::event::AttestDone{NodeResponse(action.key)});
}

void AgentHarness::Act(const agent::action::RenewNode&) {
  log.push_back("renew node");
  if (!ca_up) return Answer(agent::event::NodeRenewed{absl::UnavailableError("down")});
  const x509::PrivateKey key = KeyNamed(absl::StrCat("node ", log.size()));
  Answer(agent::event::NodeRenewed{agent::RenewedNode{key, NodeResponse(key)}});
}

void AgentHarness::Act(const agent::action::UseNodeIdentity& action) {
  log.push_back("use");
  context_ = action.context;
  Answer(agent::event::IdentityInUse{action.generation}, hold_uses);
}

void AgentHarness::Act(const agent::action::Seal& action) {
  log.push_back("seal");
  if (!hold_seals && seal_status.ok()) sealed = *action.state;
  Answer(agent::event::Sealed{action.ticket, seal_status}, hold_seals);
}

void AgentHarness::Act(const agent::action::Issue& action) {
  log.push_back("issue");
  issues.push_back(action.identity_ids);
  agent::event::IssueDone done{.ticket = action.ticket};
  for (const std::string& id : action.identity_ids) {
    agent::event::IssueDone::Result result{id, absl::UnknownError("")};
    if (!ca_up || !issue_status.ok()) {
      result.item = ca_up ? issue_status : absl::UnavailableError("down");
    } else {
      const x509::PrivateKey key = KeyNamed(absl::StrCat(id, " ", ++keys_made_));
      const auto& identity = core->model().projection->identities;
      const auto it = identity.find(id);
      const std::string spiffe_id =
          it == identity.end() ? authority.Id("/web").ToString() : it->second.spiffe_id();
      result.item = agent::IssuedItem{key, Chain(key, trust::SpiffeId::Parse(spiffe_id)->path())};
    }
    done.results.push_back(std::move(result));
  }
  Answer(std::move(done), hold_issues);
}

void AgentHarness::Act(const agent::action::OpenSync& action) {
  log.push_back("open");
  stream = action.stream;
  hellos.push_back(action.hello);
  absl::Status met = refuses_streams ? absl::UnavailableError("down") : Connect(*context_);
  if (met.ok()) met = stream_status;
  if (!met.ok()) return Answer(agent::event::SyncClosed{stream, met});
  std::vector<std::string> chain = Chain(KeyNamed("ca serving"), "/linchpin/ca");
  Answer(agent::event::SyncOpened{stream, std::move(chain)});
}

void AgentHarness::Act(const agent::action::CloseSync& action) {
  log.push_back("close");
  Answer(agent::event::SyncClosed{action.stream, absl::CancelledError("closed")});
}

void AgentHarness::Act(const agent::action::SendAck& action) {
  log.push_back(absl::StrCat("ack ", action.ack.trust_epoch()));
  acks.push_back(action.ack);
}

void AgentHarness::Act(const agent::action::SendVerdicts&) { log.push_back("verdicts"); }

void AgentHarness::Act(const agent::action::Deliver& action) {
  log.push_back("deliver");
  deliveries[action.consumer].push_back(action.contexts);
}

void AgentHarness::Act(const agent::action::EndConsumer& action) {
  ended[action.consumer] = action.status;
}

void AgentHarness::Act(const agent::action::SetTimer& action) { timer = action.at; }

void AgentHarness::Act(const agent::action::Alarm& action) { alarms.push_back(action.text); }

void AgentHarness::Act(const agent::action::Note& action) { notes.push_back(action.text); }

}  // namespace linchpin::test
