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
    return std::pair(trust::Judge(Raw(peer.chain()), own, direction, expect, self.clock(), nullptr),
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
  const std::string what = absl::StrCat(
      pair.first, " (revision ", caller.in_force()->made_at, ") -> ", pair.second, " (revision ",
      callee.in_force()->made_at, "): ", out.ToString(), " / ", in.ToString());
  if (passed && answer == History::Answer::kNever) {
    return world_.Broken("a forbidden pair is never let through", what);
  }
  const bool valid = ValidFor(*from, world_.now(), caller.clock(), callee.clock()) &&
                     ValidFor(*to, world_.now(), caller.clock(), callee.clock());
  if (!passed && valid && answer == History::Answer::kAlways) {
    return world_.Broken("an allowed pair is never refused", what);
  }
  if (!passed) return;
  connections_[id] = {&caller, &callee};
  caller.Opened(out_live);
  if (connections_.contains(id)) callee.Opened(in_live);
}

void Audit::EndConnection(tls::ConnectionId id) {
  auto connection = connections_.extract(id);
  if (connection.empty()) return;
  for (SimService* end : {connection.mapped().first, connection.mapped().second}) {
    if (end->running()) end->Closed(id);
  }
}

void Audit::CheckCoverage(const std::vector<std::unique_ptr<SimNode>>& nodes) {
  if (!ca_.up()) return;
  const auto answered = [&](const absl::Status& status, const SimCa::Message& message) {
    if (!status.ok()) return;
    const auto& coverage = static_cast<const ca::v1::Coverage&>(*message);
    if (!coverage.complete()) return;
    for (const auto& node : nodes) {
      if (node->sealed_epoch() == 0) continue;  // was never a node
      if (node->sealed_epoch() < coverage.epoch()) {
        world_.Broken("no gate opens early",
                      absl::StrCat(node->name(), " holds epoch ", node->sealed_epoch()));
      }
      for (const auto& service : node->services()) {
        // What it had of another life of its agent does not count: this one cannot know of it.
        if (!service->running() || !service->UsesItsStream()) continue;
        if (service->in_force()->contexts->Find("")->expires_at() <= service->clock()) continue;
        const uint64_t epoch = service->in_force()->contexts->decoded.trust_epoch;
        if (epoch < coverage.epoch()) {
          world_.Broken("no gate opens early",
                        absl::StrCat(service->process(), " enforces epoch ", epoch, " of ",
                                     coverage.epoch(), ": ", coverage.ShortDebugString()));
        }
      }
    }
  };
  ca_.Call(
      [](ca::CallId call) {
        return ca::event::AdminAsked{call, Operator::Root(), ca::v1::CoverageRequest()};
      },
      answered);
}

void Audit::CheckSettled(const std::vector<std::unique_ptr<SimNode>>& nodes, const Operator& oper) {
  for (const auto& node : nodes) {
    if (!node->core().connected()) {
      return world_.Broken("every node comes back",
                           absl::StrCat(node->name(), ": ", node->core().NotReady(node->clock())));
    }
    if (node->sealed_epoch() != ca_.core().registry().trust().record.epoch()) {
      return world_.Broken("every node holds the newest trust", node->name());
    }
    for (const auto& service : node->services()) CheckSettledService(*service, oper);
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
