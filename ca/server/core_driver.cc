// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/server/core_driver.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "ca/core/offline_root.h"
#include "ca/core/rotation.h"
#include "ca/log/issued_since.h"
#include "ca/server/authority_setup.h"
#include "trust/mtls_context.h"
#include "trust/pin_set.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr absl::Duration kTick = absl::Seconds(1);
constexpr uint64_t kTicksBetweenKeyLooks = 30;

bool IsPlain(absl::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isgraph(c) && c != '"' && c != '=' && c != '\\';
  });
}

base::Labels AsLabels(const std::vector<std::pair<std::string, std::string>>& labels) {
  return {labels.begin(), labels.end()};
}

}  // namespace

CoreDriver::CoreDriver(std::unique_ptr<CaCore> core, DriverParts parts)
    : parts_(parts),
      core_(std::move(core)),
      loop_(parts.clock),
      store_loop_(parts.clock),
      slow_loop_(parts.clock),
      signers_({parts.keys, parts.log, parts.clock},
               [this](std::vector<event::Issued> made) { Complete(std::move(made)); }) {}

CoreDriver::~CoreDriver() {
  // In the order in which work flows, so that what was begun is finished.
  store_loop_.Stop();
  slow_loop_.Stop();
  signers_.Stop();
  for (size_t i = 1; i < threads_.size(); ++i) threads_[i].join();
  loop_.Stop();
  if (!threads_.empty()) threads_[0].join();
  for (auto& [call, answer] : calls_) answer(absl::UnavailableError("the CA stopped"), nullptr);
}

void CoreDriver::Start(Outstanding outstanding) {
  threads_.emplace_back([this] { loop_.Run(); });
  threads_.emplace_back([this] { store_loop_.Run(); });
  threads_.emplace_back([this] { slow_loop_.Run(); });
  signers_.Start();
  Complete(event::Started{std::move(outstanding)});
  (void)loop_.Post([this] { Tick(); });
}

void CoreDriver::Complete(Event event) {
  loop_.PostEnd([this, event = std::move(event)]() mutable { Step(std::move(event)); });
}

void CoreDriver::Complete(std::vector<event::Issued> made) {
  loop_.RunOrPostEnd([this, made = std::move(made)]() mutable {
    for (event::Issued& one : made) Step(std::move(one));
  });
}

void CoreDriver::Tell(Event event, base::Work next) {
  // One a session at most, so this needs no limit of its own.
  (void)loop_.RunOrPost([this, event = std::move(event), next = std::move(next)]() mutable {
    Step(std::move(event));
    next();
  });
}

void CoreDriver::Ask(absl::AnyInvocable<Event(CallId)> make, Answer answer) {
  if (waiting_.fetch_add(1) >= kMaxWaiting) {
    waiting_.fetch_sub(1);
    return answer(absl::ResourceExhaustedError("the CA is overloaded; try again later"), nullptr);
  }
  const CallId call = next_id_.fetch_add(1);
  // Shared, so that it is still here to be told if the loop takes nothing any more.
  auto waiting = std::make_shared<Answer>(std::move(answer));
  const absl::Status posted =
      loop_.RunOrPost([this, call, make = std::move(make), waiting]() mutable {
        waiting_.fetch_sub(1);
        calls_.emplace(call, std::move(*waiting));
        Step(make(call));
      });
  if (posted.ok()) return;
  waiting_.fetch_sub(1);
  (*waiting)(absl::UnavailableError("the CA is shutting down; try again"), nullptr);
}

void CoreDriver::OpenSession(std::shared_ptr<SessionSink> sink, event::NodeHello hello,
                             base::Work next) {
  const absl::Status posted =
      loop_.Post([this, sink, hello = std::move(hello), next = std::move(next)]() mutable {
        sessions_.emplace(hello.session, std::move(sink));
        Step(std::move(hello));
        next();
      });
  if (!posted.ok())
    sink->Close(absl::UnavailableError("the CA cannot take a node now; try again"), false);
}

void CoreDriver::SessionGone(SessionId session) {
  loop_.PostEnd([this, session] {
    sessions_.erase(session);
    Step(event::NodeGone{session});
  });
}

void CoreDriver::Step(Event event) {
  const absl::Time now = parts_.clock.Now();
  for (Action& action : core_->Step(now, std::move(event))) {
    std::visit([this](auto&& wanted) { Do(std::move(wanted)); }, std::move(action));
  }
  base::MutexLock lock(state_mutex_);
  not_ready_ = core_->NotReady(now);
  idle_ = core_->idle();
  state_changed_.notify_all();
}

void CoreDriver::Do(action::Commit action) {
  const absl::Status posted = store_loop_.Post([this, action = std::move(action)] {
    Complete(event::Committed{action.ticket, parts_.store.Commit(action.batch)});
  });
  if (!posted.ok()) Complete(event::Committed{action.ticket, posted});
}

void CoreDriver::Do(action::Reload) {
  const absl::Status posted =
      store_loop_.Post([this] { Complete(event::Reloaded{parts_.store.List("")}); });
  if (!posted.ok()) Complete(event::Reloaded{posted});
}

void CoreDriver::Do(action::SignAndLog action) { signers_.Add(std::move(action)); }

void CoreDriver::Do(action::Reply action) {
  const auto it = calls_.find(action.call);
  if (it == calls_.end()) return;
  Answer answer = std::move(it->second);
  calls_.erase(it);
  answer(action.status, action.message.get());
}

void CoreDriver::Do(action::Push action) {
  const auto it = sessions_.find(action.session);
  if (it != sessions_.end()) it->second->Send(std::move(action.message));
}

void CoreDriver::Do(action::CloseSession action) {
  const auto it = sessions_.find(action.session);
  if (it == sessions_.end()) return;
  it->second->Close(action.status, action.at_once);
  sessions_.erase(it);
}

void CoreDriver::Do(action::MakeServingKey) {
  auto key = x509::PrivateKey::Generate(x509::KeyType::kP256);
  if (!key.ok()) {
    base::LogError("no serving key", {{"error", std::string(key.status().message())}});
    return;
  }
  Complete(event::ServingKeyMade{serving_keys_.Made(*std::move(key))});
}

void CoreDriver::Do(action::UseServingCertificate action) {
  if (!serving_keys_.Use(action.chain.front())) {
    base::LogError("the key of a new serving certificate is gone; the last one stays", {});
    return;
  }
  serving_chain_ = std::move(action.chain);
  base::LogInfo(
      "uses a new serving certificate",
      {{"serial", x509::SerialText(serving_chain_.front().fields().serial)},
       {"expires", absl::FormatTime(absl::RFC3339_sec, serving_chain_.front().fields().not_after,
                                    absl::UTCTimeZone())}});
  SwapContext();
}

void CoreDriver::Do(action::UseTrust action) {
  trust_ = std::move(action.trust);
  SwapContext();
}

void CoreDriver::SwapContext() {
  if (serving_chain_.empty() || trust_ == nullptr) return;
  auto context = trust::MtlsContext::Make({.chain = serving_chain_,
                                           .key = serving_keys_.in_use(),
                                           .trust = {{trust_->trust_domain(), trust_}},
                                           .policy = {}});
  if (!context.ok()) {
    base::LogError("the serving context is unusable; the last stays",
                   {{"error", std::string(context.status().message())}});
    return;
  }
  identity_->Set(*std::move(context));
}

void CoreDriver::Do(action::Prove action) {
  const trust::TrustDomain trust_domain = trust_->trust_domain();
  const absl::Status posted = store_loop_.Post([this, action, trust_domain] {
    auto key = parts_.keys.Open(action.key_name);
    if (!key.ok()) return Complete(event::PossessionProved{action.call, key.status()});
    Complete(event::PossessionProved{
        action.call, trust::ProvePossession(trust_domain, *key, parts_.clock.Now())});
  });
  if (!posted.ok()) Complete(event::PossessionProved{action.call, posted});
}

void CoreDriver::Do(action::MakeAuthorities action) {
  event::AuthoritiesMade refused{action.call, action.who, action.request, absl::UnknownError("")};
  const absl::Status posted = slow_loop_.Post([this, action = std::move(action)] {
    Complete(event::AuthoritiesMade{
        action.call, action.who, action.request,
        MakePlannedAuthorities(parts_.keys, action.plan, parts_.clock.Now())});
    (void)loop_.Post([this] { LookForKeys(); });
  });
  if (posted.ok()) return;
  refused.made = posted;
  Complete(std::move(refused));
}

void CoreDriver::Do(action::DeleteKey action) {
  (void)slow_loop_.Post([this, action = std::move(action)] {
    const absl::Status deleted = parts_.keys.Delete(action.key_name);
    if (deleted.ok()) return base::LogInfo("deleted a retired key", {{"key", action.key_name}});
    base::LogWarning("a retired key cannot be deleted",
                     {{"key", action.key_name}, {"error", std::string(deleted.message())}});
  });
}

void CoreDriver::Do(action::FindIssued action) {
  const absl::Status posted = slow_loop_.Post([this, action] {
    IssuedMatches found;
    const absl::Time now = parts_.clock.Now();
    const absl::Status read = ForEachIssuedSince(
        parts_.log, action.since,
        [&](const v1::LogEntry& entry) { found.Look(action.asked, entry, now); });
    if (!read.ok())
      return Complete(event::IssuedFound{action.call, action.who, action.asked, read});
    Complete(event::IssuedFound{action.call, action.who, action.asked, std::move(found)});
  });
  if (!posted.ok()) Complete(event::IssuedFound{action.call, action.who, action.asked, posted});
}

// Nodes can cause lines, and what they write in them is their text.
void CoreDriver::Say(const action::Note& note) {
  base::LogLimit& limit = note.warning ? warnings_said_ : notes_said_;
  const std::optional<uint64_t> unsaid = limit.Take(parts_.clock.Uptime());
  if (!unsaid.has_value()) return;
  std::string text = note.message;
  for (const auto& [name, value] : note.fields) {
    absl::StrAppend(&text, " ", name, "=", IsPlain(value) ? value : trust::Quoted(value));
  }
  if (*unsaid > 0) absl::StrAppend(&text, " unsaid=", *unsaid);
  base::Log(note.warning ? base::LogLevel::kWarning : base::LogLevel::kInfo, text);
}

void CoreDriver::Do(action::Note action) {
  if (!action.message.empty()) Say(action);
  if (!action.counter.empty()) {
    parts_.metrics.Add(action.counter, AsLabels(action.labels), action.count);
  }
}

void CoreDriver::Tick() {
  LogPosition log = parts_.log.end();
  Step(event::Tick{.log_entries = log.next_index, .log_head = std::move(log.hash)});
  if (ticks_++ % kTicksBetweenKeyLooks == 0) LookForKeys();
  Measure(parts_.clock.Now());
  loop_.PostAfter(kTick, [this] { Tick(); });
}

// An operator may move a key away, or bring it back, at any time.
void CoreDriver::LookForKeys() {
  std::vector<std::string> names;
  for (const Authority& authority : core_->authorities().all()) names.push_back(authority.key_name);
  for (std::string& name : AbandonedKeys(core_->registry(), core_->authorities())) {
    names.push_back(std::move(name));
  }
  (void)store_loop_.Post([this, names = std::move(names)] {
    event::KeysSeen seen;
    for (const std::string& name : names) {
      if (parts_.keys.Open(name).ok()) seen.key_names.insert(name);
    }
    Complete(std::move(seen));
  });
}

void CoreDriver::Measure(absl::Time now) {
  base::Metrics& metrics = parts_.metrics;
  metrics.Set("linchpin_ca_connected_nodes", static_cast<double>(core_->connected_nodes()));
  metrics.Set("linchpin_ca_trust_epoch",
              static_cast<double>(core_->registry().trust().record.epoch()));
  metrics.Set("linchpin_ca_revision", static_cast<double>(core_->registry().revision()));
  metrics.Set("linchpin_ca_log_entries", static_cast<double>(parts_.log.size()));
  const auto* rotation = CurrentRotation(core_->registry());
  metrics.Set("linchpin_ca_rotation_step", rotation == nullptr ? 0 : rotation->record.step());
  metrics.Set("linchpin_ca_backups", static_cast<double>(core_->usable_backups(now)));
  metrics.Set("linchpin_ca_warnings", static_cast<double>(core_->Warnings(now).size()));
  for (const Authority& authority : core_->authorities().all()) {
    metrics.Set("linchpin_ca_authority_seconds_to_expiry",
                absl::ToDoubleSeconds(authority.certificate.fields().not_after - now),
                {{"kind", authority.is_root ? "root" : "issuer"},
                 {"state", authority.state},
                 {"key", authority.key_name}});
  }
}

void CoreDriver::Drain(absl::Duration most) {
  (void)loop_.Post([this] { Step(event::Draining{}); });
  base::MutexLock lock(state_mutex_);
  state_changed_.wait_for(lock, absl::ToChronoNanoseconds(most),
                          [this] { return idle_ && not_ready_ == "shutting down"; });
}

absl::Status CoreDriver::WaitReady(absl::Duration most) const {
  base::MutexLock lock(state_mutex_);
  if (state_changed_.wait_for(lock, absl::ToChronoNanoseconds(most),
                              [this] { return not_ready_.empty(); })) {
    return absl::OkStatus();
  }
  return absl::DeadlineExceededError(absl::StrCat("the CA cannot serve: ", not_ready_));
}

std::string CoreDriver::NotReady() const {
  const absl::Status log = parts_.log.health();
  if (!log.ok()) return absl::StrCat("nothing can be issued: ", std::string(log.message()));
  base::MutexLock lock(state_mutex_);
  return not_ready_;
}

}  // namespace linchpin::ca
