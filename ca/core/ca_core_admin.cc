// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Runs what admin.h decides.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/retry_after.h"
#include "base/status_macros.h"
#include "ca/core/backups.h"
#include "ca/core/ca_core.h"
#include "ca/core/change_log.h"
#include "ca/core/failover.h"
#include "ca/core/offline_root.h"
#include "ca/core/operators.h"
#include "ca/core/pin_sets.h"
#include "ca/core/reply.h"
#include "ca/core/rotation.h"

namespace linchpin::ca {

void CaCore::On(absl::Time now, event::AdminAsked event, Actions* out) {
  const CallId call = event.call;
  const absl::Status may = CheckAsker(registry_, event.who, MethodOf(event.request), now).status();
  if (!may.ok()) return ReplyError(call, may, out);
  std::visit([&](const auto& asked) { Admin(now, call, event.who, asked, out); }, event.request);
}

template <typename Asked>
void CaCore::Admin(absl::Time now, CallId call, const Asker& who, const Asked& asked,
                   Actions* out) {
  if constexpr (requires { Answer(TablesNow(), now, asked); }) {
    auto answer = Answer(TablesNow(), now, asked);
    if (!answer.ok()) return ReplyError(call, answer.status(), out);
    ReplyWith(call, *std::move(answer), out);
  } else if constexpr (requires { PlanFor(TablesNow(), now, asked); }) {
    auto plan = PlanFor(TablesNow(), now, asked);
    if (!plan.ok()) return ReplyError(call, plan.status(), out);
    if (!plan->has_value()) return AskChange(now, call, who, asked, out);
    out->push_back(action::MakeAuthorities{
        .call = call, .who = who, .request = asked, .plan = **std::move(plan)});
  } else {
    AskChange(now, call, who, asked, out);
  }
}

template <typename Asked>
void CaCore::AskChange(absl::Time now, CallId call, const Asker& who, const Asked& asked,
                       Actions* out) {
  const auto decide = [this](absl::Time then, const Asked& what, const ChangedBy& by) {
    if constexpr (requires { Decide(TablesNow(), then, what, by.who); }) {
      return Decide(TablesNow(), then, what, by.who);
    } else {
      return Decide(TablesNow(), then, what);
    }
  };
  const absl::Duration wait = who.on_socket ? absl::ZeroDuration() : changes_.Take(who.name, now);
  if (wait > absl::ZeroDuration()) {
    return ReplyError(
        call,
        base::WithRetryAfter(absl::ResourceExhaustedError(absl::StrCat(
                                 "operator ", who.name, " made ", kChangesOfOperator,
                                 " changes in haste; try again in ", absl::FormatDuration(wait),
                                 ", or use the admin socket, which has no such limit")),
                             wait),
        out);
  }
  Enqueue(
      now, call,
      [this, call, who, asked, decide](absl::Time then) -> absl::StatusOr<Change> {
        // Again: it may have waited.
        ASSIGN_OR_RETURN(const ChangedBy by, CheckAsker(registry_, who, MethodOf(asked), then));
        ASSIGN_OR_RETURN(Decision decision, decide(then, asked, by));
        if (decision.order.has_value() && issuing_.size() >= kMaxIssuing) {
          return absl::ResourceExhaustedError(
              absl::StrCat(kMaxIssuing, " calls wait for certificates already; try again later"));
        }
        if (decision.recorded) AddChangeRecord(registry_, by, then, &decision.batch);
        return ChangeFor({call, who, asked}, std::move(decision));
      },
      out);
}

CaCore::Change CaCore::ChangeFor(event::AdminAsked asked, Decision decision) {
  Change change;
  change.batch = std::move(decision.batch);
  change.then = [this, asked = std::move(asked), answer = std::move(decision.answer),
                 disconnect = std::move(decision.disconnect), again = decision.again,
                 order = std::move(decision.order),
                 certified = std::move(decision.certified)](absl::Time now, Actions* out) mutable {
    if (again) return On(now, std::move(asked), out);
    if (order.has_value()) {
      return CertifyFor(asked.call, *std::move(order), std::move(certified), out);
    }
    if (disconnect.has_value()) {
      CloseSessionOf(disconnect->node_id, disconnect->why, false, out);
      if (registry_.FindNode(disconnect->node_id) == nullptr) {
        coverage_.Forget(disconnect->node_id);
      }
    }
    out->push_back(action::Reply{
        .call = asked.call, .status = absl::OkStatus(), .message = answer(TablesNow(), now)});
  };
  return change;
}

void CaCore::CertifyFor(CallId call, CertificateOrder order, decltype(Decision::certified) answer,
                        Actions* out) {
  SignAndLog(
      authorities_.active(), {std::move(order)},
      [this, call, answer = std::move(answer), issuer = authorities_.active().certificate](
          absl::Time, absl::StatusOr<MadeCertificates> made, Actions* answers) {
        const absl::StatusOr<std::string> leaf = made.ok() ? made->front() : made.status();
        answers->push_back(CountIssued("operator", leaf.status(), 1));
        if (!leaf.ok()) return ReplyError(call, leaf.status(), answers);
        auto message = answer(TablesNow(), *leaf, issuer);
        if (!message.ok()) return ReplyError(call, message.status(), answers);
        answers->push_back(action::Reply{
            .call = call, .status = absl::OkStatus(), .message = *std::move(message)});
      },
      out);
}

std::vector<std::string> CaCore::Warnings(absl::Time now) const {
  std::vector<std::string> warnings;
  for (const Authority& authority : authorities_.all()) {
    const std::string warning = WarningOf(authority, keys_, now);
    if (warning.empty()) continue;
    warnings.push_back(absl::StrCat(authority.certificate.fields().subject, ": ", warning));
  }
  for (std::string& warning : PinWarnings(registry_.trust().record, now)) {
    warnings.push_back(std::move(warning));
  }
  std::string warning = RotationWarning(TablesNow(), now);
  if (!warning.empty()) warnings.push_back(std::move(warning));
  warning = BackupWarning(TablesNow(), now);
  if (!warning.empty()) warnings.push_back(std::move(warning));
  warning = NodesAheadWarning(TablesNow());
  if (!warning.empty()) warnings.push_back(std::move(warning));
  return warnings;
}

size_t CaCore::usable_backups(absl::Time now) const { return UsableBackups(TablesNow(), now); }

void CaCore::On(absl::Time now, event::KeysSeen event, Actions* out) {
  keys_ = std::move(event.key_names);
  // A key that nobody is to use any more is a danger only.
  for (const Authority& authority : authorities_.all()) {
    if (authority.state != kRetired || keys_.count(authority.key_name) == 0) continue;
    out->push_back(action::DeleteKey{.key_name = authority.key_name});
  }
  for (const std::string& name : AbandonedKeys(registry_, authorities_)) {
    if (keys_.count(name) > 0) out->push_back(action::DeleteKey{.key_name = name});
  }
  const std::vector<std::string> before = std::exchange(warned_, Warnings(now));
  for (const std::string& warning : warned_) {
    if (std::find(before.begin(), before.end(), warning) != before.end()) continue;
    out->push_back(action::Note{
        .warning = true, .message = warning, .fields = {}, .counter = "", .labels = {}});
  }
}

void CaCore::Admin(absl::Time, CallId call, const Asker&, const v1::ProvePossessionRequest& asked,
                   Actions* out) {
  const Authority* issuer = authorities_.FindIssuer(asked.spki_sha256());
  if (issuer == nullptr) {
    return ReplyError(call,
                      absl::NotFoundError("no issuer of this CA has the key with that pin; see "
                                          "linchpin ca pins"),
                      out);
  }
  out->push_back(action::Prove{.call = call, .key_name = issuer->key_name});
}

void CaCore::On(absl::Time now, event::AuthoritiesMade event, Actions* out) {
  if (!event.made.ok()) return ReplyError(event.call, event.made.status(), out);
  std::visit(
      [&](auto& asked) {
        AskChange(now, event.call, event.who, WithMade(std::move(asked), *std::move(event.made)),
                  out);
      },
      event.request);
}

// What of a rotation is due by itself.
void CaCore::Rotate(absl::Time now, Actions* out) {
  if (draining_ || under_way_.has_value() || RotationDue(TablesNow(), now).empty()) return;
  Enqueue(
      now, std::nullopt,
      [this](absl::Time then) -> absl::StatusOr<Change> {
        Change change;
        change.batch = RotationDue(TablesNow(), then);
        const ChangedBy by{kItself, "", "", "Rotate"};
        AddChangeRecord(registry_, by, then, &change.batch);
        return change;
      },
      out);
}

void CaCore::Admin(absl::Time now, CallId call, const Asker& who, const v1::RevokeRequest& asked,
                   Actions* out) {
  absl::StatusOr<v1::RevokeRequest> checked = CheckRevoke(TablesNow(), now, asked);
  if (!checked.ok()) return ReplyError(call, checked.status(), out);
  out->push_back(
      action::FindIssued{.call = call,
                         .who = who,
                         .asked = *std::move(checked),
                         .since = now - authorities_.LongestLeaf(options_.profile.issuer_ttl)});
}

void CaCore::On(absl::Time now, event::IssuedFound event, Actions* out) {
  if (!event.found.ok()) return ReplyError(event.call, event.found.status(), out);
  AskChange(now, event.call, event.who, Revoke{std::move(event.asked), *std::move(event.found)},
            out);
}

void CaCore::On(absl::Time, event::PossessionProved event, Actions* out) {
  if (!event.proof.ok()) return ReplyError(event.call, event.proof.status(), out);
  ReplyWith(event.call, *std::move(event.proof), out);
}

}  // namespace linchpin::ca
