// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/deliver/secret_stream.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/secrets_fixture.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using agent::DeltaSecretStream;
using agent::EnvoySecret;
using agent::WholeSecretStream;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Accepted = agent::SecretStream::Accepted;
using Names = std::vector<std::string>;

const TestAuthority& Authority() {
  static const TestAuthority& authority = *new TestAuthority();
  return authority;
}

Contexts Web() { return Contexts(Authority()).Identity("/web", {"/a"}, {"/b"}); }
Contexts Renewed() { return Contexts(Authority()).Identity("/web", {"/a"}, {"/b"}, "renewed"); }
Contexts Allowed() { return Contexts(Authority()).Identity("/web", {"/a", "/c"}, {"/b"}); }
// What one without an identity is told.
std::shared_ptr<const agent::v1::MtlsContexts> Nothing() {
  return std::make_shared<const agent::v1::MtlsContexts>();
}

// A caller of StreamSecrets.
class Whole {
 public:
  absl::Status Ask(const Names& names) { return stream.Take(Request(names)); }
  absl::Status Ack(const Names& names) {
    version = last->version_info();
    return Ask(names);
  }
  absl::Status Nack(const Names& names, const std::string& why = "bad") {
    auto request = Request(names);
    request.mutable_error_detail()->set_message(why);
    return stream.Take(request);
  }
  // Names in the next response; "nothing" if there is none.
  Names Next() {
    const auto response = stream.Next();
    if (response == nullptr) return {"nothing"};
    last = response;
    nonce = response->nonce();
    Names names;
    for (const google::protobuf::Any& any : response->resources()) {
      EnvoySecret secret;
      EXPECT_TRUE(any.UnpackTo(&secret));
      names.push_back(secret.name());
    }
    return names;
  }

  WholeSecretStream::Request Request(const Names& names) const {
    WholeSecretStream::Request request;
    *request.mutable_resource_names() = {names.begin(), names.end()};
    request.set_type_url(agent::kSecretType);
    request.set_response_nonce(nonce);
    request.set_version_info(version);
    return request;
  }

  WholeSecretStream stream{"stream", trust::BundleKind::kPinned};
  std::shared_ptr<const WholeSecretStream::Response> last;
  std::string nonce;
  std::string version;
};

const Names kSilence = {"nothing"};

TEST(WholeSecretStream, AnswersWhenThereAreSecretsAndWhenTheyChange) {
  Whole caller;
  EXPECT_EQ(caller.Next(), kSilence);
  ASSERT_THAT(caller.Ask({"default"}), IsOk());
  EXPECT_EQ(caller.Next(), kSilence);
  caller.stream.Use(kNow, Nothing());
  EXPECT_EQ(caller.Next(), kSilence);
  caller.stream.Use(kNow, Web().Share());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  EXPECT_EQ(caller.Next(), kSilence);
  const auto first = caller.last;
  ASSERT_THAT(caller.Ack({"default"}), IsOk());
  EXPECT_EQ(caller.Next(), kSilence);
  caller.stream.Use(kNow, Web().Epoch(2).Share());
  caller.stream.Use(kNow, Allowed().Share());
  EXPECT_EQ(caller.Next(), kSilence) << "nothing of this secret changed";
  caller.stream.Use(kNow, Renewed().Share());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  EXPECT_NE(caller.last->version_info(), first->version_info());
  EXPECT_NE(caller.last->nonce(), first->nonce());
  EXPECT_EQ(caller.last->type_url(), agent::kSecretType);
}

TEST(WholeSecretStream, WhatIsSentIsWhatHoldsWhenItIsWritten) {
  Whole caller;
  ASSERT_THAT(caller.Ask({"default"}), IsOk());
  caller.stream.Use(kNow, Web().Share());
  caller.stream.Use(kNow, Renewed().Share());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  EXPECT_EQ(caller.Next(), kSilence);
}

TEST(WholeSecretStream, OtherNamesAreAnsweredAtOnce) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"default"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  ASSERT_THAT(caller.Ack({"default", "ROOTCA"}), IsOk());
  EXPECT_THAT(caller.Next(), UnorderedElementsAre("default", "ROOTCA"));
  ASSERT_THAT(caller.Ack({"ROOTCA", "default", "ROOTCA"}), IsOk());
  EXPECT_EQ(caller.Next(), kSilence) << "the same names in another order";
  ASSERT_THAT(caller.Ask({"ROOTCA"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("ROOTCA"));
  ASSERT_THAT(caller.Ack({"ROOTCA"}), IsOk());
  EXPECT_EQ(caller.Next(), kSilence);
}

TEST(WholeSecretStream, AnUnknownNameIsLeftOutUntilItAppears) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"default", "spiffe://example.org/other", "junk"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  caller.stream.Use(kNow, Web().Identity("/other").Share());
  EXPECT_THAT(caller.Next(), ElementsAre("default", "spiffe://example.org/other"));
  Whole stranger;
  stranger.stream.Use(kNow, Web().Share());
  ASSERT_THAT(stranger.Ask({"junk"}), IsOk());
  EXPECT_EQ(stranger.Next(), kSilence);
}

TEST(WholeSecretStream, WithoutNamesEverythingIsMeantUntilThereWereNames) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({}), IsOk());
  EXPECT_THAT(caller.Next(),
              UnorderedElementsAre("spiffe://example.org/web", "spiffe://example.org",
                                   "peers:inbound", "peers:outbound"));
  ASSERT_THAT(caller.Ack({}), IsOk());
  EXPECT_EQ(caller.Next(), kSilence);
  caller.stream.Use(kNow, Web().Identity("/other").Share());
  EXPECT_THAT(caller.Next(), ::testing::Contains("spiffe://example.org/other"));
  ASSERT_THAT(caller.Ack({"default"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  ASSERT_THAT(caller.Ack({}), IsOk());
  EXPECT_EQ(caller.Next(), kSilence);
}

TEST(WholeSecretStream, AWildcardThatWasNamedIsGivenUpByNamingNothing) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"*"}), IsOk());
  EXPECT_THAT(caller.Next(), ::testing::SizeIs(4));
  ASSERT_THAT(caller.Ack({}), IsOk());
  EXPECT_FALSE(caller.stream.HoldsTrust());
  caller.stream.Use(kNow, Renewed().Share());
  EXPECT_EQ(caller.Next(), kSilence);
}

Names Numbered(int from, int count) {
  Names names;
  for (int i = from; i < from + count; ++i) names.push_back(absl::StrCat("name ", i));
  return names;
}

TEST(WholeSecretStream, NamesThatAreNotAskedForAnyMoreAreForgottenAlsoUnderAWildcard) {
  for (const bool served : {false, true}) {
    Whole caller;
    if (served) caller.stream.Use(kNow, Web().Share());
    for (int i = 0; i < 100; ++i) {
      Names names = Numbered(1000 * i, 1000);
      names.push_back("*");
      ASSERT_THAT(caller.Ask(names), IsOk());
      caller.Next();
      EXPECT_LE(caller.stream.size(), 1000 + 4);
    }
    ASSERT_THAT(caller.Ask({"*"}), IsOk());
    EXPECT_EQ(caller.stream.size(), served ? 4 : 0);
  }
}

TEST(WholeSecretStream, WhoseDefaultIsWithdrawnKeepsItsRulesAndIsNotGivenAnother) {
  const auto two = Contexts(Authority()).Identity("/web", {"/a"}).Identity("/metrics", {"/m"});
  const auto metrics = Contexts(Authority()).Identity("/metrics", {"/m"}).Epoch(2);
  const auto peer = [](const Whole& of) {
    EnvoySecret secret;
    EXPECT_TRUE(of.last->resources(of.last->resources_size() - 1).UnpackTo(&secret));
    return secret.validation_context().match_typed_subject_alt_names(0).matcher().exact();
  };
  Whole caller;
  caller.stream.Use(kNow, two.Share());
  ASSERT_THAT(caller.Ask({"default", "peers:inbound"}), IsOk());
  EXPECT_THAT(caller.Next(), UnorderedElementsAre("default", "peers:inbound"));
  ASSERT_THAT(caller.Ack({"default", "peers:inbound"}), IsOk());
  for (int i = 0; i < 2; ++i) {
    caller.stream.Use(kNow, metrics.Share());
    EXPECT_THAT(caller.Next(), ::testing::AnyOf(ElementsAre("peers:inbound"), kSilence));
    EXPECT_EQ(peer(caller), "spiffe://example.org/a");
  }
  caller.stream.Use(kNow, two.Share());
  EXPECT_THAT(caller.Next(), UnorderedElementsAre("default", "peers:inbound"));
  // An identity is there that was registered before: the default stays.
  caller.stream.Use(
      kNow, Contexts(Authority()).Identity("/early", {"/e"}).Identity("/web", {"/a"}).Share());
  EXPECT_EQ(caller.Next(), kSilence);
  // One who names whom he means is served for each.
  Whole other;
  other.stream.Use(kNow, two.Share());
  ASSERT_THAT(other.Ask({"peers:inbound:spiffe://example.org/metrics"}), IsOk());
  other.Next();
  EXPECT_EQ(peer(other), "spiffe://example.org/m");
}

TEST(WholeSecretStream, AReturnToOlderContentsIsAcceptedOnlyWhenItIsAnswered) {
  Whole caller;
  const Names names = {"peers:inbound"};
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask(names), IsOk());
  caller.Next();
  ASSERT_THAT(caller.Ack(names), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), (Accepted{1, "digest 1"}));
  caller.stream.Use(kNow, Allowed().Epoch(2).Share());
  EXPECT_EQ(caller.Next(), names);
  caller.stream.Use(kNow, Web().Epoch(3).Share());
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt) << "he may have the second";
  EXPECT_EQ(caller.Next(), names);
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  ASSERT_THAT(caller.Ack(names), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), (Accepted{3, "digest 3"}));
}

TEST(WholeSecretStream, ARequestThatCrossedAResponseIsIgnored) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"default"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  const auto late = caller.Request({"ROOTCA"});
  caller.stream.Use(kNow, Renewed().Share());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  ASSERT_THAT(caller.stream.Take(late), IsOk());
  EXPECT_EQ(caller.Next(), kSilence);
  ASSERT_THAT(caller.Ack({"ROOTCA"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("ROOTCA"));
}

TEST(WholeSecretStream, WhatWasRefusedIsNotSentAgainAndSaidOnce) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"default"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  ASSERT_THAT(caller.Nack({"default"}, "no\ngood" + std::string(10000, 'x')), IsOk());
  EXPECT_EQ(caller.Next(), kSilence);
  const std::optional<std::string> why = caller.stream.TakeRefusal();
  ASSERT_TRUE(why.has_value());
  EXPECT_THAT(*why, HasSubstr("no\\n"));
  EXPECT_LT(why->size(), 1000);
  for (int i = 0; i < 100; ++i) {
    ASSERT_THAT(caller.Nack({"default"}), IsOk());
    EXPECT_EQ(caller.Next(), kSilence);
    EXPECT_EQ(caller.stream.TakeRefusal(), std::nullopt);
  }
  ASSERT_THAT(caller.Nack({"default", "ROOTCA"}), IsOk());
  EXPECT_THAT(caller.Next(), UnorderedElementsAre("default", "ROOTCA"));
  caller.stream.Use(kNow, Renewed().Share());
  EXPECT_THAT(caller.Next(), UnorderedElementsAre("default", "ROOTCA"));
}

TEST(WholeSecretStream, SaysByWhichSecretsItsPeersAreJudged) {
  const auto carries = [](const std::vector<std::string>& names) {
    Whole caller;
    caller.stream.Use(kNow, Web().Share());
    EXPECT_THAT(caller.Ask(names), IsOk());
    return caller.stream.Carries();
  };
  EXPECT_EQ(carries({"default"}), "");
  EXPECT_NE(carries({"peers:inbound"}), "");
  EXPECT_EQ(carries({"peers:inbound", "default"}), carries({"peers:inbound"}));
  EXPECT_NE(carries({"peers:inbound"}), carries({"peers:outbound"}));
}

TEST(WholeSecretStream, TrustIsAcceptedOnceTheWholeOfItIs) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  EXPECT_FALSE(caller.stream.HoldsTrust());
  ASSERT_THAT(caller.Ask({"default", "peers:inbound"}), IsOk());
  EXPECT_TRUE(caller.stream.HoldsTrust());
  EXPECT_THAT(caller.Next(), UnorderedElementsAre("default", "peers:inbound"));
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  ASSERT_THAT(caller.Ack({"default", "peers:inbound"}), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), (Accepted{1, "digest 1"}));
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt) << "it is news once";
  // A renewal is no news; a new epoch with the same contents is, without a word of the caller.
  caller.stream.Use(kNow, Renewed().Share());
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  caller.stream.Use(kNow, Renewed().Epoch(2).Share());
  EXPECT_EQ(caller.stream.TakeAccepted(), (Accepted{2, "digest 2"}));
  // Other contents must be accepted first.
  caller.stream.Use(kNow, Allowed().Epoch(3).Share());
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  caller.Next();
  ASSERT_THAT(caller.Nack({"default", "peers:inbound"}), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  ASSERT_THAT(caller.Ask({"peers:inbound"}), IsOk()) << "other names, still at the old version";
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  caller.Next();
  ASSERT_THAT(caller.Ack({"peers:inbound"}), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), (Accepted{3, "digest 3"}));
}

TEST(WholeSecretStream, WhatWasReplacedMeanwhileMustBeAcceptedAgain) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"peers:inbound"}), IsOk());
  caller.Next();
  ASSERT_THAT(caller.Ack({"peers:inbound"}), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), (Accepted{1, "digest 1"}));
  caller.stream.Use(kNow, Allowed().Epoch(2).Share());
  caller.Next();  // which the caller may hold before anybody hears of it
  caller.stream.Use(kNow, Web().Epoch(3).Share());
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  EXPECT_THAT(caller.Next(), ElementsAre("peers:inbound"));
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  ASSERT_THAT(caller.Ack({"peers:inbound"}), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), (Accepted{3, "digest 3"}));
}

TEST(WholeSecretStream, ACertificateAloneIsNoTrust) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"default", "junk", "spiffe://other.org"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  ASSERT_THAT(caller.Ack({"default", "junk", "spiffe://other.org"}), IsOk());
  EXPECT_FALSE(caller.stream.HoldsTrust());
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
}

TEST(WholeSecretStream, WhatIsTooMuchOrOfAnotherTypeEndsIt) {
  Whole caller;
  Names many;
  for (int i = 0; i < 10000; ++i) many.push_back(absl::StrCat("name ", i));
  EXPECT_THAT(caller.Ask(many),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 1024")));
  EXPECT_THAT(caller.Ask({std::string(5000, 'x')}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("5000 bytes; at most")));
  many.clear();
  for (int i = 0; i < 40; ++i) many.push_back(absl::StrCat(i, std::string(2000, 'x')));
  EXPECT_THAT(caller.Ask(many),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("with 65536 are allowed")));
  auto request = caller.Request({"default"});
  request.set_type_url("type.googleapis.com/envoy.config.cluster.v3.Cluster");
  EXPECT_THAT(caller.stream.Take(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("Cluster")));
}

TEST(WholeSecretStream, TheNodeDecidesTheStyleAndNeedNotBeRepeated) {
  Whole caller;
  caller.stream.Use(kNow, Web().Share());
  auto request = caller.Request({"ROOTCA"});
  auto& version = *request.mutable_node()->mutable_user_agent_build_version()->mutable_version();
  version.set_major_number(1);
  version.set_minor_number(40);
  ASSERT_THAT(caller.stream.Take(request), IsOk());
  const auto custom = [&caller] {
    EnvoySecret secret;
    EXPECT_TRUE(caller.last->resources(0).UnpackTo(&secret));
    return secret.validation_context().has_custom_validator_config();
  };
  EXPECT_THAT(caller.Next(), ElementsAre("ROOTCA"));
  EXPECT_TRUE(custom());
  ASSERT_THAT(caller.Ack({"ROOTCA", "default"}), IsOk());
  caller.Next();
  EXPECT_TRUE(custom());
}

// A caller of DeltaSecrets.
class Delta {
 public:
  absl::Status Ask(const Names& subscribe, const Names& unsubscribe = {}) {
    DeltaSecretStream::Request request;
    *request.mutable_resource_names_subscribe() = {subscribe.begin(), subscribe.end()};
    *request.mutable_resource_names_unsubscribe() = {unsubscribe.begin(), unsubscribe.end()};
    return stream.Take(request);
  }
  absl::Status Answer(const std::string& nonce, const std::string& refusal = "") {
    DeltaSecretStream::Request request;
    request.set_type_url(agent::kSecretType);
    request.set_response_nonce(nonce);
    if (!refusal.empty()) request.mutable_error_detail()->set_message(refusal);
    return stream.Take(request);
  }
  // Names that were changed, then removed ones with a minus.
  Names Next() {
    const auto response = stream.Next();
    if (response == nullptr) return kSilence;
    last = response;
    Names names;
    for (const auto& one : response->resources()) {
      EnvoySecret secret;
      EXPECT_TRUE(one.resource().UnpackTo(&secret));
      EXPECT_EQ(secret.name(), one.name());
      names.push_back(secret.name());
    }
    for (const std::string& name : response->removed_resources()) names.push_back("-" + name);
    return names;
  }

  DeltaSecretStream stream{"stream", trust::BundleKind::kPinned};
  std::shared_ptr<const DeltaSecretStream::Response> last;
};

TEST(DeltaSecretStream, SendsWhatChanged) {
  Delta caller;
  ASSERT_THAT(caller.Ask({"default", "ROOTCA"}), IsOk());
  caller.stream.Use(kNow, Nothing());
  EXPECT_EQ(caller.Next(), kSilence) << "one without an identity waits";
  caller.stream.Use(kNow, Web().Share());
  EXPECT_THAT(caller.Next(), UnorderedElementsAre("default", "ROOTCA"));
  EXPECT_EQ(caller.Next(), kSilence);
  caller.stream.Use(kNow, Renewed().Share());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  ASSERT_THAT(caller.Ask({"peers:inbound"}, {"default"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("peers:inbound"));
  caller.stream.Use(kNow, Web().Share());
  EXPECT_EQ(caller.Next(), kSilence) << "default was given up";
  ASSERT_THAT(caller.Ask({"ROOTCA"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("ROOTCA")) << "who asks again is told again";
}

TEST(DeltaSecretStream, AnUnknownNameIsSaidOnceToBeAbsent) {
  Delta caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"default", "spiffe://example.org/other"}), IsOk());
  EXPECT_THAT(caller.Next(), ElementsAre("default", "-spiffe://example.org/other"));
  caller.stream.Use(kNow, Renewed().Share());
  EXPECT_THAT(caller.Next(), ElementsAre("default"));
  caller.stream.Use(kNow, Renewed().Identity("/other").Share());
  EXPECT_THAT(caller.Next(), ElementsAre("spiffe://example.org/other"));
  caller.stream.Use(kNow, Renewed().Share());
  EXPECT_THAT(caller.Next(), ElementsAre("-spiffe://example.org/other"));
}

TEST(DeltaSecretStream, WhoComesBackIsSentWhatHeHasNot) {
  Delta before;
  before.stream.Use(kNow, Web().Share());
  ASSERT_THAT(before.Ask({"default", "ROOTCA"}), IsOk());
  before.Next();
  DeltaSecretStream::Request request;
  for (const auto& one : before.last->resources()) {
    request.add_resource_names_subscribe(one.name());
    (*request.mutable_initial_resource_versions())[one.name()] = one.version();
  }
  Delta after;
  ASSERT_THAT(after.stream.Take(request), IsOk());
  after.stream.Use(kNow, Renewed().Share());
  EXPECT_THAT(after.Next(), ElementsAre("default"));
  EXPECT_EQ(after.stream.TakeAccepted(), (Accepted{1, "digest 1"}));
}

TEST(DeltaSecretStream, WhoComesBackForEverythingIsSentWhatHeHasNotAndToldWhatHasVanished) {
  Delta before;
  before.stream.Use(kNow, Web().Identity("/other").Share());
  ASSERT_THAT(before.Ask({}), IsOk());
  before.Next();
  DeltaSecretStream::Request request;
  for (const auto& one : before.last->resources()) {
    (*request.mutable_initial_resource_versions())[one.name()] = one.version();
  }
  for (const bool early : {true, false}) {
    Delta after;
    if (early) after.stream.Use(kNow, Renewed().Share());
    ASSERT_THAT(after.stream.Take(request), IsOk());
    if (!early) after.stream.Use(kNow, Renewed().Share());
    EXPECT_THAT(after.Next(),
                ElementsAre("spiffe://example.org/web", "-spiffe://example.org/other"));
    EXPECT_EQ(after.stream.TakeAccepted(), (Accepted{1, "digest 1"}));
    EXPECT_EQ(after.Next(), kSilence);
  }
  for (int i = 0; i < 2000; ++i) {
    (*request.mutable_initial_resource_versions())[absl::StrCat("name ", i)] = "1";
  }
  Delta many;
  EXPECT_THAT(many.stream.Take(request), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(DeltaSecretStream, TrustThatIsNoMoreIsNotAcceptedAndNotForgotten) {
  Delta caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"ROOTCA"}), IsOk());
  caller.Next();
  ASSERT_THAT(caller.Answer(caller.last->nonce()), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), (Accepted{1, "digest 1"}));
  Contexts gone = Web().Epoch(2);
  gone.message.clear_trust_domains();
  for (int i = 0; i < 2; ++i) {
    caller.stream.Use(kNow, gone.Share());
    caller.Next();
    EXPECT_TRUE(caller.stream.HoldsTrust()) << "he enforces it still";
    EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  }
  ASSERT_THAT(caller.Ask({}, {"ROOTCA"}), IsOk());
  EXPECT_FALSE(caller.stream.HoldsTrust());
}

TEST(DeltaSecretStream, NamesThatWereGivenUpAreForgottenAlsoUnderAWildcard) {
  for (const bool served : {false, true}) {
    Delta caller;
    if (served) caller.stream.Use(kNow, Web().Share());
    ASSERT_THAT(caller.Ask({"*"}), IsOk());
    for (int i = 0; i < 20; ++i) {
      const Names names = Numbered(1000 * i, 1000);
      ASSERT_THAT(caller.Ask(names), IsOk());
      EXPECT_LE(caller.stream.size(), 1000 + 4);
      ASSERT_THAT(caller.Ask({}, names), IsOk());
      EXPECT_EQ(caller.stream.size(), served ? 4 : 0);
    }
    const Names many = Numbered(0, 1025);
    EXPECT_THAT(caller.Ask(many, many),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 1024")));
    const std::string large(5000, 'x');
    EXPECT_THAT(caller.Ask({large}, {large}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("5000 bytes")));
  }
}

TEST(DeltaSecretStream, EachResponseIsAcceptedOrRefusedByItself) {
  Delta caller;
  caller.stream.Use(kNow, Web().Share());
  ASSERT_THAT(caller.Ask({"ROOTCA", "peers:inbound"}), IsOk());
  caller.Next();
  const auto first = caller.last;
  caller.stream.Use(kNow, Allowed().Epoch(2).Share());
  EXPECT_THAT(caller.Next(), ElementsAre("peers:inbound"));
  const auto second = caller.last;
  ASSERT_THAT(caller.Answer(first->nonce()), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  ASSERT_THAT(caller.Answer(second->nonce(), "bad"), IsOk());
  EXPECT_EQ(caller.stream.TakeRefusal(), "\"bad\"");
  EXPECT_EQ(caller.stream.TakeAccepted(), std::nullopt);
  EXPECT_EQ(caller.Next(), kSilence);
  ASSERT_THAT(caller.Answer("of another", "bad"), IsOk());
  EXPECT_EQ(caller.stream.TakeRefusal(), std::nullopt);
  caller.stream.Use(kNow, Web().Epoch(3).Share());
  EXPECT_THAT(caller.Next(), ElementsAre("peers:inbound"));
  ASSERT_THAT(caller.Answer(caller.last->nonce()), IsOk());
  EXPECT_EQ(caller.stream.TakeAccepted(), (Accepted{3, "digest 3"}));
}

TEST(DeltaSecretStream, WithoutNamesEverythingIsMeant) {
  for (const Names& names : {Names{}, Names{"*"}}) {
    Delta caller;
    caller.stream.Use(kNow, Web().Share());
    ASSERT_THAT(caller.Ask(names), IsOk());
    EXPECT_THAT(caller.Next(),
                UnorderedElementsAre("spiffe://example.org/web", "spiffe://example.org",
                                     "peers:inbound", "peers:outbound"));
    caller.stream.Use(kNow, Web().Identity("/other").Share());
    EXPECT_THAT(caller.Next(), ElementsAre("spiffe://example.org/other"));
    caller.stream.Use(kNow, Web().Share());
    EXPECT_THAT(caller.Next(), ElementsAre("-spiffe://example.org/other"));
    ASSERT_THAT(caller.Ask({"default"}, {"*"}), IsOk());
    EXPECT_THAT(caller.Next(), ElementsAre("default"));
    caller.stream.Use(kNow, Allowed().Share());
    EXPECT_EQ(caller.Next(), kSilence);
  }
}

TEST(DeltaSecretStream, NamesAddUpToALimit) {
  Delta caller;
  for (int i = 0; i < 1024; ++i) ASSERT_THAT(caller.Ask({absl::StrCat("name ", i)}), IsOk());
  EXPECT_THAT(caller.Ask({"one more"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 1024")));
  EXPECT_THAT(caller.Ask({"one more"}, {"name 0"}), IsOk());
}

}  // namespace
}  // namespace linchpin::test
