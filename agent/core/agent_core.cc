// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/core/agent_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/core/alarms.h"
#include "base/status_macros.h"
#include "trust/text.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {
namespace {

constexpr absl::Duration kSettling = absl::Seconds(30);     // services come back within seconds
constexpr absl::Duration kClockSetBack = absl::Seconds(1);  // at least; less is adjusting

}  // namespace

AgentCore::AgentCore(CoreOptions options, base::Random& random)
    : options_(std::move(options)), random_(random) {}

Actions AgentCore::Step(const Instant& at, const Event& event) {
  Actions out;
  const absl::Time now = at.now;
  if (now < last_step_ - kClockSetBack) TryAllNow(now);
  last_step_ = now;
  time_.Pass(at);
  std::visit([&](const auto& e) { On(now, e, &out); }, event);
  UpkeepPins(now, &out);
  SealChanges(now, &out);
  UseIdentity(now, &out);
  Bootstrap(now, &out);
  LookForSets(now, &out);
  RenewNode(now, &out);
  OpenSync(now, &out);
  IssueDue(now, &out);
  DeliverChanged(now, &out);
  Acknowledge(now, &out);
  PassRefusals(now, &out);
  SetTimer(now, &out);
  return out;
}

void AgentCore::On(absl::Time now, const event::Started& event, Actions* out) {
  timer_ = absl::InfiniteFuture();
  if (!event.state.has_value()) return;
  absl::StatusOr<Model> model =
      DecodeState(*event.state, options_.trust_domain, now, options_.skew);
  if (!model.ok()) {
    out->push_back(action::Alarm{std::string(model.status().message())});
    return;
  }
  latest_ = *std::move(model);
  if (latest_.trust != nullptr) {
    AlarmWrongTwins(*latest_.trust, out);
    time_.Restore(latest_.known_time, latest_.trust->relaxed.began_at);
    AgePins(now, out);  // no document: what one begins is sealed before it is in force
  }
  sealed_ = std::make_shared<const Model>(latest_);
  latest_registrations_ = std::make_shared<const Registrations>(latest_.projection);
  Serve(sealed_);
  UpdateWanted();
  // Services go on with what they have, and come back: until then no gate is to overlook them. No
  // process has outlived its machine.
  if (time_.rebooted()) return;
  std::map<std::string, ConsumerTable::Before> served_before;
  for (const auto& [id, certified] : latest_.certificates) {
    const ca::v1::NodeIdentity* identity = latest_registrations_->Find(id);
    if (identity != nullptr && certified->expires_at > time_.times(now).agreed) {
      served_before[id] = {identity->spiffe_id(), certified->expires_at};
    }
  }
  ServedProcesses alive;
  const state::v1::ServedProcesses& sealed = event.state->served();
  ServedProcesses known = DecodeServed(sealed);
  const bool same_boot = !sealed.boot_id().empty() && sealed.boot_id() == options_.boot_id;
  for (const ProcessId& process : event.alive) {
    const auto it = known.find(process);
    if (it == known.end() || !same_boot) continue;
    // Certificates are sealed before they are given out: it may have newer ones than was known.
    for (const auto& [id, spiffe_id] : it->second.identities) {
      const auto certified = latest_.certificates.find(id);
      if (certified == latest_.certificates.end()) continue;
      it->second.expires_at = std::max(it->second.expires_at, certified->second->expires_at);
    }
    alive.insert(std::move(*it));
  }
  consumers_.Restarted(std::move(served_before), now + kSettling, std::move(alive));
}

void AgentCore::On(absl::Time, const event::TimerFired&, Actions*) {
  timer_ = absl::InfiniteFuture();
}

void AgentCore::Serve(std::shared_ptr<const Model> model) {
  if (registrations_ == nullptr || registrations_->projection() != model->projection) {
    const bool latest = latest_registrations_ != nullptr &&
                        latest_registrations_->projection() == model->projection;
    registrations_ =
        latest ? latest_registrations_ : std::make_shared<const Registrations>(model->projection);
  }
  // Of another life of the CA's store, or another state by the same number.
  if (served_->trust != nullptr && model->trust != nullptr) {
    const trust::TrustHeld& before = *served_->trust;
    const trust::TrustHeld& after = *model->trust;
    const bool higher = after.message.epoch() > before.message.epoch();
    if (after.incarnation != before.incarnation || (after.offered != before.offered && !higher)) {
      consumers_.CountAnew();
    }
  }
  served_ = std::move(model);
  expiry_alarm_at_ = absl::InfinitePast();
  std::erase_if(offers_,
                [&](const auto& entry) { return !served_->certificates.contains(entry.first); });
  for (const auto& [id, consumer] : consumers_.all()) {
    if (consumer.open) undelivered_.insert(id);
  }
}

void AgentCore::SealChanges(absl::Time now, Actions* out) {
  if (seal_.under_way || kept_ == changes_) return;
  if (tried_ == changes_ && now < seal_.at) return;
  seal_.under_way = true;
  tried_ = changes_;
  latest_.known_time = time_.Seal();
  latest_.served = std::make_shared<const state::v1::ServedProcesses>(
      EncodeServed(consumers_.Served(), options_.boot_id));
  sealing_ = std::make_shared<const Model>(latest_);
  seal_ticket_ = ++last_ticket_;
  out->push_back(action::Seal{
      seal_ticket_, x509::ShareWiped(EncodeState(latest_, options_.trust_domain), WipeKeys)});
}

void AgentCore::On(absl::Time now, const event::Sealed& event, Actions* out) {
  if (event.ticket != seal_ticket_ || !seal_.under_way) return;
  std::shared_ptr<const Model> model = std::move(sealing_);
  if (event.status.ok()) {
    if (seal_.failures > 0) out->push_back(action::Note{"the state is sealed again"});
    seal_ = Attempts();
    kept_ = tried_;
    sealed_ = model;
    if (sealed_->trust != nullptr && sealed_->trust == trust_in_use_) held_trust_ = trust_in_use_;
  } else {
    Retry(now, event.status, &seal_);
    out->push_back(action::Alarm{
        absl::StrCat("the state cannot be sealed, a restart would begin from an older one: ",
                     event.status.message()),
        "linchpin_agent_seals_failed_total"});
  }
  // What could not be sealed is served from memory: it is better than what it replaces. Not so a
  // relax: it would begin anew at each restart, and is honoured once.
  if (!event.status.ok()) model = WithoutNewRelax(now, std::move(model));
  Serve(std::move(model));
}

std::shared_ptr<const Model> AgentCore::WithoutNewRelax(absl::Time now,
                                                        std::shared_ptr<const Model> model) const {
  if (model->trust == nullptr) return model;
  trust::Relaxed kept;
  const bool same_set = sealed_ != nullptr && sealed_->trust != nullptr &&
                        sealed_->pin_set_version() == model->pin_set_version();
  if (same_set) kept = sealed_->trust->relaxed;
  if (model->trust->relaxed.used == kept.used) return model;
  trust::TrustHeld enforced = *model->trust;
  enforced.relaxed = kept;
  trust::PinTimes times = time_.times(now);
  if (same_set) {  // what is kept ends by the time that passed since it began itself
    KnownTime since_kept = time_;
    since_kept.Restore(sealed_->known_time, kept.began_at);
    times.since_relax = since_kept.times(now).since_relax;
  }
  absl::StatusOr<std::optional<trust::TrustHeld>> at = trust::PinsAt(enforced, times);
  if (at.ok() && at->has_value()) enforced = **std::move(at);
  auto without = std::make_shared<Model>(*model);
  without->trust = std::make_shared<const trust::TrustHeld>(std::move(enforced));
  return without;
}

void AgentCore::UseIdentity(absl::Time, Actions* out) {
  if (served_->node == nullptr || served_->trust == nullptr) return;
  if (served_->node == asked_node_ && served_->trust == asked_trust_) return;
  const auto make = [this]() -> absl::StatusOr<ContextPtr> {
    trust::MtlsContextParts parts;
    ASSIGN_OR_RETURN(parts.chain, x509::ParseDerChain(served_->node->Ders()));
    parts.key = served_->node_key;
    parts.trust.emplace(options_.trust_domain, served_->trust->state);
    return trust::MtlsContext::Make(std::move(parts));
  };
  absl::StatusOr<ContextPtr> context = make();
  asked_node_ = served_->node;
  asked_trust_ = served_->trust;
  if (!context.ok()) {
    out->push_back(action::Alarm{
        absl::StrCat("the node's own certificate cannot be used: ", context.status().message())});
    return;
  }
  asked_context_ = *std::move(context);
  out->push_back(action::UseNodeIdentity{++generation_, asked_context_});
}

void AgentCore::On(absl::Time now, const event::IdentityInUse& event, Actions* out) {
  if (event.generation != generation_) return;  // a newer one is asked for
  // Whom the trust before refused may pass, and who refused the certificate before may take this.
  const bool other = trust_in_use_ != asked_trust_ || node_in_use_ != asked_node_;
  if (other && sync_ == Sync::kClosed && stream_tries_.failures > 0) {
    stream_tries_.at = std::min(stream_tries_.at, now);
  }
  node_in_use_ = asked_node_;
  trust_in_use_ = asked_trust_;
  context_in_use_ = asked_context_;
  if (sealed_ != nullptr && sealed_->trust == trust_in_use_) held_trust_ = trust_in_use_;
  if (sync_ != Sync::kOpen || closing_) return;
  bool stale = stream_node_ != node_in_use_;
  if (!stale && !ca_chain_.empty()) {
    const trust::Verdict verdict =
        trust::Judge(ca_chain_, *context_in_use_, trust::Direction::kOutbound, trust::Expect::Ca(),
                     now, nullptr);
    stale = !verdict.allowed;
    if (stale) {
      out->push_back(action::Alarm{absl::StrCat(
          "the CA does not pass the trust that is now in force: ", verdict.ToString())});
    }
  }
  if (stale) {
    closing_ = true;
    out->push_back(action::CloseSync{stream_});
  }
}

void AgentCore::Retry(absl::Time now, const absl::Status& why, Attempts* attempts) {
  const bool refused = absl::IsPermissionDenied(why) || absl::IsUnauthenticated(why) ||
                       absl::IsFailedPrecondition(why);
  attempts->under_way = false;
  attempts->at = now + RetryDelay(attempts->failures, refused, absl::ZeroDuration(),
                                  base::RandomFraction(random_));
  ++attempts->failures;
}

// The clock was set back: an instant that was near may be hours away now.
void AgentCore::TryAllNow(absl::Time now) {
  for (Attempts* attempts :
       {&seal_, &node_key_, &contact_, &attest_, &renew_node_, &stream_tries_}) {
    attempts->at = std::min(attempts->at, now);
  }
  carried_.tried_at.clear();
  schedule_.RetryAll(now);
  consumers_.ClockSetBack(now, now + kSettling);
  refusals_at_ = std::min(refusals_at_, now);
  rows_at_ = std::min(rows_at_, now);
  // What had expired by the clock that was ahead is good again.
  for (const auto& [id, consumer] : consumers_.all()) {
    if (consumer.open) undelivered_.insert(id);
  }
}

bool AgentCore::HasValidNode(absl::Time now) const {
  return served_->node != nullptr && served_->node->expires_at > now;
}

std::string AgentCore::ClockText(absl::Time now) const {
  if (latest_.last_ca_time == 0) return "";
  return absl::StrCat(" (it is ", trust::TimeText(now), " here and ",
                      trust::TimeText(now - clock_ahead_), " at the CA)");
}

void AgentCore::CompareClocks(absl::Time now, int64_t ca_time, Actions* out) {
  if (ca_time == 0) return;
  latest_.last_ca_time = ca_time;
  time_.Heard(absl::FromUnixSeconds(ca_time));
  clock_ahead_ = now - absl::FromUnixSeconds(ca_time);
  const bool off = absl::AbsDuration(clock_ahead_) > options_.skew + absl::Seconds(5);
  if (off && !clock_alarmed_) {
    out->push_back(action::Alarm{
        absl::StrCat("the clocks differ: it is ", trust::TimeText(now), " here and ",
                     trust::TimeText(absl::FromUnixSeconds(ca_time)),
                     " at the CA; certificates may be refused until one of them is set right"),
        "linchpin_agent_clock_alarms_total"});
  }
  clock_alarmed_ = off;
}

std::string AgentCore::NotReady(absl::Time now) const {
  if (served_->node == nullptr) return "the node is not attested yet";
  if (!HasValidNode(now)) {
    return absl::StrCat("the node's certificate expired at ",
                        trust::TimeText(served_->node->expires_at));
  }
  return "";
}

void AgentCore::SetTimer(absl::Time now, Actions* out) {
  absl::Time next = std::min(consumers_.NextSettling(), consumers_.NextLook());
  const auto consider = [&next](absl::Time at) { next = std::min(next, at); };
  consider(now + (consumers_.NextExpiry() - time_.times(now).agreed));
  if (!seal_.under_way && kept_ != changes_) consider(seal_.at);
  if (MustAttest(now)) {
    for (const Attempts* attempts : {&node_key_, &contact_, &attest_}) {
      if (!attempts->under_way && attempts->at > now) consider(attempts->at);
    }
  }
  if (HasValidNode(now)) {
    consider(served_->node->expires_at);
    if (context_in_use_ != nullptr) {
      if (options_.renewals && !renew_node_.under_way && latest_.node == served_->node) {
        consider(std::max(renew_node_.at, RenewAt(*served_->node, latest_.trust_message())));
      }
      if (sync_ == Sync::kClosed) consider(stream_tries_.at);
      if (issue_ticket_ == 0) {
        consider(schedule_.Next(latest_.certificates, options_.renewals, latest_.trust_message()));
      }
    }
  }
  if (sync_ == Sync::kOpen && !closing_) {
    if (!refusals_.empty()) consider(refusals_at_);
    if (consumers_.touched()) consider(rows_at_);
  }
  consider(expiry_alarm_at_);
  if (latest_.trust != nullptr) {
    consider(now + trust::UntilPinsChange(*latest_.trust, time_.times(now)));
    consider(trust::NextConcernOf(*latest_.trust, now));
    if (ShutOut(now) && !contact_.under_way) consider(contact_.at);
  }
  if (next == absl::InfiniteFuture()) return;
  next = std::max(next, now + absl::Milliseconds(1));
  // A timer that fires early does no harm.
  if (timer_ > now && timer_ <= next) return;
  timer_ = next;
  out->push_back(action::SetTimer{timer_});
}

}  // namespace linchpin::agent
