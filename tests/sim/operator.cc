// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/operator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "trust/pin_set.h"

namespace linchpin::sim {

Operator::Operator(World& world, SimCa& ca, std::vector<std::string> services)
    : world_(world),
      ca_(ca),
      services_(std::move(services)),
      signer_(*x509::PrivateKey::Generate(x509::KeyType::kP256)) {}

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
  create.identity.set_any_node(true);
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
  const auto& sets = ca_.core().registry().trust().record.pin_sets();
  trust::v1::PinSet last;
  return sets.empty() || !last.ParseFromString(sets.rbegin()->payload()) ? 0 : last.version();
}

void Operator::PublishPins() {
  const trust::TrustDomain& domain = ca_.trust_domain();
  const uint64_t version = PublishedVersion() + 1;
  trust::v1::PinSet set;
  set.set_trust_domain(domain.name());
  set.set_version(version);
  set.set_mode(trust::v1::PinSet::ENFORCE);
  set.set_issued_at(absl::ToUnixSeconds(world_.now()));
  set.set_expires_at(absl::ToUnixSeconds(world_.now() + absl::Hours(24)));
  set.mutable_signers()->add_keys(signer_.public_key().spki());
  set.mutable_signers()->set_threshold(1);
  for (const auto& [key, row] : ca_.core().registry().authorities()) {
    auto certificate = *x509::Certificate::FromDer(row.record.certificate());
    const std::string pin = certificate.public_key().pin().bytes();
    if (certificate.IsSelfIssued()) {
      set.add_anchors()->set_spki_sha256(pin);
      continue;
    }
    trust::v1::IssuerPin* issuer = set.add_issuers();
    issuer->set_spki_sha256(pin);
    const bool active = row.record.state() == "active";
    issuer->set_role(active ? trust::v1::IssuerPin::ACTIVE : trust::v1::IssuerPin::BACKUP);
    if (!active) {
      *issuer->mutable_proof() =
          *trust::ProvePossession(domain, *ca_.keys().Open(row.record.key_name()), world_.now());
    }
  }
  PublishPinSet(set);
}

void Operator::PublishPinSet(const trust::v1::PinSet& set) {
  ca::PublishPinSet publish;
  publish.set.set_payload(set.SerializeAsString());
  *publish.set.add_signatures() = trust::SignPinSet(publish.set.payload(), signer_);
  Ask(absl::StrCat("pins ", set.version()), Known::kPresent, publish);
}

History::Pair Operator::AnyPair() {
  const std::string& from = services_[world_.random().Below(services_.size())];
  const std::string& to = services_[world_.random().Below(services_.size())];
  return {from, to};
}

void Operator::Act() {
  if (busy_ || !ca_.up()) return;
  const std::string& service = services_[world_.random().Below(services_.size())];
  const uint64_t dice = world_.random().Below(20);
  if (dice < 4) return Register(service);
  if (dice == 4) return Unregister(service);
  if (dice < 13) return Allow(AnyPair());
  if (dice < 18) return Forbid(AnyPair());
  PublishPins();
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
