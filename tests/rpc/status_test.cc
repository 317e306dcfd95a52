// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/status.h"

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

TEST(Status, CutsLongMessagesAndControlCharacters) {
  EXPECT_EQ(ToGrpc(absl::InternalError("a\nb\x1b[0m\x7f")).error_message(), "a b [0m ");
  EXPECT_EQ(ToGrpc(absl::InternalError(std::string(100'000, 'x'))).error_message().size(), 4096u);
}

}  // namespace
}  // namespace linchpin::rpc
