// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sync/projection.h"

#include "x509/digest.h"

namespace linchpin::sync {
namespace {

using ca::v1::CaMessage;
using ca::v1::NodeIdentity;
using trust::v1::PeerRule;
using trust::v1::TrustState;

// Tag and length of an entry, and of the trust state around it.
constexpr size_t kEntryOverhead = 32;

bool Same(const NodeIdentity& a, const NodeIdentity& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

bool Same(const PeerRule& a, const PeerRule& b) {
  return a.from() == b.from() && a.to() == b.to() && a.mode() == b.mode() &&
         a.outbound() == b.outbound() && a.inbound() == b.inbound();
}

// Deals entries out to messages of limited size.
class Splitter {
 public:
  Splitter(const Stamp& stamp, bool reset) : stamp_(stamp) {
    Begin();
    messages_.back().set_reset(reset);
    messages_.back().set_base_revision(reset ? 0 : stamp.base_revision);
  }

  // The message that has room for an entry of `size` bytes.
  CaMessage& MessageFor(size_t size) {
    const size_t needed = size + kEntryOverhead;
    if (used_ + needed > kMaxMessageBytes && used_ > header_) Begin();
    used_ += needed;
    return messages_.back();
  }

  void AddTrust(const TrustState& trust) {
    trust_ = &trust;
    // Also when it has no entry at all.
    TrustFor(0);
    for (const auto& der : trust.anchors()) TrustFor(der.size()).add_anchors(der);
    for (const auto& der : trust.issuers()) TrustFor(der.size()).add_issuers(der);
    for (const auto& set : trust.pin_sets()) *TrustFor(set.ByteSizeLong()).add_pin_sets() = set;
    for (const auto& pin : trust.declared_issuers()) {
      TrustFor(pin.size()).add_declared_issuers(pin);
    }
    for (const auto& der : trust.twins()) TrustFor(der.size()).add_twins(der);
    for (const auto& canary : trust.canaries()) {
      *TrustFor(canary.ByteSizeLong()).add_canaries() = canary;
    }
    for (const auto& entry : trust.replacements()) {
      *TrustFor(entry.ByteSizeLong()).add_replacements() = entry;
    }
    for (const auto& entry : trust.revocations()) {
      *TrustFor(entry.ByteSizeLong()).add_revocations() = entry;
    }
    if (trust.has_relax()) {
      *TrustFor(trust.relax().ByteSizeLong()).mutable_relax() = trust.relax();
    }
    if (trust.has_freshness()) {
      *TrustFor(trust.freshness().ByteSizeLong()).mutable_freshness() = trust.freshness();
    }
  }

  std::vector<CaMessage> Finish() {
    messages_.back().set_complete(true);
    return std::move(messages_);
  }

 private:
  void Begin() {
    CaMessage message;
    message.set_incarnation(stamp_.incarnation);
    message.set_revision(stamp_.revision);
    message.set_ca_time(stamp_.ca_time);
    message.set_part(static_cast<uint32_t>(messages_.size()));
    messages_.push_back(std::move(message));
    header_ = messages_.back().ByteSizeLong() + kEntryOverhead;
    used_ = header_;
  }

  TrustState& TrustFor(size_t size) {
    // Each part names what it is a part of.
    CaMessage& message = MessageFor(size);
    if (!message.has_trust()) {
      message.mutable_trust()->set_trust_domain(trust_->trust_domain());
      message.mutable_trust()->set_epoch(trust_->epoch());
      used_ += trust_->trust_domain().size();
    }
    return *message.mutable_trust();
  }

  const Stamp& stamp_;
  const TrustState* trust_ = nullptr;
  std::vector<CaMessage> messages_;
  size_t header_ = 0;
  size_t used_ = 0;
};

void AddDifference(const Projection& from, const Projection& to, Splitter* splitter) {
  for (const auto& [id, identity] : from.identities) {
    if (to.identities.count(id) == 0) {
      splitter->MessageFor(id.size()).add_removed_identities(id);
    }
  }
  for (const auto& [id, identity] : to.identities) {
    const auto old = from.identities.find(id);
    if (old != from.identities.end() && Same(old->second, identity)) continue;
    *splitter->MessageFor(identity.ByteSizeLong()).add_identities() = identity;
  }
  for (const auto& [pair, rule] : from.rules) {
    if (to.rules.count(pair) != 0) continue;
    PeerRule* const removed =
        splitter->MessageFor(pair.first.size() + pair.second.size()).add_removed_rules();
    removed->set_from(pair.first);
    removed->set_to(pair.second);
  }
  for (const auto& [pair, rule] : to.rules) {
    const auto old = from.rules.find(pair);
    if (old != from.rules.end() && Same(old->second, rule)) continue;
    *splitter->MessageFor(rule.ByteSizeLong()).add_rules() = rule;
  }
}

std::vector<CaMessage> Messages(const Projection& from, const Projection& to,
                                const TrustState* trust, Splitter splitter) {
  if (trust != nullptr) splitter.AddTrust(*trust);
  AddDifference(from, to, &splitter);
  return splitter.Finish();
}

}  // namespace

std::string Projection::Digest() const {
  x509::FieldHasher hasher("linchpin projection v1");
  hasher.Add(identities.size());
  for (const auto& [id, identity] : identities) {
    hasher.Add(id).Add(identity.spiffe_id());
    hasher.Add(static_cast<uint64_t>(identity.selectors_size()));
    for (const auto& selector : identity.selectors()) hasher.Add(selector);
    hasher.Add(static_cast<uint64_t>(identity.ttl_seconds()));
    hasher.Add(static_cast<uint64_t>(identity.dns_names_size()));
    for (const auto& name : identity.dns_names()) hasher.Add(name);
    hasher.Add(identity.hint()).Add(identity.order());
  }
  hasher.Add(rules.size());
  for (const auto& [pair, rule] : rules) {
    hasher.Add(pair.first).Add(pair.second).Add(static_cast<uint64_t>(rule.mode()));
    hasher.Add(static_cast<uint64_t>(rule.outbound())).Add(static_cast<uint64_t>(rule.inbound()));
  }
  return hasher.Finish();
}

std::vector<CaMessage> Difference(const Projection& from, const Projection& to,
                                  const TrustState* trust, const Stamp& stamp) {
  return Messages(from, to, trust, Splitter(stamp, false));
}

std::vector<CaMessage> Snapshot(const Projection& to, const TrustState* trust, const Stamp& stamp) {
  return Messages(Projection(), to, trust, Splitter(stamp, true));
}

}  // namespace linchpin::sync
