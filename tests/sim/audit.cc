// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/audit.h"

#include "absl/strings/str_cat.h"
#include "trust/judge.h"

namespace linchpin::sim {
namespace {

trust::RawChain Raw(const x509::Chain& chain) {
  trust::RawChain raw;
  for (const x509::Certificate& certificate : chain) raw.push_back(certificate.der());
  return raw;
}

const trust::v1::EffectivePins& PinsOf(const SimService& service) {
  return service.in_force()->contexts->decoded.trust.begin()->second->pins();
}

// Pins that expired with fail_closed admit nobody, unless a document relaxes them.
bool IsClosed(const SimService& service) {
  const trust::v1::EffectivePins& pins = PinsOf(service);
  return pins.expired() && pins.on_expiry() == trust::v1::PinSet::FAIL_CLOSED &&
         service.clock() >= absl::FromUnixSeconds(pins.relaxed_until());
}

std::string Text(const trust::PeerPolicy& policy, const trust::SpiffeId& id) {
  std::string text;
  for (const auto& rule : policy.rules(id)) absl::StrAppend(&text, rule.ShortDebugString(), "\n");
  return text;
}

std::string Rules(const trust::MtlsContext& context) {
  return Text(context.policy(), *context.id());
}

std::string RulesOfNow(const ca::Registry& registry, const trust::SpiffeId& id) {
  std::set<ca::Registry::RuleKey> keys;
  registry.AddRulesOf(id.ToString(), &keys);
  std::vector<trust::v1::PeerRule> rules;
  for (const auto& key : keys) rules.push_back(registry.rules().at(key).record.rule());
  return Text(*trust::PeerPolicy::ForIdentity(id, rules), id);
}

// So long after its agent knew it a service must have been told that its pins are closed.
constexpr absl::Duration kToTell = absl::Minutes(2);

bool MustBeClosed(const SimService& service) {
  const trust::v1::EffectivePins& pins = PinsOf(service);
  if (IsClosed(service)) return true;
  return pins.is_signed() && pins.on_expiry() == trust::v1::PinSet::FAIL_CLOSED &&
         service.UsesItsStream() &&
         service.clock() >= absl::FromUnixSeconds(pins.relaxed_until()) &&
         service.node().witness().KnowsOfExpiry(pins.version(), kToTell);
}

// Then it refuses everybody, which is what the signers asked for.
bool IsRightlyClosed(const SimService& service) {
  return IsClosed(service) && service.node().witness().MayHaveExpired(PinsOf(service).expires_at());
}

// Valid by the true time and by every clock that matters.
bool ValidFor(const trust::MtlsContext& context, absl::Time now, absl::Time one, absl::Time other) {
  const absl::Time not_before = context.chain()[0].fields().not_before;
  for (absl::Time at : {now, one, other}) {
    if (at < not_before || at >= context.expires_at()) return false;
  }
  return true;
}

}  // namespace

void Audit::Handshake(SimService& caller, SimService& callee) {
  if (&caller == &callee || !caller.in_force() || !callee.in_force()) return;
  const auto from = caller.in_force()->contexts->Find("");
  const auto to = callee.in_force()->contexts->Find("");
  const History::Pair pair(from->id()->ToString(), to->id()->ToString());
  const tls::ConnectionId id = ++last_connection_;
  const auto judge = [&](SimService& self, const trust::MtlsContext& own,
                         const trust::MtlsContext& peer, trust::Direction direction) {
    const trust::Expect expect = direction == trust::Direction::kOutbound
                                     ? trust::Expect::Id(*peer.id())
                                     : trust::Expect::AnyAllowed();
    return std::pair(
        trust::Judge(Raw(peer.chain()), own, direction, expect, self.clock(), self.memo()),
        tls::event::ConnectionOpened{
            .id = id,
            .self_id = own.id()->ToString(),
            .chain = Raw(peer.chain()),
            .direction = direction,
            .expect = expect,
            .handshake_time = self.clock(),
            .trust_digest = self.in_force()->contexts->decoded.trust_digest});
  };
  const auto [out, out_live] = judge(caller, *from, *to, trust::Direction::kOutbound);
  const auto [in, in_live] = judge(callee, *to, *from, trust::Direction::kInbound);
  const bool passed = out.allowed && in.allowed;
  ++(passed ? passed_ : refused_);

  const auto answer =
      ca_.history().Allowed(pair, caller.in_force()->made_at, callee.in_force()->made_at);
  const auto revoked = [&](const trust::MtlsContext& one) {
    return ca_.history().Revoked(*one.id(), one.chain(),
                                 evil_.TrueEpoch(caller.in_force()->epoch()),
                                 evil_.TrueEpoch(callee.in_force()->epoch()));
  };
  const std::string what = absl::StrCat(
      pair.first, " (revision ", caller.in_force()->made_at, ") -> ", pair.second, " (revision ",
      callee.in_force()->made_at, "): ", out.ToString(), " / ", in.ToString());
  if (passed &&
      (revoked(*from) == History::Answer::kAlways || revoked(*to) == History::Answer::kAlways)) {
    return world_.Broken("what is revoked is never let through", what);
  }
  if (passed && answer == History::Answer::kNever) {
    return world_.Broken("a forbidden pair is never let through", what);
  }
  if (passed && (MustBeClosed(caller) || MustBeClosed(callee))) {
    return world_.Broken("pins that expired with fail_closed admit nobody", what);
  }
  if (!passed && (IsRightlyClosed(caller) || IsRightlyClosed(callee))) return;
  if (!passed && (WasDenied(*to->id(), out) || WasDenied(*from->id(), in))) return;
  const bool valid = ValidFor(*from, world_.now(), caller.clock(), callee.clock()) &&
                     ValidFor(*to, world_.now(), caller.clock(), callee.clock());
  // Who lost his identity is told nothing by an agent that does not know him from before.
  const auto forgotten = [&](const SimService& service, const trust::MtlsContext& own) {
    return !service.UsesItsStream() &&
           !ca_.history().RegisteredSince(own.id()->ToString(), service.in_force()->made_at);
  };
  if (!passed && (forgotten(caller, *from) || forgotten(callee, *to))) return;
  const bool clean =
      revoked(*from) == History::Answer::kNever && revoked(*to) == History::Answer::kNever;
  if (!passed && valid && clean && answer == History::Answer::kAlways) {
    return world_.Broken("an allowed pair is never refused", what);
  }
  if (!passed) return;
  connections_[id] = {&caller, &callee};
  caller.Opened(out_live);
  if (connections_.contains(id)) callee.Opened(in_live);
}

// Whoever has the CA's keys can deny what he likes, for as long as he has its place.
bool Audit::WasDenied(const trust::SpiffeId& id, const trust::Verdict& verdict) const {
  return !settled_ && verdict.reason() == trust::v1::REVOKED && evil_.Denied(id);
}

bool Audit::IsRightlySoftened(const SimService& service) const {
  const trust::v1::EffectivePins& pins = PinsOf(service);
  const PinWitness& witness = service.node().witness();
  if (service.clock() < absl::FromUnixSeconds(pins.relaxed_until())) {
    // Whose agent is gone has nobody to tell him but his own clock.
    const bool told = service.UsesItsStream() && service.node().up_for() > kToTell;
    return !told || witness.MayBeRelaxed(pins.version(), pins.relaxed_until(), kToTell);
  }
  return pins.expired() && pins.on_expiry() == trust::v1::PinSet::RELAX &&
         witness.MayHaveExpired(pins.expires_at());
}

void Audit::Impersonate(SimService& judge, const SimService& impersonated) {
  if (&judge == &impersonated || !judge.in_force() || !impersonated.in_force()) return;
  const auto context = judge.in_force()->contexts->Find("");
  const trust::SpiffeId& id = *impersonated.in_force()->contexts->Find("")->id();
  const auto passes = [&](const trust::RawChain& chain) {
    return trust::Judge(chain, *context, trust::Direction::kOutbound, trust::Expect::Id(id),
                        judge.clock(), judge.memo())
        .allowed;
  };
  if (passes(rogue_.UnderHisOwn(id))) {
    return world_.Broken("a root that no set names anchors nothing", judge.process());
  }
  if (!passes(rogue_.UnderTheTrueRoot(id))) return;
  ++softened_;
  if (!IsRightlySoftened(judge)) {
    world_.Broken("an issuer that no set names is refused",
                  absl::StrCat(judge.process(), ": ", PinsOf(judge).ShortDebugString()));
  }
}

void Audit::EndConnection(tls::ConnectionId id) {
  auto connection = connections_.extract(id);
  if (connection.empty()) return;
  for (SimService* end : {connection.mapped().first, connection.mapped().second}) {
    if (end->running()) end->Closed(id);
  }
}

void Audit::CheckHeld(const std::vector<std::unique_ptr<SimNode>>& nodes, uint64_t epoch,
                      const std::string& why, bool of_known) {
  for (const auto& node : nodes) {
    if (of_known && ca_.stored().FindNode(node->node_id()) == nullptr) continue;
    // Was never a node, or nothing that it could show is valid any more.
    if (node->sealed_epoch() == 0 || !ca_.HasValidThrough(node->node_id())) continue;
    if (node->sealed_epoch() < epoch) {
      world_.Broken("no gate opens early",
                    absl::StrCat(node->name(), " holds epoch ", node->sealed_epoch(), ": ", why));
    }
    // A lie that was told since is another matter, and so is set 0 that went on by itself.
    const std::string digest = node->sealed_digest();
    if (evil_.lies() == 0 && !digest.empty() && !ca_.Offered(node->sealed_epoch(), digest)) {
      world_.Broken("no gate opens early",
                    absl::StrCat(node->name(), " holds epoch ", node->sealed_epoch(),
                                 " of another past: ", why));
    }
    for (const auto& service : node->services()) {
      // What it had of another life of its agent does not count: this one cannot know of it.
      if (!service->running() || !service->UsesItsStream()) continue;
      if (service->in_force()->contexts->Find("")->expires_at() <= service->clock()) continue;
      const uint64_t enforced = service->in_force()->contexts->decoded.trust_epoch;
      if (enforced < epoch) {
        world_.Broken("no gate opens early", absl::StrCat(service->process(), " enforces epoch ",
                                                          enforced, " of ", epoch, ": ", why));
      }
    }
  }
}

void Audit::CheckCoverage(const std::vector<std::unique_ptr<SimNode>>& nodes) {
  if (!ca_.up()) return;
  ca_.Call(
      [](ca::CallId call) {
        return ca::event::AdminAsked{call, Operator::Root(), ca::v1::CoverageRequest()};
      },
      [&](const absl::Status& status, const SimCa::Message& message) {
        if (!status.ok()) return;
        const auto& coverage = static_cast<const ca::v1::Coverage&>(*message);
        // Of a store that was put back it says that there may be others.
        if (coverage.complete()) {
          CheckHeld(nodes, coverage.epoch(), coverage.ShortDebugString(),
                    coverage.unknown_until() > 0);
        }
      });
}

void Audit::CheckPolicy(const std::vector<std::unique_ptr<SimNode>>& nodes) {
  if (!ca_.up()) return;
  ca::v1::CoverageRequest asked;
  asked.set_policy(true);
  ca::v1::Coverage coverage;
  ca_.Call(
      [&](ca::CallId call) {
        return ca::event::AdminAsked{call, Operator::Root(), asked};
      },
      [&](const absl::Status& status, const SimCa::Message& message) {
        if (status.ok()) coverage = static_cast<const ca::v1::Coverage&>(*message);
      });
  if (!coverage.complete()) return;
  const ca::Registry& registry = ca_.core().registry();
  // Who lost his identity is told nothing more by an agent that does not know him from before.
  const auto withdrawn = [&](const SimNode& node, const trust::SpiffeId& id) {
    return std::none_of(
        registry.identities().begin(), registry.identities().end(), [&](const auto& row) {
          const ca::v1::Identity& identity = row.second.record.identity();
          return identity.spiffe_id() == id.ToString() && registry.Sees(node.node_id(), identity);
        });
  };
  for (const auto& node : nodes) {
    if (ca_.stored().FindNode(node->node_id()) == nullptr) continue;
    if (node->sealed_epoch() == 0 || !ca_.HasValidThrough(node->node_id())) continue;
    for (const auto& service : node->services()) {
      if (!service->running() || !service->UsesItsStream() || !service->reported()) continue;
      // A clock that was set back makes nothing valid again at those who have the right time.
      const absl::Time latest = std::max(service->clock(), world_.now());
      if (service->in_force()->contexts->Find("")->expires_at() <= latest) continue;
      for (const auto& context : service->reported()->decoded.contexts) {
        if (withdrawn(*node, *context->id())) continue;
        if (Rules(*context) == RulesOfNow(registry, *context->id())) continue;
        return world_.Broken("policy is enforced where it is said to be",
                             absl::StrCat(service->process(), ": ", coverage.ShortDebugString()));
      }
    }
  }
}

std::string Audit::WhyNotCovered(bool policy) {
  const auto& identities = ca_.core().registry().identities();
  // Who lost his identity is told nothing more by an agent that does not know him from before.
  const auto withdrawn = [&](const ca::v1::Consumer& consumer) {
    const std::string& id = consumer.consumer_id();
    return !identities.contains(id.substr(id.rfind('/') + 1));
  };
  std::string why;
  const auto look = [&](const ca::v1::Coverage& coverage) {
    for (const ca::v1::NodeCoverage& node : coverage.nodes()) {
      if (node.covered()) continue;
      const auto& all = node.consumers();
      const bool excused = node.epoch_held() >= coverage.epoch() &&
                           std::any_of(all.begin(), all.end(), withdrawn) &&
                           std::all_of(all.begin(), all.end(), [&](const auto& consumer) {
                             const bool has = policy ? consumer.current()
                                                     : consumer.trust_epoch() >= coverage.epoch();
                             return has || withdrawn(consumer);
                           });
      if (!excused) absl::StrAppend(&why, node.node_id(), " ", node.why_late(), "; ");
    }
  };
  ca::v1::CoverageRequest asked;
  asked.set_policy(policy);
  ca_.Call(
      [&](ca::CallId call) {
        return ca::event::AdminAsked{call, Operator::Root(), asked};
      },
      [&](const absl::Status& status, const SimCa::Message& message) {
        if (status.ok()) look(static_cast<const ca::v1::Coverage&>(*message));
      });
  return why;
}

void Audit::CheckRotation(const std::vector<std::unique_ptr<SimNode>>& nodes,
                          const ca::v1::Rotation& rotation) {
  const bool of_signers = rotation.what() == "signers";
  if (rotation.step() == ca::v1::ACTIVATED && !of_signers && rotation.history_size() > 0) {
    const ca::v1::RotationEvent& last = *rotation.history().rbegin();
    if (last.note() != "taken back") CheckHeld(nodes, last.gate().epoch(), "activated");
  }
  if (rotation.step() != ca::v1::DROPPED) return;
  const std::set<std::string> dropped(rotation.old_pins().begin(), rotation.old_pins().end());
  for (const auto& node : nodes) {
    for (const auto& service : node->services()) {
      if (!service->running() || !service->in_force()) continue;
      const auto context = service->in_force()->contexts->Find("");
      const std::string issuer = context->chain()[1].public_key().pin().bytes();
      if (context->expires_at() > world_.now() && dropped.contains(issuer)) {
        world_.Broken("what a dropped key signed is not in use", service->process());
      }
    }
  }
}

void Audit::CheckSettled(const std::vector<std::unique_ptr<SimNode>>& nodes, const Operator& oper) {
  for (const auto& node : nodes) {
    if (!node->up()) return world_.Broken("every node comes back", node->name() + " never joined");
    if (!node->core().connected()) {
      return world_.Broken("every node comes back",
                           absl::StrCat(node->name(), ": ", node->core().NotReady(node->clock())));
    }
    if (node->sealed_epoch() != ca_.core().registry().trust().record.epoch()) {
      return world_.Broken("every node holds the newest trust", node->name());
    }
    for (const auto& service : node->services()) CheckSettledService(*service, oper);
  }
  for (const bool policy : {false, true}) {
    const std::string uncovered = WhyNotCovered(policy);
    if (!uncovered.empty()) world_.Broken("every change comes into force everywhere", uncovered);
  }
}

void Audit::CheckSettledService(const SimService& service, const Operator& oper) {
  const std::string name = service.selector().substr(service.selector().rfind(':') + 1);
  const std::optional<bool> registered = oper.IsRegistered(name);
  if (!registered || !*registered) return;
  if (!service.in_force()) {
    return world_.Broken("a registered service is served", service.process());
  }
  const auto context = service.in_force()->contexts->Find("");
  if (context->expires_at() <= service.clock()) {
    return world_.Broken("a registered service has a valid certificate", service.process());
  }
  for (const auto& [id, live] : service.live()) {
    const trust::Verdict verdict =
        trust::JudgeAgain(live.chain, *context, live.direction, live.expect, live.handshake_time,
                          service.clock(), nullptr);
    if (!verdict.allowed) {
      return world_.Broken("a connection that no longer passes is closed",
                           absl::StrCat(service.process(), ": ", verdict.ToString()));
    }
  }
}

}  // namespace linchpin::sim
