// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/answers.h"

#include <algorithm>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "kube/json.h"

namespace linchpin::kube {
namespace {

constexpr size_t kMaxMessage = 512;
constexpr char kNotBound[] =
    "the token is not bound to a pod on a node: mount a projected serviceAccountToken (the API "
    "server says which node since Kubernetes 1.30)";

// What another machine wrote, for a sentence of ours.
std::string Told(absl::string_view text) {
  return absl::Utf8SafeCHexEscape(text.substr(0, kMaxMessage));
}

// Extra values are lists of texts; the first is taken.
std::string Extra(const Json& user, const char* name) {
  const Json* values = At(user, {"extra", name});
  if (values == nullptr || !values->is_array() || values->empty()) return "";
  const Json& first = values->front();
  if (!first.is_string()) return "";
  const auto& text = first.get_ref<const std::string&>();
  return text.size() <= 256 ? text : "";
}

}  // namespace

absl::Status ErrorOf(int code, absl::string_view method, absl::string_view body) {
  std::string message;
  if (const auto status = ParseObject(body, "the answer"); status.ok()) {
    message = Told(TextAt(*status, {"message"}, size_t{1} << 20));
  }
  const std::string text = absl::StrCat("the API server answers ", method, " with ", code,
                                        message.empty() ? "" : ": ", message);
  if (code == 401 || code == 403) return absl::PermissionDeniedError(text);
  if (code == 404) return absl::NotFoundError(text);
  if (code == 409) return absl::AlreadyExistsError(text);
  if (code == 410) return absl::OutOfRangeError(text);
  if (code == 429 || code >= 500) return absl::UnavailableError(text);
  return absl::InvalidArgumentError(text);
}

std::string TokenReviewFor(absl::string_view token, absl::string_view audience) {
  return Dump({{"apiVersion", "authentication.k8s.io/v1"},
               {"kind", "TokenReview"},
               {"spec", {{"token", std::string(token)}, {"audiences", {std::string(audience)}}}}});
}

absl::StatusOr<ReviewedToken> ReadTokenReview(absl::string_view body, absl::string_view audience) {
  ASSIGN_OR_RETURN(const Json review, ParseObject(body, "the API server's TokenReview"));
  const Json* status = At(review, {"status"});
  if (status == nullptr) {
    return absl::InvalidArgumentError("the API server's TokenReview has no status");
  }
  if (!IsTrueAt(*status, {"authenticated"})) {
    const std::string why = Told(TextAt(*status, {"error"}, size_t{1} << 20));
    return absl::PermissionDeniedError(
        absl::StrCat("the API server refuses the token", why.empty() ? "" : ": ", why));
  }
  // An API server that knows nothing of audiences answers without one: that is no yes.
  const Json* audiences = At(*status, {"audiences"});
  if (audiences == nullptr || !audiences->is_array() ||
      std::find(audiences->begin(), audiences->end(), std::string(audience)) == audiences->end()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the token is not for the audience ", audience));
  }
  const std::vector<std::string> parts = absl::StrSplit(TextAt(*status, {"user", "username"}), ':');
  if (parts.size() != 4 || parts[0] != "system" || parts[1] != "serviceaccount") {
    return absl::PermissionDeniedError("the token is no service account's");
  }
  const Json& user = *At(*status, {"user"});
  ReviewedToken token{.name_space = parts[2],
                      .account = parts[3],
                      .pod_name = Extra(user, "authentication.kubernetes.io/pod-name"),
                      .pod_uid = Extra(user, "authentication.kubernetes.io/pod-uid"),
                      .node_name = Extra(user, "authentication.kubernetes.io/node-name"),
                      .node_uid = Extra(user, "authentication.kubernetes.io/node-uid"),
                      .credential = Extra(user, "authentication.kubernetes.io/credential-id")};
  if (token.pod_name.empty() || token.pod_uid.empty() || token.node_name.empty() ||
      token.node_uid.empty()) {
    return absl::PermissionDeniedError(kNotBound);
  }
  return token;
}

}  // namespace linchpin::kube
