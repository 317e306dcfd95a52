// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Pin sets, trust states, chains and contexts.

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/fuzz/parsers.h"
#include "trust/freshness.h"
#include "trust/judge.h"
#include "trust/pin_set.h"
#include "trust/relax.h"
#include "trust/trust_acceptance.h"
#include "trust/trust_codec.h"

namespace linchpin::fuzz {
namespace {

constexpr uint32_t kSigners = 4;
constexpr int kMostOffers = 8;

using Numbers = google::protobuf::RepeatedField<uint32_t>;

x509::PrivateKey Signer(uint32_t number) {
  return test::KeyNamed(absl::StrCat("signer ", number % kSigners));
}

// The keys of Authority(), so that a pin set can name what signs its leaves.
x509::PrivateKey Issuer(uint32_t number) {
  const test::TestAuthority& authority = Authority();
  switch (number % 4) {
    case 0:
      return authority.root().key;
    case 1:
      return authority.active().key;
    case 2:
      return authority.backup().key;
    default:
      return test::KeyNamed("next issuer");
  }
}

const test::TestAuthority& Stranger() {
  static const auto* const stranger = new test::TestAuthority("example.org", "stranger");
  return *stranger;
}

const x509::Certificate& CaCertificate(uint32_t number) {
  const test::TestAuthority& authority = Authority();
  switch (number % 4) {
    case 0:
      return authority.root().certificate;
    case 1:
      return authority.active().certificate;
    case 2:
      return authority.backup().certificate;
    default:
      return Stranger().root().certificate;
  }
}

x509::Certificate TwinNumbered(uint32_t number) {
  switch (number % 3) {
    case 0:
      return test::TwinOf(Authority().active());
    case 1:
      return test::TwinOf(Authority().backup());
    default:
      return test::TwinOf(Stranger().active());
  }
}

std::set<uint32_t> SignerNumbers(const Numbers& numbers) {
  std::set<uint32_t> distinct;
  for (const uint32_t number : numbers) distinct.insert(number % kSigners);
  return distinct;
}

trust::SignerSet MakeSigners(const Numbers& numbers, uint32_t threshold) {
  trust::SignerSet signers;
  for (const uint32_t number : SignerNumbers(numbers)) {
    signers.keys.push_back(Signer(number).public_key());
  }
  signers.threshold =
      signers.empty() ? 0 : 1 + threshold % static_cast<uint32_t>(signers.keys.size());
  return signers;
}

size_t CountCommon(const std::set<std::string>& a, const std::set<std::string>& b) {
  return static_cast<size_t>(
      std::count_if(a.begin(), a.end(), [&](const std::string& key) { return b.contains(key); }));
}

std::set<std::string> KeysOf(const trust::SignerSet& signers) {
  std::set<std::string> keys;
  for (const x509::PublicKey& key : signers.keys) keys.insert(key.spki());
  return keys;
}

// Whose signatures hold, known from how the offer was made.
std::set<std::string> TrueSigners(const PinSetOffer& offer) {
  std::set<std::string> keys;
  if (!offer.appended().empty()) return keys;
  for (const uint32_t number : offer.signed_by()) keys.insert(Signer(number).public_key().spki());
  return keys;
}

}  // namespace

const test::TestAuthority& Authority() {
  static const auto* const authority = new test::TestAuthority();
  return *authority;
}

trust::v1::SignedPinSet Make(const PinSetOffer& offer) {
  trust::v1::PinSet set = offer.set();
  for (const uint32_t number : offer.signers()) {
    set.mutable_signers()->add_keys(Signer(number).public_key().spki());
  }
  for (const uint32_t number : offer.anchors()) {
    set.add_anchors()->set_spki_sha256(Issuer(number).public_key().pin().bytes());
  }
  for (const uint32_t number : offer.issuers()) {
    const x509::PrivateKey key = Issuer(number);
    trust::v1::IssuerPin* const issuer = set.add_issuers();
    issuer->set_spki_sha256(key.public_key().pin().bytes());
    issuer->set_role(static_cast<trust::v1::IssuerPin::Role>(number % 4));
    *issuer->mutable_proof() = *trust::ProvePossession(Authority().trust_domain(), key, test::kNow);
  }
  trust::v1::SignedPinSet made;
  made.set_payload(set.SerializeAsString());
  for (const uint32_t number : offer.signed_by()) {
    *made.add_signatures() = trust::SignPinSet(made.payload(), Signer(number));
  }
  made.mutable_payload()->append(offer.appended());
  return made;
}

void PinSet(absl::string_view bytes) {
  const auto set = trust::ParsePinSet(bytes);
  if (!set.ok()) return;
  Require(set->message.version() > 0, "a pin set has a version");
  Require(set->signers.threshold > 0, "a pin set has signers");
  trust::v1::SignedPinSet unsigned_set;
  unsigned_set.set_payload(std::string(bytes));
  const trust::PinSetCursor cursor{set->trust_domain, set->signers, 0, 0};
  Require(!trust::FollowPinSets(cursor, {unsigned_set}, absl::UnixEpoch(), false).ok(),
          "an unsigned set is not followed");
}

void Relax(absl::string_view bytes) {
  const auto relax = trust::ParseRelax(bytes);
  if (!relax.ok()) return;
  Require(relax->message.max_seconds() <= absl::ToInt64Seconds(trust::kLongestRelax),
          "a relax has an end");
  const trust::SignerSet signers{.keys = {Signer(0).public_key(), Signer(1).public_key()},
                                 .threshold = 2};
  const trust::PinSetCursor cursor{relax->trust_domain, signers, relax->message.version(), 0};
  trust::v1::SignedRelax document;
  document.set_payload(std::string(bytes));
  trust::Relaxed relaxed;
  const absl::Time now = absl::FromUnixSeconds(relax->message.issued_at());
  Require(!trust::Honour(cursor, document, now, &relaxed).ok() && relaxed.used.empty(),
          "an unsigned document relaxes nothing");
  for (const uint32_t number : {0u, 1u}) {
    *document.add_signatures() = trust::SignRelax(document.payload(), Signer(number));
  }
  Require(trust::Honour(cursor, document, now, &relaxed).ok(), "a signed one is honoured");
  Require(relaxed.ends_at <= absl::FromUnixSeconds(relax->message.latest()),
          "never past its latest date");
  const trust::Relaxed once = relaxed;
  Require(trust::Honour(cursor, document, relaxed.ends_at, &relaxed).ok() && relaxed == once,
          "it is honoured once");
}

void Freshness(absl::string_view bytes) {
  const auto statement = trust::ParseFreshness(bytes);
  if (!statement.ok()) return;
  Require(statement->expires_at() > statement->issued_at(), "a statement has a life");
  trust::v1::PinSet set = Authority().PinSetMessage(statement->version(), {"alice"}, 1);
  set.set_trust_domain(statement->trust_domain());
  set.set_freshness_key(Signer(0).public_key().spki());
  trust::v1::SignedFreshness made = trust::SignFreshness(*statement, Signer(0));
  Require(trust::VerifyFreshness(set, made).ok(), "a signed statement verifies");
  made.set_signature(trust::SignFreshness(*statement, Signer(1)).signature());
  Require(!trust::VerifyFreshness(set, made).ok(), "one of another key does not");
  Require(
      trust::WhyWithheld(set, *statement, absl::FromUnixSeconds(statement->issued_at())).empty(),
      "a set that was called the newest is not withheld");
}

void PinSets(const PinSetCase& offered) {
  if (offered.offers_size() > kMostOffers) return;
  trust::PinSetCursor cursor{Authority().trust_domain(),
                             MakeSigners(offered.signers(), offered.threshold()), 0,
                             offered.minimum_version()};
  std::vector<trust::v1::SignedPinSet> sets;
  for (const PinSetOffer& offer : offered.offers()) sets.push_back(Make(offer));
  const auto accepted = trust::FollowPinSets(cursor, sets, test::kNow, offered.first_contact());
  if (!accepted.ok()) return;

  std::set<std::string> keys = KeysOf(cursor.signers);
  size_t threshold = cursor.signers.threshold;
  uint64_t version = 0;
  for (size_t i = 0; i < sets.size(); ++i) {
    const auto parsed = trust::ParsePinSet(sets[i].payload());
    if (!parsed.ok() || parsed->message.version() <= version) continue;
    const std::set<std::string> signed_by = TrueSigners(offered.offers(static_cast<int>(i)));
    Require(keys.empty() || CountCommon(keys, signed_by) >= threshold,
            "a set that is followed was signed by enough signers of the one before");
    keys = KeysOf(parsed->signers);
    threshold = parsed->signers.threshold;
    Require(CountCommon(keys, signed_by) >= threshold,
            "a set that is followed was signed by enough signers of its own");
    version = parsed->message.version();
  }
  Require(accepted->cursor.version == version, "the newest set is the one in force");
  Require(!offered.first_contact() || version >= offered.minimum_version() || keys.empty(),
          "first contact takes no set below the minimum version");
}

void Trust(const TrustCase& offered) {
  if (offered.offers_size() > kMostOffers) return;
  trust::TrustHeld held{.cursor = {.trust_domain = Authority().trust_domain()}};
  held.set_zero = offered.set_zero();
  if (held.set_zero) {
    held.frozen_anchors = {Authority().root().pin()};
  } else {
    held.cursor.signers = MakeSigners(offered.signers(), offered.threshold());
  }
  absl::Time now = test::kNow;
  int life = 0;  // of the CA's store
  static const std::vector<std::string> rogue =
      test::Ders({Stranger().Leaf("/web").certificate, Stranger().active().certificate,
                  Stranger().root().certificate});
  for (const TrustCase::Offer& offer : offered.offers()) {
    if (offer.pin_sets_size() > kMostOffers) return;
    trust::v1::TrustState state = offer.state();
    for (const PinSetOffer& set : offer.pin_sets()) *state.add_pin_sets() = Make(set);
    for (const uint32_t number : offer.anchors()) state.add_anchors(CaCertificate(number).der());
    for (const uint32_t number : offer.issuers()) state.add_issuers(CaCertificate(number).der());
    for (const uint32_t number : offer.declared_issuers()) {
      state.add_declared_issuers(CaCertificate(number).public_key().pin().bytes());
    }
    for (const uint32_t number : offer.twins()) state.add_twins(TwinNumbered(number).der());
    now += absl::Seconds(offer.later_seconds());
    if (offer.epoch_may_regress()) ++life;
    const auto next =
        trust::AcceptTrust(held, state, {.now = now, .incarnation = absl::StrCat("life ", life)});
    if (!next.ok()) continue;
    Require(next->cursor.version >= held.cursor.version, "a pin set is never rolled back");
    Require(held.state == nullptr || offer.epoch_may_regress() ||
                next->message.epoch() >= held.message.epoch(),
            "a trust epoch does not go back");
    Require(held.set_zero || !next->set_zero, "set 0 does not come back");
    Require(next->frozen_anchors == held.frozen_anchors, "anchors of set 0 are frozen");
    held = *next;
    for (const trust::Twin& twin : held.twins.twins) {
      const auto certificate = x509::Certificate::FromDer(twin.der);
      Require(certificate.ok() && held.state->IsIssuerPinned(certificate->public_key().pin()),
              "a twin that is kept is of a pinned issuer");
    }
    trust::MtlsContextParts parts;
    parts.trust.emplace(held.state->trust_domain(), held.state);
    const auto context = trust::MtlsContext::Make(std::move(parts));
    Require(context.ok(), "a trust state that was accepted can be used");
    Require(!trust::Judge(rogue, **context, trust::Direction::kInbound, trust::Expect::AnyAllowed(),
                          now, nullptr)
                 .allowed,
            "a stranger's root anchors nothing");
  }
}

namespace {

// See ChainCase.
const std::vector<std::string>& KnownCertificates() {
  static const auto* const known = new std::vector<std::string>([] {
    const test::TestAuthority& authority = Authority();
    x509::Chain chain = {authority.Leaf("/web").certificate,
                         authority.active().certificate,
                         authority.backup().certificate,
                         authority.root().certificate,
                         Stranger().Leaf("/web").certificate,
                         Stranger().active().certificate,
                         authority.Leaf("/other").certificate,
                         authority.Leaf("/linchpin/node/n1").certificate,
                         authority.Leaf("/web", authority.MakeIssuer("next issuer")).certificate};
    return test::Ders(chain);
  }());
  return *known;
}

trust::Expect ExpectOf(uint32_t number) {
  switch (number % 4) {
    case 0:
      return trust::Expect::AnyAllowed();
    case 1:
      return trust::Expect::Id(Authority().Id("/web"));
    case 2:
      return trust::Expect::Ca();
    default:
      return trust::Expect::Node();
  }
}

}  // namespace

// A context that trusts nobody: nothing may pass, whatever is sent. Certificates are separated by
// their own length: two bytes, big-endian.
void Chain(absl::string_view bytes) {
  trust::RawChain chain;
  while (bytes.size() >= 2 && chain.size() < 16) {
    const size_t length =
        static_cast<unsigned char>(bytes[0]) << 8 | static_cast<unsigned char>(bytes[1]);
    bytes.remove_prefix(2);
    chain.emplace_back(bytes.substr(0, length));
    bytes.remove_prefix(chain.back().size());
  }
  static const auto context = trust::MtlsContext::Make({});
  Require(context.ok(), "an empty context can be made");
  const trust::Verdict verdict =
      trust::Judge(chain, **context, trust::Direction::kInbound, trust::Expect::AnyAllowed(),
                   absl::FromUnixSeconds(1'800'000'000), nullptr);
  Require(!verdict.allowed, "nobody is allowed where nobody is trusted");
  Require(verdict.reason() != trust::v1::VERDICT_REASON_UNSPECIFIED, "a refusal has a reason");
  Require(!verdict.peer.has_value(), "an unauthenticated peer has no name");
}

void Judged(const ChainCase& sent) {
  if (sent.chain_size() > 16) return;
  trust::RawChain chain;
  for (const ChainCase::Certificate& certificate : sent.chain()) {
    std::string der = KnownCertificates()[certificate.known() % KnownCertificates().size()];
    const size_t at = certificate.at() % der.size();
    der.replace(at, certificate.dropped() % 64, certificate.patch());
    chain.push_back(std::move(der));
  }
  static const auto context =
      test::ContextOf({Authority().State()},
                      {test::Rule("spiffe://example.org/web", "spiffe://example.org/db"),
                       test::Rule("spiffe://example.org/db", "spiffe://example.org/web")},
                      "/db", Authority());
  const auto direction = sent.inbound() ? trust::Direction::kInbound : trust::Direction::kOutbound;
  const absl::Time now = test::kNow + absl::Seconds(sent.later_seconds());
  const uint32_t expect = sent.expect() % 4;
  const trust::Verdict verdict =
      trust::Judge(chain, *context, direction, ExpectOf(expect), now, nullptr);
  if (!verdict.allowed) {
    Require(verdict.reason() != trust::v1::VERDICT_REASON_UNSPECIFIED, "a refusal has a reason");
    return;
  }
  const size_t wanted = expect == 3 ? 7 : 0;
  Require(expect != 2 && chain.front() == KnownCertificates()[wanted],
          "only the one leaf that is expected passes, untouched");
  Require(absl::AbsDuration(now - test::kNow) <= absl::Hours(1) + absl::Seconds(60),
          "a leaf passes only while it is valid");
}

void Contexts(const agent::v1::MtlsContexts& message) {
  const auto decoded = trust::DecodeContexts(message);
  if (!decoded.ok()) return;
  Require(decoded->contexts.size() == static_cast<size_t>(message.identities_size()),
          "every identity or none");
}

}  // namespace linchpin::fuzz
