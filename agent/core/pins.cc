// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What time, files and a CA that is not trusted yet change in the pins that are held.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/core/agent_core.h"
#include "agent/core/alarms.h"
#include "trust/text.h"

namespace linchpin::agent {
namespace {

constexpr int kSeldom = 12;       // a minute between two looks at a CA that does not answer
constexpr size_t kMostNamed = 5;  // files that are wrong, at once

std::string PinsText(const trust::v1::EffectivePins& pins) {
  std::string text = pins.is_signed() ? absl::StrCat("version ", pins.version(), ", signed")
                                      : std::string("unsigned");
  if (pins.relaxed_until() > 0) {
    absl::StrAppend(&text, ", relaxed until ",
                    trust::TimeText(absl::FromUnixSeconds(pins.relaxed_until())));
  }
  if (pins.expired()) absl::StrAppend(&text, ", expired");
  return text;
}

bool Said(const std::vector<trust::PinConcern>& before, const trust::PinConcern& concern) {
  return std::any_of(before.begin(), before.end(), [&](const trust::PinConcern& said) {
    return said.kind == concern.kind && said.step == concern.step;
  });
}

}  // namespace

trust::AcceptOptions AgentCore::Accepting(absl::Time now) const {
  const trust::PinTimes times = time_.times(now);
  return {
      .now = now, .skew = options_.skew, .latest = times.latest, .since_relax = times.since_relax};
}

// What is served follows once it is sealed.
void AgentCore::TakeHeld(absl::Time now, trust::TrustHeld held, Actions* out) {
  const uint64_t before = latest_.trust_epoch();
  const bool was_zero = latest_.trust->set_zero;
  latest_.trust = std::make_shared<const trust::TrustHeld>(std::move(held));
  AlarmWrongTwins(*latest_.trust, out);
  for (const std::string& fault : latest_.trust->faults) {
    out->push_back(action::Alarm{fault, "linchpin_agent_wrong_documents_total"});
  }
  time_.Relaxing(latest_.trust->relaxed.began_at);
  const absl::StatusOr<trust::SpiffeId> own = trust::SpiffeId::Parse(latest_.node_id);
  revoked_ = latest_.node != nullptr && own.ok() &&
             !StillPasses(*latest_.node, *own, latest_.trust->state, now);
  Changed();
  out->push_back(
      action::Note{absl::StrCat("trust epoch ", latest_.trust_epoch(), " follows ", before,
                                ", pins ", PinsText(latest_.trust->state->pins()))});
  if (was_zero) NoteSigners(*latest_.trust, out);
  if (latest_registrations_ == nullptr) return;
  for (const auto& [id, certified] : latest_.certificates) {
    const ca::v1::NodeIdentity* identity = latest_registrations_->Find(id);
    if (identity == nullptr) continue;
    const absl::StatusOr<trust::SpiffeId> spiffe_id = trust::SpiffeId::Parse(identity->spiffe_id());
    if (spiffe_id.ok() && !StillPasses(*certified, *spiffe_id, latest_.trust->state, now)) {
      schedule_.Hasten(id, now);
    }
  }
}

// What time alone changes.
void AgentCore::AgePins(absl::Time now, Actions* out) {
  time_.Relaxing(latest_.trust->relaxed.began_at);
  absl::StatusOr<std::optional<trust::TrustHeld>> changed =
      trust::PinsAt(*latest_.trust, time_.times(now));
  if (!changed.ok()) {
    out->push_back(
        action::Alarm{absl::StrCat("the pins in force stay as they are, although time "
                                   "changes them: ",
                                   changed.status().message())});
  } else if (changed->has_value()) {
    TakeHeld(now, **std::move(changed), out);
  }
}

void AgentCore::UpkeepPins(absl::Time now, Actions* out) {
  if (latest_.trust == nullptr) return;
  AgePins(now, out);
  const std::string at =
      absl::StrCat(latest_.pin_set_version(), "/", latest_.trust->state->pins().relaxed_until(),
                   "/", latest_.trust->state->path_digest());
  const bool any = !carried_.documents.empty() || latest_.trust->message.has_relax();
  if (any && std::exchange(carried_.tried_at, at) != at) {
    (void)TakeDocuments(now, carried_.documents, {}, out);
  }
  std::vector<trust::PinConcern> concerns = trust::ConcernsOf(*latest_.trust, time_.times(now));
  for (const trust::PinConcern& concern : concerns) {
    if (Said(pin_concerns_, concern)) continue;
    out->push_back(
        action::Alarm{concern.text, "linchpin_agent_pin_alarms_total", {{"kind", concern.kind}}});
  }
  pin_concerns_ = std::move(concerns);
}

// True if they brought something new. `chain` is what the CA showed, if it was asked.
bool AgentCore::TakeDocuments(absl::Time now, const trust::Carriers& carriers,
                              const std::vector<std::string>& chain, Actions* out) {
  if (latest_.trust == nullptr) return false;
  const bool unsigned_pins = latest_.trust->pin_set == nullptr && !chain.empty();
  absl::StatusOr<trust::TakenDocuments> taken = trust::TakenDocuments();
  if (unsigned_pins) {
    auto held = trust::ContinueSetZero(*latest_.trust, chain, options_.ca_pins, Accepting(now));
    if (held.ok()) {
      taken->held = *std::move(held);
    } else {
      taken = held.status();
    }
  } else {
    taken = trust::TakeDocuments(*latest_.trust, carriers, chain, Accepting(now));
  }
  const std::string faults =
      taken.ok() ? absl::StrJoin(taken->faults, "; ") : std::string(taken.status().message());
  if (!faults.empty() && faults != carried_.faults) {
    out->push_back(action::Alarm{
        unsigned_pins ? absl::StrCat("contact with the CA after a time away: ", faults)
                      : absl::StrCat("what came for the pins beside the CA's stream is not taken, "
                                     "or not all of it: ",
                                     faults),
        "linchpin_agent_trust_refused_total"});
  }
  carried_.faults = faults;
  if (!taken.ok() || !taken->held.has_value()) return false;
  TakeHeld(now, *std::move(taken->held), out);
  return true;
}

void AgentCore::On(absl::Time, const event::PinFilesRead& event, Actions* out) {
  for (size_t i = 0; i < event.faults.size() && i < kMostNamed; ++i) {
    out->push_back(action::Alarm{absl::StrCat("a pin set file is not used: ", event.faults[i]),
                                 "linchpin_agent_wrong_documents_total"});
  }
  carried_.documents = event.documents;
  carried_.tried_at.clear();
}

// No connection to the CA comes about: it may show what only newer sets let pass.
bool AgentCore::ShutOut(absl::Time now) const {
  if (latest_.node == nullptr) return false;
  if (MustAttest(now)) return attest_.failures > 0;
  return sync_ == Sync::kClosed && stream_tries_.failures > 0;
}

void AgentCore::LookForSets(absl::Time now, Actions* out) {
  if (!ShutOut(now) || !contact_.Ready(now)) return;
  contact_.under_way = true;
  ca::v1::GetTrustRequest request;
  request.set_trust_domain(options_.trust_domain.name());
  request.set_version_held(latest_.pin_set_version());
  out->push_back(action::FirstContact{std::move(request)});
}

void AgentCore::Looked(absl::Time now, const event::FirstContactDone& event, Actions* out) {
  bool news = false;
  if (event.shown.ok()) {
    trust::v1::PinDocuments documents;
    for (const trust::v1::SignedPinSet& set : event.shown->pin_sets) {
      *documents.add_pin_sets() = set;
    }
    if (event.shown->relax) *documents.mutable_relax() = *event.shown->relax;
    if (event.shown->freshness) *documents.mutable_freshness() = *event.shown->freshness;
    // Files first: what nobody has authenticated must not hide them.
    trust::Carriers carriers = carried_.documents;
    carriers.push_back(std::move(documents));
    news = TakeDocuments(now, carriers, event.shown->chain, out);
  }
  if (!news) {
    Retry(now, absl::UnavailableError(""), &contact_);
    // Seldom: an outage is likelier than a CA that has changed.
    contact_.at += (contact_.at - now) * std::min(contact_.failures, kSeldom);
    return;
  }
  contact_ = Attempts();
  bootstrap_context_ = nullptr;  // made of the trust before
  if (!attest_.under_way) attest_.at = std::min(attest_.at, now);
}

}  // namespace linchpin::agent
