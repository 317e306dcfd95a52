// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/answers.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kube/json.h"
#include "tests/support/status_matchers.h"

namespace linchpin::kube {
namespace {

using testing::HasSubstr;

Json GoodReview() {
  return Json::parse(R"({
    "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
    "status": {
      "authenticated": true, "audiences": ["linchpin-ca"],
      "user": {
        "username": "system:serviceaccount:linchpin:linchpin-agent",
        "extra": {
          "authentication.kubernetes.io/credential-id": ["JTI=5f0c"],
          "authentication.kubernetes.io/node-name": ["node1"],
          "authentication.kubernetes.io/node-uid": ["n-1"],
          "authentication.kubernetes.io/pod-name": ["linchpin-agent-x7k2p"],
          "authentication.kubernetes.io/pod-uid": ["p-1"]}}}})");
}

absl::Status Refusal(const Json& review) {
  return ReadTokenReview(Dump(review), "linchpin-ca").status();
}

TEST(TokenReview, AsksForOurAudience) {
  const Json asked = Json::parse(TokenReviewFor("a.b.c", "linchpin-ca"));
  EXPECT_EQ(asked["kind"], "TokenReview");
  EXPECT_EQ(asked["spec"]["token"], "a.b.c");
  EXPECT_EQ(asked["spec"]["audiences"], Json::array({"linchpin-ca"}));
}

TEST(TokenReview, SaysWhichPodOnWhichNode) {
  const auto token = ReadTokenReview(Dump(GoodReview()), "linchpin-ca");
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->name_space, "linchpin");
  EXPECT_EQ(token->account, "linchpin-agent");
  EXPECT_EQ(token->pod_name, "linchpin-agent-x7k2p");
  EXPECT_EQ(token->pod_uid, "p-1");
  EXPECT_EQ(token->node_name, "node1");
  EXPECT_EQ(token->node_uid, "n-1");
  EXPECT_EQ(token->credential, "JTI=5f0c");
}

TEST(TokenReview, ARefusalCarriesTheServersWord) {
  const Json review = {
      {"status", {{"error", "[invalid bearer token, the token has been\ninvalidated]"}}}};
  const absl::Status refused = Refusal(review);
  EXPECT_TRUE(absl::IsPermissionDenied(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("has been\\ninvalidated"));
}

TEST(TokenReview, IsNoYesWithoutOurAudience) {
  Json review = GoodReview();
  review["status"]["audiences"] = {"another"};
  EXPECT_TRUE(absl::IsPermissionDenied(Refusal(review)));
  review["status"].erase("audiences");
  EXPECT_TRUE(absl::IsPermissionDenied(Refusal(review)));
}

TEST(TokenReview, AuthenticatedMustBeTrueItself) {
  Json review = GoodReview();
  review["status"]["authenticated"] = "true";
  EXPECT_TRUE(absl::IsPermissionDenied(Refusal(review)));
}

TEST(TokenReview, AUserOfAnotherKindIsRefused) {
  Json review = GoodReview();
  for (const char* name : {"admin", "system:node:node1", "system:serviceaccount:a:b:c", ""}) {
    review["status"]["user"]["username"] = name;
    EXPECT_TRUE(absl::IsPermissionDenied(Refusal(review))) << name;
  }
}

TEST(TokenReview, EveryBindingIsNeeded) {
  for (const char* extra : {"node-name", "node-uid", "pod-name", "pod-uid"}) {
    Json review = GoodReview();
    review["status"]["user"]["extra"].erase(std::string("authentication.kubernetes.io/") + extra);
    EXPECT_TRUE(absl::IsPermissionDenied(Refusal(review))) << extra;
  }
}

TEST(TokenReview, NonsenseIsNoReview) {
  for (const char* body : {"", "[]", "{", "{}", "null", R"({"status": 7})"}) {
    EXPECT_FALSE(ReadTokenReview(body, "linchpin-ca").ok()) << body;
  }
}

TEST(Answers, HaveTheCodesThatCallersActOn) {
  EXPECT_TRUE(absl::IsPermissionDenied(ErrorOf(403, "GET", "")));
  EXPECT_TRUE(absl::IsNotFound(ErrorOf(404, "GET", "")));
  EXPECT_TRUE(absl::IsAlreadyExists(ErrorOf(409, "PUT", "")));
  EXPECT_TRUE(absl::IsOutOfRange(ErrorOf(410, "GET", "")));
  EXPECT_TRUE(absl::IsUnavailable(ErrorOf(429, "GET", "")));
  EXPECT_TRUE(absl::IsInvalidArgument(ErrorOf(422, "GET", "")));
  EXPECT_TRUE(absl::IsUnavailable(ErrorOf(503, "GET", "")));
}

TEST(Answers, AStrangersMessageForgesNoLine) {
  const absl::Status error = ErrorOf(403, "GET", R"({"message": "no\nlevel=error forged"})");
  EXPECT_EQ(error.message().find('\n'), absl::string_view::npos);
}

}  // namespace
}  // namespace linchpin::kube
