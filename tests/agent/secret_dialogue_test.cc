// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Callers that keep the rules, over connections on which everything crosses: whatever the order,
// they end with what holds, and what is said to be accepted they hold in that moment.

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "agent/deliver/secret_stream.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/secrets_fixture.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using agent::DeltaSecretStream;
using agent::EnvoySecrets;
using agent::WholeSecretStream;

constexpr char kOther[] = "spiffe://example.org/other";

const TestAuthority& Authority() {
  static const TestAuthority& authority = *new TestAuthority();
  return authority;
}

class WholeCaller {
 public:
  using Stream = WholeSecretStream;
  Stream::Request Want(std::set<std::string> names) {
    wanted = std::move(names);
    return Request();
  }
  Stream::Request Take(const Stream::Response& response, bool refuse) {
    nonce_ = response.nonce();
    if (!refuse) {
      version_ = response.version_info();
      for (const google::protobuf::Any& any : response.resources()) Hold(any);
    }
    Stream::Request request = Request();
    if (refuse) request.mutable_error_detail()->set_message("no");
    return request;
  }
  // What the stream knows to be wanted once it has taken the request.
  static void Tell(const Stream::Request& request, const std::string& last_nonce,
                   std::set<std::string>* known) {
    if (!last_nonce.empty() && request.response_nonce() != last_nonce) return;  // it crossed
    *known = {request.resource_names().begin(), request.resource_names().end()};
  }
  std::set<std::string> wanted;
  std::map<std::string, std::string> held;  // serialized

 private:
  void Hold(const google::protobuf::Any& any) {
    agent::EnvoySecret secret;
    ASSERT_TRUE(any.UnpackTo(&secret));
    held[secret.name()] = any.value();
  }
  Stream::Request Request() const {
    Stream::Request request;
    *request.mutable_resource_names() = {wanted.begin(), wanted.end()};
    request.set_response_nonce(nonce_);
    request.set_version_info(version_);
    return request;
  }
  std::string nonce_;
  std::string version_;
};

class DeltaCaller {
 public:
  using Stream = DeltaSecretStream;
  Stream::Request Want(std::set<std::string> names) {
    Stream::Request request;
    for (const std::string& name : names) {
      if (!wanted.contains(name)) request.add_resource_names_subscribe(name);
    }
    for (const std::string& name : wanted) {
      if (!names.contains(name)) request.add_resource_names_unsubscribe(name);
    }
    wanted = std::move(names);
    return request;
  }
  Stream::Request Take(const Stream::Response& response, bool refuse) {
    Stream::Request request;
    request.set_response_nonce(response.nonce());
    if (refuse) {
      request.mutable_error_detail()->set_message("no");
      return request;
    }
    for (const auto& one : response.resources()) held[one.name()] = one.resource().value();
    for (const std::string& name : response.removed_resources()) held.erase(name);
    return request;
  }
  static void Tell(const Stream::Request& request, const std::string&,
                   std::set<std::string>* known) {
    known->insert(request.resource_names_subscribe().begin(),
                  request.resource_names_subscribe().end());
    for (const std::string& name : request.resource_names_unsubscribe()) known->erase(name);
  }
  std::set<std::string> wanted;
  std::map<std::string, std::string> held;
};

template <typename Caller>
class Dialogue {
 public:
  // Every other caller refuses some responses; what was refused is not sent again.
  explicit Dialogue(uint32_t seed) : random_(seed), refuses_(seed % 2 == 0) {
    requests_.push_back(caller_.Want({"default", "ROOTCA"}));
  }

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) Step();
  }

  // Nothing changes any more, and everything arrives.
  void Settle() {
    Change();
    while (!requests_.empty() || !responses_.empty() || Write()) {
      if (!requests_.empty()) Read();
      if (!responses_.empty()) Receive();
    }
    if (refuses_) return;
    const EnvoySecrets now(contexts_, {}, {.now = kNow});
    bool trust = false;
    for (const std::string& name : caller_.wanted) {
      const auto known = now.Look(name);
      if (!known.has_value()) continue;
      trust = trust || known->is_trust;
      EXPECT_EQ(caller_.held[name], now.Render(name).SerializeAsString()) << name;
    }
    EXPECT_EQ(trust, stream_.HoldsTrust());
    if (trust) {
      EXPECT_EQ(accepted_, contexts_->trust_epoch());
    }
  }

 private:
  bool Chance(int of) { return random_() % of == 0; }

  void Step() {
    switch (random_() % 5) {
      case 0:
        if (Chance(3)) Change();
        break;
      case 1:
        if (Chance(3)) Want();
        break;
      case 2:
        if (!requests_.empty()) Read();
        break;
      case 3:
        if (responses_.size() < 3) Write();
        break;
      default:
        if (!responses_.empty()) Receive();
    }
  }
  void Change() {
    Contexts contexts(Authority());
    contexts.Epoch(++epoch_).Identity("/web", Chance(2) ? Names{"/a"} : Names{}, {"/b"},
                                      Chance(2) ? "key" : "renewed");
    if (Chance(2)) contexts.Identity("/other");
    contexts_ = contexts.Share();
    stream_.Use(kNow, contexts_);
    Hear();
  }
  void Want() {
    std::set<std::string> names;
    for (const char* name : {"default", "ROOTCA", "peers:inbound", kOther, "junk"}) {
      if (Chance(2)) names.insert(name);
    }
    if (names.empty()) names.insert("default");  // none would be everything, at first
    requests_.push_back(caller_.Want(names));
  }
  void Read() {
    ASSERT_THAT(stream_.Take(requests_.front()), IsOk());
    Caller::Tell(requests_.front(), last_nonce_, &known_wanted_);
    requests_.pop_front();
    Hear();
  }
  bool Write() {
    const auto response = stream_.Next();
    if (response == nullptr) return false;
    responses_.push_back(*response);
    last_nonce_ = response->nonce();
    Hear();
    return true;
  }
  void Receive() {
    requests_.push_back(caller_.Take(responses_.front(), refuses_ && Chance(4)));
    responses_.pop_front();
  }
  void Hear() {
    const auto accepted = stream_.TakeAccepted();
    if (!accepted.has_value()) return;
    accepted_ = accepted->epoch;
    EXPECT_EQ(accepted->epoch, contexts_->trust_epoch());
    const EnvoySecrets now(contexts_, {}, {.now = kNow});
    for (const auto& [name, secret] : caller_.held) {
      // One that it does not want it may hold as it was.
      if (!caller_.wanted.contains(name) || !known_wanted_.contains(name)) continue;
      const auto known = now.Look(name);
      if (known.has_value() && known->is_trust) {
        EXPECT_EQ(secret, now.Render(name).SerializeAsString()) << name;
      }
    }
  }

  using Names = std::vector<std::string>;
  std::mt19937 random_;
  const bool refuses_;
  Caller caller_;
  typename Caller::Stream stream_{"stream", trust::BundleKind::kPinned};
  std::deque<typename Caller::Stream::Request> requests_;
  std::deque<typename Caller::Stream::Response> responses_;
  std::shared_ptr<const agent::v1::MtlsContexts> contexts_;
  std::string last_nonce_;
  std::set<std::string> known_wanted_;
  uint64_t epoch_ = 0;
  uint64_t accepted_ = 0;
};

template <typename Caller>
class SecretDialogue : public ::testing::Test {};
using Callers = ::testing::Types<WholeCaller, DeltaCaller>;
TYPED_TEST_SUITE(SecretDialogue, Callers);

TYPED_TEST(SecretDialogue, EndsWithWhatHoldsWhateverCrosses) {
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Dialogue<TypeParam> dialogue(seed);
    dialogue.Run(200);
    dialogue.Settle();
    if (this->HasFailure()) return;
  }
}

}  // namespace
}  // namespace linchpin::test
