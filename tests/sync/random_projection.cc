// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sync/random_projection.h"

#include "absl/strings/str_cat.h"

namespace linchpin::test {
namespace {

std::string RandomId(SeededRandom& random, size_t world) {
  return absl::StrCat("spiffe://example.org/s", random.Below(world));
}

}  // namespace

sync::Projection RandomProjection(SeededRandom& random, size_t most) {
  sync::Projection projection;
  const size_t world = most + 1;
  for (size_t i = random.Below(most + 1); i > 0; --i) {
    ca::v1::NodeIdentity identity;
    identity.set_identity_id(absl::StrCat("i", random.Below(world)));
    identity.set_spiffe_id(RandomId(random, world));
    identity.set_ttl_seconds(static_cast<int64_t>(random.Below(3)));
    identity.set_order(random.Below(3));
    if (random.OneIn(2)) identity.set_hint("hint");
    for (size_t k = random.Below(3); k > 0; --k) {
      identity.add_selectors(absl::StrCat("unix:uid:", random.Below(9)));
      identity.add_dns_names(std::string(random.Below(200), 'd'));
    }
    projection.identities[identity.identity_id()] = identity;
  }
  for (size_t i = random.Below(most + 1); i > 0; --i) {
    trust::v1::PeerRule rule;
    rule.set_from(RandomId(random, world));
    rule.set_to(RandomId(random, world));
    rule.set_outbound(random.OneIn(2));
    rule.set_inbound(random.OneIn(2));
    if (random.OneIn(2)) rule.set_mode(trust::v1::PeerRule::AUDIT);
    projection.rules[{rule.from(), rule.to()}] = rule;
  }
  return projection;
}

trust::v1::TrustState RandomTrust(SeededRandom& random, size_t most_revocations) {
  trust::v1::TrustState trust;
  trust.set_trust_domain("example.org");
  trust.set_epoch(1 + random.Below(100));
  for (size_t i = random.Below(4); i > 0; --i) trust.add_anchors(std::string(900, 'a'));
  for (size_t i = random.Below(4); i > 0; --i) trust.add_issuers(std::string(900, 'i'));
  for (size_t i = random.Below(4); i > 0; --i) {
    trust.add_pin_sets()->set_payload(base::RandomBytes(random, 1000));
  }
  for (size_t i = random.Below(4); i > 0; --i) {
    trust.add_declared_issuers(base::RandomBytes(random, 32));
  }
  for (size_t i = random.Below(4); i > 0; --i) trust.add_twins(std::string(900, 't'));
  if (random.Below(2) == 0) {
    trust.mutable_relax()->set_payload(std::string(4000, 'r'));
    trust.mutable_relax()->add_signatures()->set_key_id("k");
  }
  if (random.Below(2) == 0) trust.mutable_freshness()->set_payload(std::string(90, 'f'));
  for (size_t i = random.Below(most_revocations + 1); i > 0; --i) {
    auto* const entry = trust.add_revocations();
    entry->set_serial(base::RandomBytes(random, 20));
    entry->set_lapses_at(static_cast<int64_t>(random.Below(1000)));
  }
  return trust;
}

sync::Projection ProjectionOf(size_t identities, size_t selector_bytes) {
  sync::Projection projection;
  for (size_t i = 0; i < identities; ++i) {
    ca::v1::NodeIdentity identity;
    identity.set_identity_id(absl::StrCat("i", i));
    identity.set_spiffe_id(absl::StrCat("spiffe://example.org/s", i));
    identity.add_selectors(std::string(selector_bytes, 's'));
    projection.identities[identity.identity_id()] = identity;
  }
  return projection;
}

}  // namespace linchpin::test
