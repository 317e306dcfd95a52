// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/ca_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/log_head.h"
#include "ca/core/reply.h"
#include "ca/core/restored.h"
#include "trust/spiffe_id.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr absl::Duration kPruneEvery = absl::Minutes(1);
constexpr absl::Duration kTokenKept = absl::Hours(24);  // after its expiry, to say that it expired
constexpr size_t kMaxPruned = 256;
// A fleet that reconnects after a shutdown is spread over this much a node.
constexpr absl::Duration kReconnectSpread = absl::Microseconds(500);

// Failures of a commit that say for certain that nothing was stored.
bool IsDefinite(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
      return true;
    default:
      return false;
  }
}

bool Holds(const Store::Listing& listing, const std::vector<Write>& batch) {
  std::map<absl::string_view, absl::string_view> values;
  for (const Record& record : listing.records) values[record.key] = record.value;
  return std::all_of(batch.begin(), batch.end(), [&](const Write& write) {
    const auto it = values.find(write.key);
    if (!write.value.has_value()) return it == values.end();
    return it != values.end() && it->second == *write.value;
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<CaCore>> CaCore::Make(CoreOptions options,
                                                     const Store::Listing& listing,
                                                     base::Random& random) {
  RETURN_IF_ERROR(options.profile.Check());
  std::unique_ptr<CaCore> core(new CaCore(std::move(options), random));
  ASSIGN_OR_RETURN(core->registry_, Registry::FromListing(listing));
  const std::string& expected = core->options_.profile.trust_domain.name();
  if (core->registry_.meta().trust_domain() != expected) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the store is of the trust domain ", core->registry_.meta().trust_domain(), ", not of ",
        expected, "; give the data directory of ", expected, ", or a new one"));
  }
  ASSIGN_OR_RETURN(core->authorities_, Authorities::FromRegistry(core->registry_));
  RETURN_IF_ERROR(OwnTrust(core->registry_, core->authorities_).status());
  return core;
}

Actions CaCore::Step(absl::Time now, Event event) {
  Actions out;
  history_.TakeMarks({registry_, coverage_, outstanding_}, now);
  std::visit([&](auto&& happened) { On(now, std::move(happened), &out); }, std::move(event));
  history_.LookForComplete({registry_, coverage_, outstanding_}, now);
  for (const Action& action : out) {
    const auto* reply = std::get_if<action::Reply>(&action);
    if (reply != nullptr) Answered(reply->call);
  }
  return out;
}

bool CaCore::idle() const {
  return !under_way_.has_value() && queue_.empty() && issuing_.empty() && issue_queue_.idle();
}

std::string CaCore::NotReady(absl::Time now) const {
  if (draining_) return "shutting down";
  if (now >= serving_expires_) return "no valid serving certificate";
  const absl::Time issuer_ends = authorities_.active().certificate.fields().not_after;
  if (now >= issuer_ends)
    return absl::StrCat("the issuer expired at ", trust::TimeText(issuer_ends));
  if (reload_due_) return "the store cannot be read";
  return "";
}

absl::Status CaCore::Admit(CallId call, const std::string& node_id) {
  size_t& count = calls_of_[node_id];
  if (count >= kMaxChangesOfNode) {
    return absl::ResourceExhaustedError(absl::StrCat(
        kMaxChangesOfNode, " calls of ", node_id, " wait for an answer already; try again later"));
  }
  ++count;
  calls_.emplace(call, node_id);
  return absl::OkStatus();
}

void CaCore::Answered(CallId call) {
  const auto it = calls_.find(call);
  if (it == calls_.end()) return;
  const auto count = calls_of_.find(it->second);
  if (--count->second == 0) calls_of_.erase(count);
  calls_.erase(it);
}

void CaCore::On(absl::Time now, event::Started event, Actions* out) {
  outstanding_ = std::move(event.outstanding);
  history_.Started(now);
  for (const auto& [key, row] : registry_.seen()) {
    if (registry_.FindNode(row.record.node_id()) == nullptr) continue;  // it was forgotten
    coverage_.Recorded(row.record.node_id(), absl::FromUnixSeconds(row.record.seen_at()));
  }
  prune_at_ = now + kPruneEvery;
  UseTrust(out);
  RenewServing(now, out);
  if (LostBeforeStart(TablesNow(), now).empty()) return;
  const auto prepare = [this](absl::Time then) -> absl::StatusOr<Change> {
    return Change{.batch = LostBeforeStart(TablesNow(), then), .then = {}};
  };
  Enqueue(now, std::nullopt, prepare, out);
}

void CaCore::Enqueue(absl::Time now, std::optional<CallId> call, Prepare prepare, Actions* out) {
  absl::Status refused;
  if (draining_) {
    refused = absl::UnavailableError("the CA is shutting down; try again");
  } else if (queue_.size() >= kMaxQueued) {
    refused = absl::ResourceExhaustedError(
        absl::StrCat(kMaxQueued, " changes wait already; try again later"));
  }
  if (!refused.ok()) {
    if (call.has_value()) ReplyError(*call, std::move(refused), out);
    return;
  }
  queue_.push_back({.call = call, .prepare = std::move(prepare)});
  StartNext(now, out);
}

void CaCore::StartNext(absl::Time now, Actions* out) {
  while (!under_way_.has_value() && !queue_.empty()) {
    Queued next = std::move(queue_.front());
    queue_.pop_front();
    absl::StatusOr<Change> change = next.prepare(now);
    if (!change.ok()) {
      if (next.call.has_value()) ReplyError(*next.call, change.status(), out);
    } else if (change->batch.empty()) {
      if (change->then) change->then(now, out);
    } else {
      AddEpochRecord(registry_, now, &change->batch);
      AddLogHead(registry_, last_tick_, now, &change->batch);
      const Ticket ticket = next_ticket_++;
      out->push_back(action::Commit{.ticket = ticket, .batch = change->batch});
      under_way_ =
          UnderWay{.ticket = ticket, .call = next.call, .change = *std::move(change), .fault = {}};
    }
  }
}

// The change under way has come to its end; the tables show it if it was stored.
void CaCore::Finish(absl::Time now, const absl::Status& status, Actions* out) {
  UnderWay done = *std::move(under_way_);
  under_way_.reset();
  if (!status.ok()) {
    if (done.call.has_value()) ReplyError(*done.call, status, out);
  } else if (done.change.then) {
    done.change.then(now, out);
  }
  StartNext(now, out);
}

void CaCore::On(absl::Time now, event::Committed event, Actions* out) {
  if (!under_way_.has_value() || under_way_->ticket != event.ticket) return;
  if (!under_way_->fault.ok()) return;  // a reload decides
  if (!event.result.ok() && IsDefinite(event.result.status())) {
    return Finish(now, event.result.status(), out);
  }
  if (!event.result.ok()) {
    under_way_->fault = event.result.status();
    out->push_back(action::Reload{});
    return;
  }
  const std::vector<Write>& batch = under_way_->change.batch;
  const Touched touched = registry_.TouchedBy(batch);
  const Slices before = SlicesOf(touched);
  if (absl::Status applied = Apply(batch, *event.result); !applied.ok()) {
    under_way_->fault = applied;
    out->push_back(action::Reload{});
    return;
  }
  PushChanges(now, touched, before, out);
  RenewServing(now, out);
  Finish(now, absl::OkStatus(), out);
}

absl::Status CaCore::Apply(const std::vector<Write>& batch, Revision revision) {
  RETURN_IF_ERROR(registry_.Apply(batch, revision));
  const bool of_authorities = std::any_of(batch.begin(), batch.end(), [](const Write& write) {
    return absl::StartsWith(write.key, "authority/");
  });
  if (!of_authorities) return absl::OkStatus();
  ASSIGN_OR_RETURN(authorities_, Authorities::FromRegistry(registry_));
  return absl::OkStatus();
}

void CaCore::On(absl::Time now, event::Reloaded event, Actions* out) {
  absl::Status status = event.listing.status();
  Registry registry;
  Authorities authorities;
  const auto take = [&]() -> absl::Status {
    RETURN_IF_ERROR(status);
    ASSIGN_OR_RETURN(registry, Registry::FromListing(*event.listing));
    ASSIGN_OR_RETURN(authorities, Authorities::FromRegistry(registry));
    return absl::OkStatus();
  };
  status = take();
  reload_due_ = !status.ok();  // tried again at the next tick
  if (!status.ok()) {
    out->push_back(action::Note{.warning = true,
                                .message = "the store cannot be read",
                                .fields = {{"error", std::string(status.message())}},
                                .counter = "linchpin_ca_reload_failures_total",
                                .labels = {}});
    return;
  }
  const Touched everything{.everything = true, .trust = true, .identities = {}, .rules = {}};
  const Slices before = SlicesOf(everything);
  registry_ = std::move(registry);
  authorities_ = std::move(authorities);
  PushChanges(now, everything, before, out);
  RenewServing(now, out);
  if (!under_way_.has_value() || under_way_->fault.ok()) return;
  if (Holds(*event.listing, under_way_->change.batch)) return Finish(now, absl::OkStatus(), out);
  const absl::Status fault = under_way_->fault;
  Finish(now,
         absl::Status(
             absl::IsAborted(fault) ? absl::StatusCode::kAborted : absl::StatusCode::kUnavailable,
             absl::StrCat("nothing was stored, try again: ", std::string(fault.message()))),
         out);
}

void CaCore::SignAndLog(const Authority& issuer, std::vector<CertificateOrder> orders, Done done,
                        Actions* out) {
  const Ticket ticket = next_ticket_++;
  const std::string own_id = trust::CaId(options_.profile.trust_domain).ToString();
  const std::string issuer_pin = issuer.certificate.public_key().pin().bytes();
  for (const CertificateOrder& order : orders) {
    if (order.spiffe_id == own_id) continue;  // it is replaced before it could be missed
    outstanding_.Issued(order.node_id, issuer_pin, order.spec.not_after);
  }
  issuing_.emplace(ticket, std::move(done));
  out->push_back(action::SignAndLog{.ticket = ticket,
                                    .orders = std::move(orders),
                                    .issuer = issuer.certificate,
                                    .key_name = issuer.key_name});
}

void CaCore::On(absl::Time now, event::Issued event, Actions* out) {
  const auto it = issuing_.find(event.ticket);
  if (it == issuing_.end()) return;
  Done done = std::move(it->second);
  issuing_.erase(it);
  done(now, std::move(event.certificates), out);
}

void CaCore::On(absl::Time now, event::Tick event, Actions* out) {
  last_tick_ = std::move(event);
  if (reload_due_) {
    reload_due_ = false;
    out->push_back(action::Reload{});
  }
  RenewServing(now, out);
  Rotate(now, out);
  KeepUp(now, now >= prune_at_, out);
  if (now >= prune_at_) {
    prune_at_ = now + kPruneEvery;
    PruneTokens(now, out);
    hellos_.Tidy(now);
    changes_.Tidy(now);
    outstanding_.ForgetExpired(now);
  }
}

void CaCore::PruneTokens(absl::Time now, Actions* out) {
  const int64_t before = absl::ToUnixSeconds(now - kTokenKept);
  const auto old = [before](const auto& entry) {
    return entry.second.record.expires_at() < before;
  };
  if (draining_ || std::none_of(registry_.tokens().begin(), registry_.tokens().end(), old)) return;
  Enqueue(
      now, std::nullopt,
      [this, old](absl::Time) -> absl::StatusOr<Change> {
        Change change;
        for (const auto& entry : registry_.tokens()) {
          if (!old(entry) || change.batch.size() == kMaxPruned) continue;
          change.batch.push_back(
              {.key = entry.first, .value = std::nullopt, .expected = entry.second.revision});
        }
        return change;
      },
      out);
}

void CaCore::On(absl::Time now, event::Draining, Actions* out) {
  if (draining_) return;
  draining_ = true;
  const absl::Duration spread =
      std::max(absl::Milliseconds(200), kReconnectSpread * sessions_.size());
  for (const auto& [session, unused] : sessions_) {
    auto message = std::make_shared<v1::CaMessage>();
    message->set_ca_time(absl::ToUnixSeconds(now));
    message->mutable_goodbye()->set_reconnect_after_ms(
        static_cast<uint32_t>(absl::ToInt64Milliseconds(spread * base::RandomFraction(random_))));
    out->push_back(action::Push{.session = session, .message = std::move(message)});
    out->push_back(action::CloseSession{
        .session = session, .status = absl::UnavailableError("the CA is shutting down")});
  }
  sessions_.clear();
  session_of_.clear();
}

}  // namespace linchpin::ca
