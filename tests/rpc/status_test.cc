// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/status.h"

#include "base/retry_after.h"
#include "gtest/gtest.h"

namespace linchpin::rpc {
namespace {

TEST(Status, KeepsItsCodeAndMessageThereAndBack) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    EXPECT_EQ(FromGrpc(ToGrpc(status)), status) << code;
  }
}

TEST(Status, AnUnknownCodeOfAPeerBecomesUnknown) {
  EXPECT_EQ(FromGrpc(grpc::Status(grpc::StatusCode::DO_NOT_USE, "x")).code(),
            absl::StatusCode::kUnknown);
}

TEST(Status, TakesAlongWhenToTryAgain) {
  const absl::Status status =
      base::WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Milliseconds(700));
  const grpc::Status sent = ToGrpc(status);
  EXPECT_EQ(sent.error_message(), "full");
  EXPECT_EQ(FromGrpc(sent), status);
  EXPECT_EQ(base::RetryAfter(FromGrpc(sent)), absl::Milliseconds(700));
}

TEST(Status, IgnoresDetailsThatItDoesNotKnow) {
  const grpc::StatusCode code = grpc::StatusCode::UNAVAILABLE;
  for (const std::string& details : {std::string("garbage\xff"), std::string(10'000, '\n')}) {
    EXPECT_EQ(FromGrpc(grpc::Status(code, "x", details)), absl::UnavailableError("x"));
  }
}

TEST(Status, CutsLongMessagesAndControlCharacters) {
  EXPECT_EQ(ToGrpc(absl::InternalError("a\nb\x1b[0m\x7f")).error_message(), "a b [0m ");
  EXPECT_EQ(ToGrpc(absl::InternalError(std::string(100'000, 'x'))).error_message().size(), 4096u);
}

}  // namespace
}  // namespace linchpin::rpc
