// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The stream from the CA: what it says is taken, what is held and enforced is acknowledged.

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/core/agent_core.h"
#include "agent/core/alarms.h"
#include "base/retry_after.h"
#include "trust/text.h"

namespace linchpin::agent {
namespace {

constexpr int kMaxRowsInMessage = 256;
constexpr absl::Duration kMostComeBack = absl::Minutes(10);
constexpr absl::Duration kBetweenReports = absl::Seconds(1);
constexpr absl::Duration kBetweenRows = absl::Milliseconds(100);

template <typename Message>
void AddCanaries(const std::shared_ptr<const trust::TrustHeld>& held, Message* message) {
  if (held == nullptr) return;
  for (const trust::v1::CanaryVerdict& verdict : held->canaries) *message->add_canaries() = verdict;
}

}  // namespace

void AgentCore::OpenSync(absl::Time now, Actions* out) {
  if (sync_ != Sync::kClosed || context_in_use_ == nullptr || !HasValidNode(now)) return;
  if (now < stream_tries_.at) return;
  sync_ = Sync::kOpening;
  closing_ = false;
  stream_ = ++last_ticket_;
  stream_node_ = node_in_use_;
  ca_chain_.clear();
  sync::Stamp at;
  if (!want_snapshot_) at = {.incarnation = latest_.incarnation, .revision = latest_.revision};
  receiver_.emplace(*latest_.projection, std::move(at));
  out->push_back(action::OpenSync{stream_, MakeHello()});
}

ca::v1::Hello AgentCore::MakeHello() {
  ca::v1::Hello hello;
  if (!want_snapshot_) {
    hello.set_incarnation(latest_.incarnation);
    hello.set_revision(latest_.revision);
    hello.set_projection_digest(latest_.projection->Digest());
  }
  hello.set_trust_epoch(held_epoch());
  hello.set_trust_digest(held_trust_ == nullptr ? "" : held_trust_->offered);
  hello.set_pin_set_version(held_trust_ == nullptr ? 0 : held_trust_->cursor.version);
  hello.set_agent_version(options_.version);
  AddCanaries(held_trust_, &hello);
  rows_acknowledged_.clear();
  consumers_.TouchAll();
  for (const ProcessId& process : consumers_.TakeTouched()) {
    for (auto& [name, row] : consumers_.RowsOf(process)) {
      if (hello.consumers_size() >= kMaxRowsInMessage) {
        // Those that have no room follow, and what the node holds with the last of them.
        hello.set_trust_epoch(0);
        break;
      }
      rows_acknowledged_[name] = row.SerializeAsString();
      *hello.add_consumers() = std::move(row);
    }
  }
  consumers_.TouchAll();
  acknowledged_.Clear();
  acknowledged_.set_revision(hello.revision());
  acknowledged_.set_trust_epoch(hello.trust_epoch());
  acknowledged_.set_trust_digest(hello.trust_digest());
  acknowledged_.set_pin_set_version(hello.pin_set_version());
  *acknowledged_.mutable_canaries() = hello.canaries();
  return hello;
}

void AgentCore::On(absl::Time now, const event::SyncOpened& event, Actions*) {
  if (event.stream != stream_ || sync_ != Sync::kOpening) return;
  sync_ = Sync::kOpen;
  ca_chain_ = event.ca_chain;
  schedule_.RetryAll(now);
}

void AgentCore::On(absl::Time now, const event::SyncClosed& event, Actions* out) {
  if (event.stream != stream_ || sync_ == Sync::kClosed) return;
  const bool wanted = closing_;
  sync_ = Sync::kClosed;
  receiver_.reset();
  if (come_back_after_ > absl::ZeroDuration()) {
    stream_tries_ = Attempts{.at = now + come_back_after_};
    come_back_after_ = absl::ZeroDuration();
    return;
  }
  if (wanted && !want_snapshot_) {
    stream_tries_ = Attempts();
    return;
  }
  if (stream_tries_.failures == 0) {
    out->push_back(
        action::Alarm{absl::StrCat("the stream from the CA ended: ", event.status.message()),
                      "linchpin_agent_disconnects_total"});
  }
  if (stream_node_ == latest_.node) HearRefusal(event.status);
  // However the CA refused, it may have been mended a moment later.
  Retry(now, absl::UnavailableError(""), &stream_tries_);
  if (const std::optional<absl::Duration> wait = base::RetryAfter(event.status)) {
    stream_tries_.at = std::max(stream_tries_.at, now + std::min(*wait, kMostComeBack));
  }
}

void AgentCore::On(absl::Time now, const event::SyncReceived& event, Actions* out) {
  if (event.stream != stream_ || sync_ != Sync::kOpen || closing_) return;
  stream_tries_ = Attempts();
  ca_refuses_ = false;
  if (!attest_.under_way) attest_ = Attempts();
  if (!contact_.under_way) contact_ = Attempts();
  CompareClocks(now, event.message.ca_time(), out);
  if (event.message.has_goodbye()) {
    come_back_after_ = std::clamp(absl::Milliseconds(event.message.goodbye().reconnect_after_ms()),
                                  absl::Milliseconds(100), kMostComeBack);
    closing_ = true;
    out->push_back(action::CloseSync{stream_});
    return;
  }
  const absl::StatusOr<bool> complete = receiver_->Add(event.message);
  if (!complete.ok()) {
    out->push_back(action::Alarm{absl::StrCat("what the CA sent is not taken, a snapshot is asked "
                                              "for: ",
                                              complete.status().message()),
                                 "linchpin_agent_bad_messages_total"});
    want_snapshot_ = true;
    closing_ = true;
    out->push_back(action::CloseSync{stream_});
    return;
  }
  if (!*complete) return;
  want_snapshot_ = false;
  sync::Receiver::Change change = receiver_->Take();
  if (change.has_trust) {
    TakeTrust(now, change.trust, change.stamp.incarnation, out);
  } else if (change.stamp.incarnation == latest_.trust->incarnation &&
             change.stamp.incarnation != refused_of_) {
    refused_ = latest_.trust->refused;  // another life's was refused, and this one sends none
  }
  // Why is said to it; what it knows of this node is of then, too. The life that it begins, if it
  // is told to go on, comes whole.
  if (trust::WasLeft(*latest_.trust, change.stamp.incarnation)) return;
  if (latest_.incarnation != change.stamp.incarnation ||
      latest_.revision != change.stamp.revision) {
    latest_.incarnation = change.stamp.incarnation;
    latest_.revision = change.stamp.revision;
    Changed();
  }
  TakeProjection(now, std::move(change.projection));
}

void AgentCore::TakeTrust(absl::Time now, const trust::v1::TrustState& trust,
                          const std::string& incarnation, Actions* out) {
  trust::AcceptOptions options = Accepting(now);
  options.incarnation = incarnation;
  absl::StatusOr<trust::TrustHeld> accepted = trust::AcceptTrust(*latest_.trust, trust, options);
  refused_of_ = incarnation;
  if (!accepted.ok()) {
    refused_ = std::string(accepted.status().message());
    out->push_back(action::Alarm{absl::StrCat("trust epoch ", trust.epoch(), " is refused, epoch ",
                                              latest_.trust_epoch(), " stays in force: ", refused_),
                                 "linchpin_agent_trust_refused_total"});
    return;
  }
  if (!accepted->refused.empty() && accepted->refused != refused_) {
    out->push_back(action::Alarm{
        absl::StrCat("not all of trust epoch ", trust.epoch(), " is taken: ", accepted->refused),
        "linchpin_agent_trust_refused_total"});
  }
  refused_ = accepted->refused;
  const trust::TrustHeld& before = *latest_.trust;
  if (accepted->offered == before.offered && accepted->incarnation == before.incarnation &&
      accepted->message.SerializeAsString() == before.message.SerializeAsString()) {
    return;
  }
  TakeHeld(now, *std::move(accepted), out);
}

void AgentCore::TakeProjection(absl::Time now, sync::Projection projection) {
  if (projection.Digest() == latest_.projection->Digest()) return;
  const std::shared_ptr<const sync::Projection> before = latest_.projection;
  latest_.projection = std::make_shared<const sync::Projection>(std::move(projection));
  latest_registrations_ = std::make_shared<const Registrations>(latest_.projection);
  Changed();
  std::erase_if(latest_.certificates, [&](const auto& entry) {
    const ca::v1::NodeIdentity* is = latest_registrations_->Find(entry.first);
    const auto was = before->identities.find(entry.first);
    return is == nullptr ||
           (was != before->identities.end() && was->second.spiffe_id() != is->spiffe_id());
  });
  UpdateWanted();
  for (const auto& [id, is] : latest_.projection->identities) {
    const auto was = before->identities.find(id);
    if (was == before->identities.end()) continue;
    if (!Registrations::SameCertificate(was->second, is)) schedule_.Hasten(id, now);
  }
}

void AgentCore::Acknowledge(absl::Time now, Actions* out) {
  if (sync_ == Sync::kClosed) (void)consumers_.TakeTouched();  // the next Hello names them all
  if (sync_ != Sync::kOpen || closing_ || sealed_ == nullptr) return;
  ca::v1::Ack base;
  base.set_revision(sealed_->revision);
  base.set_trust_epoch(held_epoch());
  base.set_trust_digest(held_trust_ == nullptr ? "" : held_trust_->offered);
  base.set_pin_set_version(held_trust_ == nullptr ? 0 : held_trust_->cursor.version);
  base.set_refused(refused_);
  if (held_trust_ != nullptr) {
    base.set_relaxed_until(held_trust_->state->pins().relaxed_until());
  }
  for (const trust::PinConcern& concern : pin_concerns_) base.add_concerns(concern.text);
  AddCanaries(held_trust_, &base);
  const bool news = base.SerializeAsString() != acknowledged_.SerializeAsString();
  // Services that come and go in haste are told of together.
  if (!news && (now < rows_at_ || !consumers_.touched())) return;
  // Whoever reads that the node holds an epoch knows of each service that was served before: the
  // new numbers come with the last of the rows.
  ca::v1::Ack ack = acknowledged_;
  const auto flush = [&] {
    out->push_back(action::SendAck{stream_, std::exchange(ack, acknowledged_)});
    rows_at_ = now + kBetweenRows;
  };
  for (const ProcessId& process : consumers_.TakeTouched()) {
    ConsumerTable::Rows rows = consumers_.RowsOf(process);
    const std::string prefix = absl::StrCat(process, "/");
    auto it = rows_acknowledged_.lower_bound(prefix);
    while (it != rows_acknowledged_.end() && absl::StartsWith(it->first, prefix)) {
      if (rows.contains(it->first)) {
        ++it;
        continue;
      }
      ack.add_gone(it->first);
      it = rows_acknowledged_.erase(it);
      if (ack.gone_size() >= kMaxRowsInMessage) flush();
    }
    for (auto& [name, row] : rows) {
      std::string bytes = row.SerializeAsString();
      std::string& last = rows_acknowledged_[name];
      if (last == bytes) continue;
      last = std::move(bytes);
      *ack.add_consumers() = std::move(row);
      if (ack.consumers_size() >= kMaxRowsInMessage) flush();
    }
  }
  const bool rows = ack.consumers_size() + ack.gone_size() > 0;
  acknowledged_ = base;
  base.mutable_consumers()->Swap(ack.mutable_consumers());
  base.mutable_gone()->Swap(ack.mutable_gone());
  if (rows || news) out->push_back(action::SendAck{stream_, std::move(base)});
  if (rows) rows_at_ = now + kBetweenRows;
}

void AgentCore::PassRefusals(absl::Time now, Actions* out) {
  if (refusals_.empty() || sync_ != Sync::kOpen || closing_ || now < refusals_at_) return;
  refusals_at_ = now + kBetweenReports;
  out->push_back(action::SendVerdicts{stream_, refusals_.Take()});
}

}  // namespace linchpin::agent
