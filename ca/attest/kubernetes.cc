// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/attest/kubernetes.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "kube/answers.h"
#include "kube/json.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

using trust::Quoted;

std::string AccountName(const KubernetesVerifier::Options& options) {
  return absl::StrCat("system:serviceaccount:", options.agent_namespace, ":",
                      options.agent_account);
}

bool IsFor(const kube::Json& claims, const std::string& audience) {
  const kube::Json* audiences = kube::At(claims, {"aud"});
  if (audiences == nullptr) return false;
  if (audiences->is_string()) return *audiences == audience;
  return audiences->is_array() &&
         std::find(audiences->begin(), audiences->end(), audience) != audiences->end();
}

absl::Status Refused(const std::string& why) { return absl::PermissionDeniedError(why); }

}  // namespace

absl::Status LookAtToken(const std::string& token, const KubernetesVerifier::Options& options) {
  if (token.empty() || token.size() > KubernetesVerifier::kMaxToken) {
    return absl::InvalidArgumentError(absl::StrCat("the service account's token has ", token.size(),
                                                   " bytes; 1 to ", KubernetesVerifier::kMaxToken,
                                                   " are expected"));
  }
  const std::vector<std::string> parts = absl::StrSplit(token, '.');
  std::string text;
  const auto claims = parts.size() == 3 && absl::WebSafeBase64Unescape(parts[1], &text)
                          ? kube::ParseObject(text, "the token")
                          : absl::InvalidArgumentError("the token is no JSON Web Token");
  if (!claims.ok()) return claims.status();
  if (!IsFor(*claims, options.audience)) {
    return Refused(absl::StrCat("the token is not for the audience ", Quoted(options.audience),
                                "; mount a serviceAccountToken with that audience"));
  }
  const std::string subject = kube::TextAt(*claims, {"sub"});
  if (subject != AccountName(options)) {
    return Refused(absl::StrCat("the token is of ", Quoted(subject), "; agents here run as ",
                                AccountName(options)));
  }
  return absl::OkStatus();
}

KubernetesVerifier::KubernetesVerifier(Options options, std::unique_ptr<kube::Api> api)
    : options_(std::move(options)), api_(std::move(api)) {
  for (int i = 0; i < kThreads; ++i) threads_.push_back(std::make_unique<Thread>());
}

KubernetesVerifier::~KubernetesVerifier() {
  stopping_ = true;
  for (const auto& thread : threads_) thread->loop.Stop();
  for (const auto& thread : threads_) thread->thread.join();
}

bool KubernetesVerifier::Handles(const v1::AttestRequest& request) const {
  return request.evidence_case() == v1::AttestRequest::kKubernetes;
}

absl::StatusOr<NodeClaim> KubernetesVerifier::Review(const std::string& token) {
  if (stopping_) return absl::UnavailableError("the CA is stopping");
  const auto body = api_->Call({.method = "POST",
                                .path = "/apis/authentication.k8s.io/v1/tokenreviews",
                                .body = kube::TokenReviewFor(token, options_.audience)});
  if (absl::IsPermissionDenied(body.status())) {  // of us, which is no verdict on the node
    return absl::UnavailableError(
        absl::StrCat("this CA may not ask the API server for token reviews (its service account "
                     "needs the right to create tokenreviews): ",
                     body.status().message()));
  }
  RETURN_IF_ERROR(body.status());
  ASSIGN_OR_RETURN(kube::ReviewedToken reviewed, kube::ReadTokenReview(*body, options_.audience));
  if (reviewed.name_space != options_.agent_namespace ||
      reviewed.account != options_.agent_account) {
    return Refused(absl::StrCat("the token is of ", Quoted(reviewed.name_space), ":",
                                Quoted(reviewed.account), "; agents here run as ",
                                AccountName(options_)));
  }
  NodeClaim claim;
  claim.kubernetes = NodeClaim::Kubernetes{.cluster = options_.cluster,
                                           .node_name = std::move(reviewed.node_name),
                                           .node_uid = std::move(reviewed.node_uid),
                                           .pod_uid = std::move(reviewed.pod_uid)};
  return claim;
}

void KubernetesVerifier::Verify(const v1::AttestRequest& request, Done done) {
  const v1::KubernetesToken& shown = request.kubernetes();
  if (shown.cluster() != options_.cluster) {
    return done(Refused(absl::StrCat("the node is of the cluster ", Quoted(shown.cluster()),
                                     "; this CA attests those of ", options_.cluster)));
  }
  if (absl::Status looked = LookAtToken(shown.token(), options_); !looked.ok()) {
    return done(std::move(looked));
  }
  if (waiting_.fetch_add(1) >= kMaxWaiting) {
    waiting_.fetch_sub(1);
    return done(absl::ResourceExhaustedError(
        absl::StrCat(kMaxWaiting, " tokens wait for the API server already; try again later")));
  }
  // Shared, for an answer is due also where the work is not taken.
  auto answer = std::make_shared<Done>(std::move(done));
  const absl::Status queued = threads_[turn_.fetch_add(1) % kThreads]->loop.Post(
      [this, answer, token = shown.token(), came = base::SystemClock().Uptime()] {
        // Its caller has given up: those behind it have not yet.
        absl::StatusOr<NodeClaim> claim =
            base::SystemClock().Uptime() - came > kLongestWait
                ? absl::UnavailableError("the API server is too slow for the tokens that wait")
                : Review(token);
        waiting_.fetch_sub(1);
        (*answer)(std::move(claim));
      });
  if (queued.ok()) return;
  waiting_.fetch_sub(1);
  (*answer)(absl::UnavailableError("the CA is stopping"));
}

}  // namespace linchpin::ca
