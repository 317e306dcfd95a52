// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "ca/attest/kubernetes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kube/json.h"
#include "tests/support/status_matchers.h"

namespace linchpin::ca {
namespace {

using absl::StatusCode;
using kube::Json;
using test::StatusIs;

const KubernetesVerifier::Options kOptions = {.cluster = "prod",
                                              .audience = "linchpin-ca",
                                              .agent_namespace = "linchpin",
                                              .agent_account = "linchpin-agent"};

std::string TokenOf(const Json& claims) {
  return absl::StrCat("e30.", absl::WebSafeBase64Escape(claims.dump()), ".c2ln");
}

Json GoodClaims() {
  return {{"aud", {"linchpin-ca"}}, {"sub", "system:serviceaccount:linchpin:linchpin-agent"}};
}

std::string Review(const std::string& account = "linchpin-agent") {
  return kube::Dump({{"status",
                      {{"authenticated", true},
                       {"audiences", {"linchpin-ca"}},
                       {"user",
                        {{"username", "system:serviceaccount:linchpin:" + account},
                         {"extra",
                          {{"authentication.kubernetes.io/node-name", {"node1"}},
                           {"authentication.kubernetes.io/node-uid", {"n-1"}},
                           {"authentication.kubernetes.io/pod-name", {"agent-x"}},
                           {"authentication.kubernetes.io/pod-uid", {"p-1"}}}}}}}}});
}

// Answers every call with the same.
class FixedApi final : public kube::Api {
 public:
  explicit FixedApi(absl::StatusOr<std::string> answer, int* calls)
      : answer_(std::move(answer)), calls_(calls) {}
  absl::StatusOr<std::string> Call(const kube::Request& request) override {
    ++*calls_;
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/apis/authentication.k8s.io/v1/tokenreviews");
    return answer_;
  }
  absl::Status Stream(const std::string&, absl::Duration,
                      const std::function<bool(absl::string_view)>&,
                      const std::function<bool()>&) override {
    return absl::UnimplementedError("nobody watches");
  }

 private:
  const absl::StatusOr<std::string> answer_;
  int* const calls_;
};

struct Verdict {
  absl::StatusOr<NodeClaim> claim;
  int calls = 0;  // of the API server
};

Verdict Verify(const std::string& token, absl::StatusOr<std::string> answer = Review(),
               const std::string& cluster = "prod") {
  v1::AttestRequest request;
  request.mutable_kubernetes()->set_cluster(cluster);
  request.mutable_kubernetes()->set_token(token);
  Verdict verdict{.claim = absl::UnknownError("not answered")};
  KubernetesVerifier verifier(kOptions,
                              std::make_unique<FixedApi>(std::move(answer), &verdict.calls));
  EXPECT_TRUE(verifier.Handles(request));
  base::Mutex mutex;
  base::CondVar changed;
  bool done = false;
  verifier.Verify(request, [&](absl::StatusOr<NodeClaim> claim) {
    base::MutexLock lock(mutex);
    verdict.claim = std::move(claim);
    done = true;
    changed.notify_all();
  });
  base::MutexLock lock(mutex);
  changed.wait(lock, [&] { return done; });
  return verdict;
}

TEST(KubernetesVerifier, ClaimsTheNodeThatTheApiServerNames) {
  const Verdict verdict = Verify(TokenOf(GoodClaims()));
  ASSERT_OK(verdict.claim);
  ASSERT_TRUE(verdict.claim->kubernetes.has_value());
  EXPECT_EQ(verdict.claim->kubernetes->cluster, "prod");
  EXPECT_EQ(verdict.claim->kubernetes->node_name, "node1");
  EXPECT_EQ(verdict.claim->kubernetes->node_uid, "n-1");
  EXPECT_EQ(verdict.claim->kubernetes->pod_uid, "p-1");
}

TEST(KubernetesVerifier, WhatCannotBeGoodCostsTheApiServerNothing) {
  Json other_audience = GoodClaims();
  other_audience["aud"] = {"https://kubernetes.default.svc"};
  Json other_account = GoodClaims();
  other_account["sub"] = "system:serviceaccount:linchpin:web";
  Json other_namespace = GoodClaims();
  other_namespace["sub"] = "system:serviceaccount:other:linchpin-agent";
  for (const Json& claims : {other_audience, other_account, other_namespace}) {
    const Verdict verdict = Verify(TokenOf(claims));
    EXPECT_EQ(verdict.claim.status().code(), StatusCode::kPermissionDenied) << claims;
    EXPECT_EQ(verdict.calls, 0);
  }
  for (const std::string& token :
       {std::string(), std::string("a.b"), std::string("e30.e30"), std::string("e30.!!.e30"),
        TokenOf(Json::array()), std::string(KubernetesVerifier::kMaxToken + 1, 'a')}) {
    const Verdict verdict = Verify(token);
    EXPECT_EQ(verdict.claim.status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(verdict.calls, 0);
  }
}

TEST(KubernetesVerifier, AnotherClusterIsRefused) {
  const Verdict verdict = Verify(TokenOf(GoodClaims()), Review(), "staging");
  EXPECT_THAT(verdict.claim.status(), StatusIs(StatusCode::kPermissionDenied, "staging"));
  EXPECT_EQ(verdict.calls, 0);
}

TEST(KubernetesVerifier, TheApiServersWordCountsNotTheTokens) {
  EXPECT_THAT(Verify(TokenOf(GoodClaims()), Review("web")).claim.status(),
              StatusIs(StatusCode::kPermissionDenied, "web"));
  EXPECT_THAT(
      Verify(TokenOf(GoodClaims()), R"({"status": {"error": "invalidated"}})").claim.status(),
      StatusIs(StatusCode::kPermissionDenied, "invalidated"));
}

TEST(KubernetesVerifier, ThatItMayNotAskIsNoVerdictOnTheNode) {
  EXPECT_THAT(
      Verify(TokenOf(GoodClaims()), absl::PermissionDeniedError("forbidden")).claim.status(),
      StatusIs(StatusCode::kUnavailable, "the right to create tokenreviews"));
  EXPECT_THAT(Verify(TokenOf(GoodClaims()), absl::UnavailableError("away")).claim.status(),
              StatusIs(StatusCode::kUnavailable, "away"));
}

TEST(KubernetesVerifier, NeverQuotesTheToken) {
  const std::string token = TokenOf(GoodClaims());
  for (const auto& verdict : {Verify(token, Review("web")), Verify(token + ".x"),
                              Verify(token, absl::UnavailableError("away"))}) {
    EXPECT_FALSE(absl::StrContains(verdict.claim.status().message(), token.substr(4, 20)));
  }
}

}  // namespace
}  // namespace linchpin::ca
