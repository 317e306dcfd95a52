// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/evil_ca.h"

#include <memory>
#include <utility>

#include "trust/pin_set.h"
#include "trust/relax.h"

namespace linchpin::sim {
namespace {

constexpr uint64_t kHuge = uint64_t{1} << 40;
constexpr int64_t kMostOff = 3 * 60 * 60;  // seconds

template <typename Message>
std::shared_ptr<Message> CopyOf(const SimCa::Message& message) {
  return std::make_shared<Message>(static_cast<const Message&>(*message));
}

}  // namespace

EvilCa::EvilCa(World& world, SimCa& ca, PinSigners& signers)
    : world_(world),
      ca_(ca),
      signers_(signers),
      rogue_(world, ca),
      own_key_(*x509::PrivateKey::Generate(x509::KeyType::kP256)) {}

void EvilCa::Begin(Means means) {
  means_ = means;
  lies_before_ = lies_;
  ca_.set_liar(this);
}

trust::RawChain EvilCa::Shown(const trust::RawChain& true_chain) {
  const auto ca_id = trust::SpiffeId::Parse(ca_.trust_domain().IdString() + "/linchpin/ca");
  if (means_ == Means::kNone) return rogue_.UnderHisOwn(*ca_id);
  if (means_ == Means::kRootKey) return rogue_.UnderTheTrueRoot(*ca_id);
  return true_chain;
}

SimCa::Message EvilCa::Distort(const SimCa::Message& message) {
  const std::string type = message == nullptr ? "" : message->GetTypeName();
  if (type == "linchpin.ca.v1.CaMessage") {
    auto told = CopyOf<ca::v1::CaMessage>(message);
    if (!told->trust().trust_domain().empty()) Distort(told->mutable_trust());
    told->set_ca_time(Time(told->ca_time()));
    return told;
  }
  if (type == "linchpin.ca.v1.AttestResponse") {
    auto told = CopyOf<ca::v1::AttestResponse>(message);
    if (told->has_trust()) Distort(told->mutable_trust());
    told->set_ca_time(Time(told->ca_time()));
    return told;
  }
  if (type == "linchpin.ca.v1.GetTrustResponse") {
    auto told = CopyOf<ca::v1::GetTrustResponse>(message);
    DistortSets(told->mutable_pin_sets());
    if (world_.OneIn(2)) *told->mutable_relax() = ForgedRelax();
    return told;
  }
  return message;
}

int64_t EvilCa::Time(int64_t true_time) {
  if (world_.OneIn(2)) return true_time;
  return true_time - kMostOff + static_cast<int64_t>(world_.random().Below(2 * kMostOff));
}

void EvilCa::Distort(trust::v1::TrustState* trust) {
  ++lies_;
  switch (world_.random().Below(6)) {
    case 0:
      return DistortSets(trust->mutable_pin_sets());
    case 1:
      trust->add_anchors(rogue_.root().certificate.der());
      trust->add_issuers(rogue_.IssuerUnder(rogue_.root()).certificate.der());
      trust->add_issuers(rogue_.IssuerUnder(rogue_.TrueRoot()).certificate.der());
      return;
    case 2:  // nothing but a root of his own
      trust->clear_anchors();
      trust->add_anchors(rogue_.root().certificate.der());
      return;
    case 3:
      return Deny(trust);
    case 4:
      *trust->mutable_relax() = ForgedRelax();
      return;
    default:
      true_epochs_[kHuge + lies_] = trust->epoch();
      trust->set_epoch(kHuge + lies_);
      return;
  }
}

void EvilCa::DistortSets(google::protobuf::RepeatedPtrField<trust::v1::SignedPinSet>* sets) {
  switch (world_.random().Below(4)) {
    case 0:
      return sets->Clear();
    case 1:  // only an older one, or none
      if (!sets->empty()) sets->RemoveLast();
      return;
    case 2:
      *sets->Add() = ForgedSet();
      return;
    default:  // not even a message
      sets->Add()->set_payload("linchpin");
  }
}

void EvilCa::Deny(trust::v1::TrustState* trust) {
  const std::optional<std::string> id = ca_.AnyServiceId();
  if (!id.has_value()) return;
  denied_.insert(*id);
  trust::v1::Revocation* entry = trust->add_revocations();
  entry->set_spiffe_id(*id);
  entry->set_issued_before(absl::ToUnixSeconds(world_.now()));
  entry->set_lapses_at(absl::ToUnixSeconds(world_.now() + absl::Hours(1)));
  entry->set_reason("because I can");
}

// The next version, naming keys of his own. One of the signers helps him; the others do not.
trust::v1::SignedPinSet EvilCa::ForgedSet() {
  trust::v1::PinSet set = *PinSigners::InForce(ca_);
  set.set_version(set.version() + 1);
  set.add_anchors()->set_spki_sha256(rogue_.root().key.public_key().pin().bytes());
  set.mutable_issuers(0)->set_spki_sha256(
      rogue_.IssuerUnder(rogue_.root()).key.public_key().pin().bytes());
  trust::v1::SignedPinSet forged;
  forged.set_payload(set.SerializeAsString());
  if (world_.OneIn(2)) *forged.add_signatures() = signers_.OneSignature(forged.payload(), ca_);
  *forged.add_signatures() = trust::SignPinSet(forged.payload(), own_key_);
  return forged;
}

trust::v1::SignedRelax EvilCa::ForgedRelax() {
  const auto set = *PinSigners::InForce(ca_);
  trust::v1::Relax relax;
  relax.set_trust_domain(ca_.trust_domain().name());
  relax.set_version(set.version());
  relax.set_scope(trust::v1::Relax::ISSUER_PINS);
  relax.set_issued_at(absl::ToUnixSeconds(world_.now()));
  relax.set_latest(absl::ToUnixSeconds(world_.now() + absl::Hours(1)));
  relax.set_max_seconds(3600);
  trust::v1::SignedRelax forged;
  forged.set_payload(relax.SerializeAsString());
  *forged.add_signatures() = trust::SignRelax(forged.payload(), own_key_);
  *forged.add_signatures() = trust::SignRelax(forged.payload(), own_key_);
  return forged;
}

uint64_t EvilCa::TrueEpoch(uint64_t said) const {
  const auto it = true_epochs_.find(said);
  return it == true_epochs_.end() ? said : it->second;
}

}  // namespace linchpin::sim
