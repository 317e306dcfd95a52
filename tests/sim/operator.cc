// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/operator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "ca/core/rotation.h"

namespace linchpin::sim {
namespace {

constexpr uint64_t kDocumentOneIn = 30;

// Was more done in this rotation than `entries` of its history tell?
bool WentOn(const ca::Registry& registry, uint64_t rotation, int entries) {
  const auto row = registry.rotations().find(ca::RotationKey(rotation));
  return row != registry.rotations().end() && row->second.record.history_size() > entries;
}

}  // namespace

Operator::Operator(World& world, SimCa& ca, PinSigners& signers, std::vector<std::string> services)
    : world_(world), ca_(ca), services_(std::move(services)), signers_(signers) {}

std::string Operator::SpiffeId(const std::string& service) const {
  return absl::StrCat(ca_.trust_domain().IdString(), "/", service);
}

void Operator::Ask(const std::string& key, Known then, ca::AdminRequest request,
                   std::function<void(const SimCa::Message&)> answered) {
  if (!ca_.up()) return;
  busy_ = true;
  const uint64_t asked = ++asked_;
  const auto before = known_.find(key);
  const Known was = before == known_.end() ? Known::kAbsent : before->second;
  known_[key] = Known::kUncertain;
  ca_.Call(
      [&](ca::CallId call) {
        return ca::event::AdminAsked{call, Root(), std::move(request)};
      },
      [this, asked, key, was, then, answered](const absl::Status& status,
                                              const SimCa::Message& message) {
        if (asked != asked_) return;
        busy_ = false;
        world_.Say(absl::StrCat("operator: ", key, ": ", status.ToString()));
        if (status.ok()) {
          known_[key] = then;
          if (answered) answered(message);
        } else if (!absl::IsUnavailable(status) && !absl::IsAborted(status)) {
          known_[key] = was;  // refused: nothing changed
        }
      });
}

void Operator::CaDied() {
  busy_ = false;
  ++asked_;
}

void Operator::MakeToken(const std::string& node, std::function<void(const std::string&)> then) {
  ca::v1::CreateJoinTokenRequest request;
  request.set_node_name(node);
  request.set_ttl_seconds(3600);
  Ask(absl::StrCat("token ", node), Known::kPresent, request,
      [then](const SimCa::Message& message) {
        then(static_cast<const ca::v1::JoinToken&>(*message).token());
      });
}

void Operator::Register(const std::string& service) {
  ca::CreateIdentity create;
  create.identity.set_spiffe_id(SpiffeId(service));
  create.identity.add_selectors(absl::StrCat("sim:service:", service));
  if (node_of_) {
    create.identity.add_node_ids(node_of_(service));
  } else {
    create.identity.set_any_node(true);
  }
  Ask(absl::StrCat("identity ", service), Known::kPresent, create,
      [this, service](const SimCa::Message& message) {
        identity_ids_[service] = static_cast<const ca::v1::Identity&>(*message).identity_id();
      });
}

void Operator::Unregister(const std::string& service) {
  ca::v1::DeleteIdentityRequest request;
  request.set_spiffe_id(SpiffeId(service));
  Ask(absl::StrCat("identity ", service), Known::kAbsent, request);
}

void Operator::Allow(const History::Pair& pair) {
  ca::AllowPeer allow;
  allow.rule.set_from(SpiffeId(pair.first));
  allow.rule.set_to(SpiffeId(pair.second));
  allow.rule.set_outbound(true);
  allow.rule.set_inbound(true);
  Ask(absl::StrCat("rule ", pair.first, " ", pair.second), Known::kPresent, allow);
}

void Operator::Forbid(const History::Pair& pair) {
  ca::DeletePolicy remove;
  remove.rule.set_from(SpiffeId(pair.first));
  remove.rule.set_to(SpiffeId(pair.second));
  Ask(absl::StrCat("rule ", pair.first, " ", pair.second), Known::kAbsent, remove);
}

uint64_t Operator::PublishedVersion() const {
  const auto set = PinSigners::InForce(ca_);
  return set.has_value() ? set->version() : 0;
}

void Operator::PublishPins(bool new_board) {
  if (!ca_.up()) return;
  const std::string key = absl::StrCat("pins ", PublishedVersion() + 1);
  const auto set = signers_.Next(ca_, new_board);
  if (set.has_value()) Ask(key, Known::kPresent, ca::PublishPinSet{*set});
}

void Operator::DeclareRestored(bool take_renewed_nodes, std::function<void()> done) {
  ca::v1::DeclareRestoredRequest request;
  request.set_take_renewed_nodes(take_renewed_nodes);
  Ask(absl::StrCat("restored ", ++documents_), Known::kPresent, request,
      [done](const SimCa::Message&) { done(); });
}

// What was asked since, and what it came to, is as if it had never been.
void Operator::Recall(const Memory& memory) {
  known_ = memory.known;
  identity_ids_ = memory.identity_ids;
}

void Operator::PlayRelax() {
  const auto document = signers_.Relax(ca_);
  if (!document.has_value()) return;
  Ask(absl::StrCat("relax ", ++documents_), Known::kPresent, ca::PlayRelax{*document});
}

void Operator::PublishFreshness() {
  const auto statement = signers_.Fresh(ca_);
  if (!statement.has_value()) return;
  Ask(absl::StrCat("freshness ", ++documents_), Known::kPresent, ca::PublishFreshness{*statement});
}

// All that a service has, or just one certificate of somebody.
void Operator::Revoke() {
  ca::v1::RevokeRequest request;
  const std::optional<std::string> serial = ca_.AnySerial();
  if (world_.OneIn(2) && serial.has_value()) {
    request.set_serial(*serial);
  } else {
    request.set_spiffe_id(SpiffeId(services_[world_.random().Below(services_.size())]));
  }
  Ask(absl::StrCat("revocation ", ++revoked_), Known::kPresent, request);
}

History::Pair Operator::AnyPair() {
  const std::string& from = services_[world_.random().Below(services_.size())];
  const std::string& to = services_[world_.random().Below(services_.size())];
  return {from, to};
}

void Operator::Act() {
  if (busy_ || !ca_.up()) return;
  const std::string& service = services_[world_.random().Below(services_.size())];
  if (world_.OneIn(kDocumentOneIn)) return PlayRelax();
  if (world_.OneIn(kDocumentOneIn)) return PublishFreshness();
  const uint64_t dice = world_.random().Below(21);
  if (dice < 4) return Register(service);
  if (dice == 4) return Unregister(service);
  if (dice < 13) return Allow(AnyPair());
  if (dice < 18) return Forbid(AnyPair());
  if (dice == 18) return PublishPins();
  Revoke();
}

void Operator::CheckKept() const {
  const ca::Registry& registry = ca_.core().registry();
  for (const auto& [key, known] : known_) {
    if (known == Known::kUncertain) continue;
    const std::vector<std::string> words = absl::StrSplit(key, ' ');
    bool present = known == Known::kPresent;
    if (words[0] == "identity") {
      present = !registry.IdentitiesOf(SpiffeId(words[1])).empty();
    } else if (words[0] == "rule") {
      present = registry.rules().contains({SpiffeId(words[1]), SpiffeId(words[2])});
    } else if (words[0] == "pins" && known == Known::kPresent) {
      present = PublishedVersion() >= std::stoull(words[1]);
    } else if (words[0] == "rotation" && known == Known::kPresent) {
      present = WentOn(registry, std::stoull(words[1]), std::stoi(words[2]));
    }
    if (present != (known == Known::kPresent)) {
      return world_.Broken("what was answered is not lost", key);
    }
  }
}

std::optional<bool> Operator::IsRegistered(const std::string& service) const {
  const auto it = known_.find(absl::StrCat("identity ", service));
  if (it == known_.end()) return false;
  if (it->second == Known::kUncertain) return std::nullopt;
  return it->second == Known::kPresent;
}

}  // namespace linchpin::sim
