// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a process of the node says to the agent in the APIs of others.

#include <memory>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "agent/deliver/secret_stream.h"
#include "tests/agent/secrets_fixture.h"
#include "tests/fuzz/parsers.h"

namespace linchpin::fuzz {
namespace {

constexpr int kMostSteps = 64;
constexpr size_t kMostBeside = 64;  // names that nobody asked for, of what the caller has

// By the bits of `number`: 1 an identity, 2 another, 4 a caller allowed, 8 a callee, 16 pins that
// have expired and say so, 32 no twin.
std::shared_ptr<const agent::v1::MtlsContexts> ContextsOf(uint32_t number) {
  static const test::TestAuthority& authority = *new test::TestAuthority();
  test::Contexts contexts(authority);
  using Peers = std::vector<std::string>;
  const Peers from = (number & 4) != 0 ? Peers{"/caller"} : Peers();
  const Peers to = (number & 8) != 0 ? Peers{"/callee"} : Peers();
  if ((number & 1) != 0) contexts.Identity("/web", from, to);
  if ((number & 2) != 0) contexts.Identity("/other", from, to);
  agent::v1::TrustDomainContext& domain = *contexts.message.mutable_trust_domains(0);
  if ((number & 16) != 0) {
    domain.mutable_pins()->set_expires_at(1);
    domain.mutable_pins()->set_expired(true);
    domain.mutable_pins()->set_on_expiry(trust::v1::PinSet::FAIL_CLOSED);
  }
  if ((number & 32) != 0) domain.clear_twins();
  contexts.Epoch(1 + number);
  return contexts.Share();
}

void CheckSecret(const google::protobuf::Any& any) {
  agent::EnvoySecret secret;
  Require(any.UnpackTo(&secret), "a resource is a secret");
  if (absl::StartsWith(secret.name(), "peers:")) {
    Require(secret.validation_context().match_typed_subject_alt_names_size() > 0,
            "without a matcher everybody would be let in");
  }
  if (secret.has_validation_context()) {
    Require(secret.validation_context().has_trusted_ca() ||
                secret.validation_context().has_custom_validator_config(),
            "without an anchor Envoy verifies nobody");
  }
}

const google::protobuf::Any& SecretIn(const google::protobuf::Any& resource) { return resource; }
const google::protobuf::Any& SecretIn(const envoy::service::discovery::v3::Resource& resource) {
  return resource.resource();
}

template <typename Stream>
class Dialogue {
 public:
  void Use(std::shared_ptr<const agent::v1::MtlsContexts> contexts) {
    if (over_) return;
    stream_.Use(test::kNow, std::move(contexts));
    Hear();
  }
  // The nonce "last" stands for the one that was sent last.
  void Say(typename Stream::Request request) {
    if (over_) return;
    if (request.response_nonce() == "last") request.set_response_nonce(nonce_);
    over_ = !stream_.Take(request).ok();
    if (!over_) Hear();
  }

 private:
  void Hear() {
    Require(stream_.size() <= Stream::kMaxNames + kMostBeside, "names are bounded");
    Require(stream_.HoldsTrust() || !stream_.TakeAccepted().has_value(),
            "no trust is accepted that is not carried");
    for (int i = 0; const auto response = stream_.Next(); ++i) {
      Require(i < 2, "what is said once is not said again");
      Require(nonces_.insert(response->nonce()).second, "a nonce is used once");
      nonce_ = response->nonce();
      for (const auto& resource : response->resources()) CheckSecret(SecretIn(resource));
    }
    if (const auto why = stream_.TakeRefusal()) {
      Require(why->size() < 2000, "what is logged is short");
    }
  }
  Stream stream_{"fuzz", trust::BundleKind::kPinned};
  std::string nonce_;
  std::set<std::string> nonces_;
  bool over_ = false;
};

}  // namespace

void SecretDialogue(const DialogueCase& said) {
  if (said.steps_size() > kMostSteps) return;
  Dialogue<agent::WholeSecretStream> whole;
  Dialogue<agent::DeltaSecretStream> delta;
  for (const DialogueCase::Step& step : said.steps()) {
    if (step.has_whole()) whole.Say(step.whole());
    if (step.has_delta()) delta.Say(step.delta());
    if (step.has_contexts()) {
      whole.Use(ContextsOf(step.contexts()));
      delta.Use(ContextsOf(step.contexts()));
    }
  }
}

}  // namespace linchpin::fuzz
