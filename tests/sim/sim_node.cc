// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/sim_node.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "trust/judge.h"
#include "x509/certificate_request.h"
#include "x509/digest.h"

namespace linchpin::sim {
namespace {

constexpr uint64_t kSealFailsOneIn = 40;
constexpr absl::Duration kUpBefore = absl::Hours(1);  // the machine, when the story begins

// As an operator reads it from `ca pins`: the root's.
std::vector<x509::SpkiPin> RootPins(const SimCa& ca) {
  std::vector<x509::SpkiPin> pins;
  for (const auto& [key, row] : ca.core().registry().authorities()) {
    auto certificate = x509::Certificate::FromDer(row.record.certificate());
    if (certificate.ok() && certificate->IsSelfIssued()) {
      pins.push_back(certificate->public_key().pin());
    }
  }
  return pins;
}

}  // namespace

SimNode::SimNode(World& world, SimCa& ca, Parts parts)
    : world_(world),
      ca_(ca),
      parts_(std::move(parts)),
      core_random_(world.random().Next()),
      witness_(world, ca, parts_.signers, parts_.name),
      booted_at_(world.now() - kUpBefore) {}

// What the operator hands out with the agent: who signs, where sets are signed already.
void SimNode::ReadCaPins() {
  const auto set = PinSigners::InForce(ca_);
  if (!set.has_value() || world_.OneIn(2)) {
    pins_ = RootPins(ca_);
    return;
  }
  signers_.emplace();
  signers_->set_trust_domain(ca_.trust_domain().name());
  *signers_->mutable_signers() = set->signers();
  signers_->set_minimum_version(set->version());
}

void SimNode::Start(const std::string& token) {
  if (!token.empty()) token_ = token;
  if (pins_.empty() && !signers_) ReadCaPins();
  ++life_;
  started_at_ = world_.now();
  witness_.Started(std::exchange(rebooted_, false));
  world_.Say(absl::StrCat(name(), ": agent up", disk_ ? " from its sealed state" : ""));
  agent::CoreOptions options{.trust_domain = ca_.trust_domain()};
  options.ca_pins = pins_;
  options.signers = signers_;
  options.version = "simulated";
  options.boot_id = absl::FormatTime(absl::RFC3339_full, booted_at_, absl::UTCTimeZone());
  std::vector<agent::ProcessId> alive;
  for (const auto& service : services_) {
    if (service->running()) alive.push_back(service->process());
  }
  core_ = std::make_unique<agent::AgentCore>(std::move(options), core_random_);
  Step(agent::event::Started{disk_, std::move(alive)});
  if (files_) Step(agent::event::PinFilesRead{trust::Carriers{*files_}});
}

void SimNode::Empty() {
  world_.Say(absl::StrCat(name(), ": a person empties its data directory"));
  Crash();
  disk_.reset();
  pins_.clear();
  acknowledged_epoch_ = 0;
}

void SimNode::Reboot() {
  Crash();
  rebooted_ = true;
  booted_at_ = world_.now();
}

void SimNode::PutFiles(const trust::v1::PinDocuments& documents) {
  world_.Say(absl::StrCat(name(), ": files with ", documents.pin_sets_size(), " sets",
                          documents.has_relax() ? " and a relax document" : ""));
  files_ = documents;
  if (up()) Step(agent::event::PinFilesRead{trust::Carriers{documents}});
}

void SimNode::Crash() {
  world_.Say(absl::StrCat(name(), ": agent killed"));
  ++life_;
  core_.reset();
  own_context_.reset();
  if (std::exchange(unsealed_, false)) witness_.Lost();
  if (session_ != 0) ca_.Leave(std::exchange(session_, 0));
  stream_ = 0;
  auto consumers = std::move(consumers_);
  consumers_.clear();
  for (auto& [id, service] : consumers) {
    service->StreamEnded(std::stoull(id));
  }
}

void SimNode::set_partitioned(bool partitioned) {
  if (partitioned == partitioned_) return;
  world_.Say(absl::StrCat(name(), partitioned ? ": cut off" : ": network back"));
  partitioned_ = partitioned;
  if (partitioned && session_ != 0) {
    ca_.Leave(std::exchange(session_, 0));
    StreamBroke(stream_, absl::UnavailableError("the network is cut"));
  }
}

std::string SimNode::node_id() const {
  return absl::StrCat(ca_.trust_domain().IdString(), "/linchpin/node/", name());
}

SimService* SimNode::AddService(const std::string& selector) {
  services_.push_back(std::make_unique<SimService>(world_, *this, selector));
  return services_.back().get();
}

uint64_t SimNode::OpenConsumer(SimService* service) {
  if (core_ == nullptr) return 0;
  const uint64_t id = ++last_consumer_;
  consumers_[absl::StrCat(id)] = service;
  // The service learns the number first, as a client knows its stream before its first message.
  Later(absl::ZeroDuration(), [this, id, service] {
    Step(agent::event::ConsumerOpened{absl::StrCat(id), service->process(), {service->selector()}});
  });
  return id;
}

absl::Status SimNode::Reported(const agent::v1::ReportRequest& report) {
  if (core_ == nullptr) return absl::UnavailableError("the agent is gone");
  Step(agent::event::ConsumerReported{report});
  return absl::OkStatus();
}

void SimNode::Exited(const std::string& process) {
  if (core_ == nullptr) return;
  for (auto it = consumers_.begin(); it != consumers_.end();) {
    if (it->second->process() == process) {
      const std::string id = it->first;
      it = consumers_.erase(it);
      Step(agent::event::ConsumerClosed{id});
    } else {
      ++it;
    }
  }
  Step(agent::event::ProcessExited{process});
}

void SimNode::Step(const agent::Event& event) {
  const agent::Model before = core_->model();
  const agent::Actions actions = core_->Step(instant(), event);
  CheckCertificatesStay(before);
  witness_.Looked(clock(), core_->model().trust, core_->pin_concerns());
  for (const agent::Action& action : actions) {
    if (world_.broken()) return;
    std::visit([&](const auto& a) { Do(a); }, action);
  }
}

void SimNode::CheckCertificatesStay(const agent::Model& before) const {
  const agent::Model& after = core_->model();
  for (const auto& [id, had] : before.certificates) {
    if (had->expires_at <= clock() || !after.projection->identities.contains(id)) continue;
    const auto has = after.certificates.find(id);
    if (has == after.certificates.end() || has->second->expires_at < had->expires_at) {
      world_.Broken("a valid certificate is never dropped", absl::StrCat(name(), " lost ", id));
    }
  }
}

void SimNode::Later(absl::Duration most, std::function<void()> work) {
  world_.After(world_.UpTo(most), [this, life = life_, work = std::move(work)] {
    if (life == life_) work();
  });
}

bool SimNode::Reaches() const {
  if (!ca_.up() || partitioned_) return false;
  return !ca_.lies() || signers_.has_value() || core_->model().pin_set_version() > 0;
}

absl::Status SimNode::Handshake(const trust::MtlsContext& context) const {
  if (!Reaches()) return absl::UnavailableError("cannot connect");
  const trust::RawChain shown = ca_.shown();
  if (ca_.context() == nullptr) return absl::UnavailableError("the CA has no certificate yet");
  const trust::Verdict of_ca = trust::Judge(shown, context, trust::Direction::kOutbound,
                                            trust::Expect::Ca(), clock(), &memo_);
  if (!of_ca.allowed) return absl::UnauthenticatedError(of_ca.ToString());
  if (!context.has_certificate()) return absl::OkStatus();
  trust::RawChain own;
  for (const x509::Certificate& certificate : context.chain()) own.push_back(certificate.der());
  const trust::Verdict of_node = trust::Judge(own, *ca_.context(), trust::Direction::kInbound,
                                              trust::Expect::Node(), ca_.clock(), nullptr);
  if (!of_node.allowed) return absl::UnauthenticatedError(of_node.ToString());
  return absl::OkStatus();
}

void SimNode::Rpc(std::shared_ptr<const trust::MtlsContext> context,
                  std::function<ca::Event(ca::CallId)> request, CallDone done) {
  auto once = std::make_shared<bool>(false);
  CallDone finish = [once, done = std::move(done)](absl::StatusOr<SimCa::Message> reply) {
    if (!std::exchange(*once, true)) done(std::move(reply));
  };
  // Whatever is lost on the way, the caller gives up in the end.
  Later(absl::Seconds(10), [finish] { finish(absl::DeadlineExceededError("no answer")); });
  if (faulty_ && world_.OneIn(25)) return;  // the request is lost
  const int copies = faulty_ && world_.OneIn(25) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    Later(absl::Milliseconds(20), [this, context, request, finish] {
      const absl::Status connected = Handshake(*context);
      if (!connected.ok()) return finish(connected);
      ca_.Call(request, [this, life = life_, finish](const absl::Status& status,
                                                     const SimCa::Message& message) {
        if (life != life_ || partitioned_) return;
        if (faulty_ && world_.OneIn(25)) return;  // the answer is lost
        Later(absl::Milliseconds(20), [finish, status, message] {
          if (!status.ok()) return finish(status);
          finish(message);
        });
      });
    });
  }
}

void SimNode::Do(const agent::action::MakeNodeKey&) {
  Later(absl::Milliseconds(1), [this] {
    Step(agent::event::NodeKeyMade{x509::PrivateKey::Generate(x509::KeyType::kP256)});
  });
}

void SimNode::Do(const agent::action::FirstContact& action) {
  Later(absl::Milliseconds(20), [this, request = action.request] {
    if (!Reaches() || ca_.shown().empty()) {
      return Step(agent::event::FirstContactDone{absl::UnavailableError("cannot connect")});
    }
    ca_.Call(
        [&](ca::CallId call) {
          return ca::event::GetTrustAsked{call, request};
        },
        [this, life = life_](const absl::Status& status, const SimCa::Message& message) {
          if (life != life_) return;
          agent::Shown shown{.chain = ca_.shown()};
          if (status.ok()) {
            const auto& sets = static_cast<const ca::v1::GetTrustResponse&>(*message);
            shown.pin_sets.assign(sets.pin_sets().begin(), sets.pin_sets().end());
            if (sets.has_relax()) shown.relax = sets.relax();
            if (sets.has_freshness()) shown.freshness = sets.freshness();
          }
          Later(absl::Milliseconds(20), [this, status, shown] {
            if (!status.ok()) return Step(agent::event::FirstContactDone{status});
            Step(agent::event::FirstContactDone{shown});
          });
        });
  });
}

void SimNode::Do(const agent::action::Attest& action) {
  auto request = x509::CertificateRequest::FromDer(*x509::MakeCertificateRequest(action.key));
  ca::NodeEvidence evidence = ca::TokenEvidence{x509::Sha256(token_)};
  if (!action.expired_certificate.empty()) {
    evidence =
        ca::ExpiredCertificateEvidence{*x509::Certificate::FromDer(action.expired_certificate)};
  }
  Rpc(
      action.context,
      [request = *request, evidence](ca::CallId call) {
        return ca::event::AttestAsked{call, request, evidence};
      },
      [this](absl::StatusOr<SimCa::Message> reply) {
        if (!reply.ok()) return Step(agent::event::AttestDone{reply.status()});
        const auto& response = static_cast<const ca::v1::AttestResponse&>(**reply);
        Heard(response);
        Step(agent::event::AttestDone{response});
      });
}

void SimNode::Do(const agent::action::RenewNode&) {
  if (context() == nullptr) {
    return Later(absl::ZeroDuration(), [this] {
      Step(agent::event::NodeRenewed{absl::UnavailableError("no identity in use")});
    });
  }
  const auto key = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  auto request = x509::CertificateRequest::FromDer(*x509::MakeCertificateRequest(key));
  Rpc(
      context(),
      [caller = Caller(), request = *request](ca::CallId call) {
        return ca::event::RenewAsked{call, caller, request};
      },
      [this, key](absl::StatusOr<SimCa::Message> reply) {
        if (!reply.ok()) return Step(agent::event::NodeRenewed{reply.status()});
        const auto& response = static_cast<const ca::v1::AttestResponse&>(**reply);
        Heard(response);
        Step(agent::event::NodeRenewed{agent::RenewedNode{key, response}});
      });
}

void SimNode::Do(const agent::action::UseNodeIdentity& action) {
  Later(absl::Milliseconds(5), [this, action] {
    own_context_ = action.context;
    Step(agent::event::IdentityInUse{action.generation});
  });
}

void SimNode::Do(const agent::action::Seal& action) {
  Later(absl::Milliseconds(10), [this, action] {
    if (faulty_ && world_.OneIn(kSealFailsOneIn)) {
      unsealed_ = true;
      return Step(agent::event::Sealed{action.ticket, absl::ResourceExhaustedError("disk full")});
    }
    disk_ = *action.state;  // from here on it survives a crash
    most_sealed_ = std::max(most_sealed_, sealed_epoch());
    Later(absl::Milliseconds(5), [this, action] {
      Step(agent::event::Sealed{action.ticket, absl::OkStatus()});
    });
  });
}

void SimNode::Do(const agent::action::Issue& action) {
  struct Batch {
    std::vector<std::string> ids;
    std::vector<x509::PrivateKey> keys;
    std::vector<ca::IssueAskedItem> items;
  };
  auto batch = std::make_shared<Batch>();
  batch->ids = action.identity_ids;
  for (size_t i = 0; i < batch->ids.size(); ++i) {
    batch->keys.push_back(*x509::PrivateKey::Generate(x509::KeyType::kP256));
    batch->items.push_back(
        {batch->ids[i], *x509::MakeCertificateRequest(batch->keys.back()), action.held_until[i]});
  }
  auto done = [this, batch, ticket = action.ticket](absl::StatusOr<SimCa::Message> reply) {
    agent::event::IssueDone result{.ticket = ticket};
    for (size_t i = 0; i < batch->ids.size(); ++i) {
      absl::StatusOr<agent::IssuedItem> item = absl::UnknownError("no answer");
      if (!reply.ok()) item = reply.status();
      if (reply.ok()) {
        const auto& one = static_cast<const ca::v1::IssueResponse&>(**reply).results(i);
        if (one.code() == 0) {
          item = agent::IssuedItem{batch->keys[i], {one.chain().begin(), one.chain().end()}};
          Received(item->chain);
        } else {
          item = absl::Status(static_cast<absl::StatusCode>(one.code()), one.message());
        }
      }
      result.results.push_back({batch->ids[i], std::move(item)});
    }
    Step(result);
  };
  if (context() == nullptr) {
    return Later(absl::ZeroDuration(), [done] { done(absl::UnavailableError("no identity")); });
  }
  Rpc(
      context(),
      [batch, caller = Caller()](ca::CallId call) {
        return ca::event::IssueAsked{call, caller, batch->items};
      },
      done);
}

ca::NodeCaller SimNode::Caller() const {
  const x509::Certificate& leaf = context()->chain().front();
  return {node_id(), leaf.public_key().pin().bytes(), leaf.der()};
}

void SimNode::Heard(const ca::v1::AttestResponse& response) {
  Received({response.chain().begin(), response.chain().end()});
  witness_.Heard(response.ca_time());
}

void SimNode::Received(const std::vector<std::string>& chain) const {
  if (!chain.empty() && !ca_.Logged(x509::Sha256(chain[0]))) {
    world_.Broken("a certificate that left is in the log", name());
  }
}

}  // namespace linchpin::sim
