// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/trust_codec.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::trust {
namespace {

using test::ContextOf;
using test::KeyNamed;
using test::Rule;
using test::StatusIs;
using test::TestAuthority;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class TrustCodecTest : public testing::Test {
 protected:
  std::shared_ptr<const MtlsContext> Context(const std::string& path) const {
    return ContextOf({authority_.State()},
                     {Rule("spiffe://example.org/web", "spiffe://example.org/payments"),
                      Rule("spiffe://example.org/payments", "spiffe://example.org/orders")},
                     path, authority_);
  }
  agent::v1::MtlsContexts Message() const {
    agent::v1::MtlsContexts message;
    *message.add_identities() = EncodeIdentity(*Context("/payments"), "main");
    *message.add_identities() = EncodeIdentity(*Context("/web"), "");
    *message.add_trust_domains() = EncodeTrustState(*authority_.State());
    message.set_trust_epoch(4);
    message.set_trust_digest("what somebody claims");
    return message;
  }
  TestAuthority authority_;
};

TEST_F(TrustCodecTest, TrustStatesComeBackAsTheyWere) {
  TrustStateParts parts = authority_.StateParts();
  parts.epoch = 12;
  parts.skew = absl::Seconds(7);
  v1::Revocation entry;
  entry.set_serial("serial");
  parts.revocations = *Revocations::FromMessages({entry});
  ASSERT_OK_AND_ASSIGN(const auto state, TrustState::Make(parts));
  ASSERT_OK_AND_ASSIGN(const auto back, DecodeTrustState(EncodeTrustState(*state)));
  EXPECT_EQ(back->digest(), state->digest());
  EXPECT_EQ(back->epoch(), 12u);
  EXPECT_EQ(back->skew(), absl::Seconds(7));
}

TEST_F(TrustCodecTest, ContextsComeBackInOrder) {
  const agent::v1::MtlsContexts message = Message();
  ASSERT_OK_AND_ASSIGN(const DecodedContexts decoded, DecodeContexts(message));
  ASSERT_EQ(decoded.contexts.size(), 2u);
  EXPECT_EQ(decoded.contexts[0]->id(), authority_.Id("/payments"));
  EXPECT_EQ(decoded.contexts[1]->id(), authority_.Id("/web"));
  EXPECT_EQ(decoded.contexts[0]->context_digest(), message.identities(0).context_digest());
  EXPECT_EQ(decoded.trust_epoch, 4u);
  EXPECT_EQ(decoded.trust.size(), 1u);
  EXPECT_EQ(decoded.contexts[0]->policy().Ask(Direction::kInbound, authority_.Id("/web")),
            PolicyAnswer::kAllowed);
}

TEST_F(TrustCodecTest, TheDigestIsComputedAndNotBelieved) {
  ASSERT_OK_AND_ASSIGN(const DecodedContexts decoded, DecodeContexts(Message()));
  const std::map<SpiffeId, PeerPolicy> policies = {
      {authority_.Id("/web"), Context("/web")->policy()},
      {authority_.Id("/payments"), Context("/payments")->policy()}};
  EXPECT_EQ(decoded.trust_digest, TrustDigest(decoded.trust, policies));
  agent::v1::MtlsContexts swapped = Message();
  swapped.mutable_identities()->SwapElements(0, 1);
  EXPECT_EQ(DecodeContexts(swapped)->trust_digest, decoded.trust_digest);
}

TEST_F(TrustCodecTest, AnIdentityIsEncodedWhole) {
  const auto context = Context("/payments");
  const agent::v1::Identity message = EncodeIdentity(*context, "main");
  EXPECT_EQ(message.spiffe_id(), "spiffe://example.org/payments");
  EXPECT_EQ(message.hint(), "main");
  EXPECT_EQ(message.chain_size(), 2);
  EXPECT_EQ(message.rules_size(), 2);
  EXPECT_EQ(message.expires_at(), absl::ToUnixSeconds(test::kNow) + 3600);
  EXPECT_EQ(message.context_digest(), context->context_digest());
}

TEST_F(TrustCodecTest, NothingIsUsedOfAMessageWithOneMalformedEntry) {
  struct Fault {
    std::string says;
    std::function<void(agent::v1::MtlsContexts*)> make;
  };
  using M = agent::v1::MtlsContexts;
  const std::string other_key(KeyNamed("other").ToPkcs8().Reveal());
  const std::vector<Fault> table = {
      {"example.org/web", [](M* m) { m->mutable_identities(1)->set_private_key("no key"); }},
      {"but its leaf certifies",
       [&](M* m) { m->mutable_identities(1)->set_private_key(other_key); }},
      {"example.org/web", [](M* m) { m->mutable_identities(1)->set_chain(0, "no certificate"); }},
      {"has no certificate", [](M* m) { m->mutable_identities(1)->clear_chain(); }},
      {"its leaf certifies",
       [](M* m) { m->mutable_identities(1)->set_spiffe_id("spiffe://example.org/x"); }},
      {"no SPIFFE ID", [](M* m) { m->mutable_identities(1)->set_spiffe_id("web"); }},
      {"is there twice", [](M* m) { *m->add_identities() = m->identities(0); }},
      {"peer rule 0", [](M* m) { m->mutable_identities(1)->mutable_rules(0)->set_to("x"); }},
      {"certificates",
       [](M* m) {
         for (int i = 0; i < 9; ++i) {
           m->mutable_identities(0)->add_chain(m->identities(0).chain(1));
         }
       }},
      {"is there twice", [](M* m) { *m->add_trust_domains() = m->trust_domains(0); }},
      {"trust domain \"Example\"",
       [](M* m) { m->mutable_trust_domains(0)->set_trust_domain("Example"); }},
      {"anchors", [](M* m) { m->mutable_trust_domains(0)->add_anchors("no certificate"); }},
      {"issuers", [](M* m) { m->mutable_trust_domains(0)->add_issuers("no certificate"); }},
      {"no anchor", [](M* m) { m->mutable_trust_domains(0)->clear_anchors(); }},
      {"neither ENFORCE", [](M* m) { m->mutable_trust_domains(0)->clear_pins(); }},
      {"skew", [](M* m) { m->mutable_trust_domains(0)->set_skew_seconds(3601); }},
      {"skew", [](M* m) { m->mutable_trust_domains(0)->set_skew_seconds(-1); }},
      {"revocation 0", [](M* m) { m->mutable_trust_domains(0)->add_revocations(); }},
  };
  for (const Fault& fault : table) {
    agent::v1::MtlsContexts message = Message();
    fault.make(&message);
    EXPECT_THAT(DecodeContexts(message), StatusIs(kInvalid, fault.says)) << fault.says;
  }
}

TEST_F(TrustCodecTest, ErrorsNeverQuoteAKey) {
  agent::v1::MtlsContexts message = Message();
  message.mutable_identities(0)->set_private_key("hunter2 hunter2");
  EXPECT_THAT(DecodeContexts(message),
              StatusIs(kInvalid, testing::Not(testing::HasSubstr("hunter2"))));
}

TEST_F(TrustCodecTest, KeysAreWipedWhereTheyLay) {
  agent::v1::MtlsContexts message = Message();
  std::vector<std::string*> keys;
  for (auto& identity : *message.mutable_identities()) {
    keys.push_back(identity.mutable_private_key());
    ASSERT_GT(keys.back()->size(), 100u);
  }
  WipeKeys(&message);
  for (std::string* key : keys) {
    EXPECT_TRUE(key->empty());
    key->resize(100);  // what a string of this length holds where nothing was left behind
    EXPECT_EQ(*key, std::string(100, '\0'));
  }
}

TEST_F(TrustCodecTest, ACallerWithoutIdentityHasTrustAlone) {
  agent::v1::MtlsContexts message;
  message.add_selectors("unix:uid:1000");
  ASSERT_OK_AND_ASSIGN(const DecodedContexts decoded, DecodeContexts(message));
  EXPECT_TRUE(decoded.contexts.empty());
  EXPECT_EQ(decoded.trust_digest, TrustDigest({}, {}));
}

}  // namespace
}  // namespace linchpin::trust
