// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What an API server's answers mean. Pure.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::kube {

// As Api::Call() says, with the message of the Status object that the body is, if it is one.
absl::Status ErrorOf(int code, absl::string_view method, absl::string_view body);

// TokenReview (authentication.k8s.io/v1): asks whether a service account's token is good for an
// audience, now.
std::string TokenReviewFor(absl::string_view token, absl::string_view audience);

// What the API server vouches for. All is there but the credential's name, which older ones lack.
struct ReviewedToken {
  std::string name_space;
  std::string account;
  std::string pod_name;
  std::string pod_uid;
  std::string node_name;
  std::string node_uid;
  std::string credential;
};

// PERMISSION_DENIED: the token is refused, is not for the audience, is no service account's, or is
// not bound to a pod on a node. INVALID_ARGUMENT: that is no TokenReview.
absl::StatusOr<ReviewedToken> ReadTokenReview(absl::string_view body, absl::string_view audience);

}  // namespace linchpin::kube
