// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Matchers for absl::Status and absl::StatusOr, named as upstream abseil names them. There is no
// NotOk(): expect the specific code.
//
//   EXPECT_THAT(Parse("x"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("x")));
//   EXPECT_THAT(Parse("1"), IsOkAndHolds(1));
//   ASSERT_OK_AND_ASSIGN(Key key, Key::Generate());
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin::test {

inline const absl::Status& GetStatus(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& GetStatus(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

MATCHER(IsOk, negation ? "is not OK" : "is OK") {
  const absl::Status& status = GetStatus(arg);
  *result_listener << "which is " << status.ToString();
  return status.ok();
}

MATCHER_P2(StatusIsMatcher, code, message, "") {
  const absl::Status& status = GetStatus(arg);
  *result_listener << "which is " << status.ToString();
  return status.code() == code &&
         ::testing::ExplainMatchResult(message, std::string(status.message()), result_listener);
}

inline auto StatusIs(absl::StatusCode code) {
  return StatusIsMatcher(code, ::testing::Matcher<std::string>(::testing::_));
}

// `message` is a substring, or any matcher of std::string.
inline auto StatusIs(absl::StatusCode code, const char* message) {
  return StatusIsMatcher(code, ::testing::Matcher<std::string>(::testing::HasSubstr(message)));
}
inline auto StatusIs(absl::StatusCode code, const std::string& message) {
  return StatusIsMatcher(code, ::testing::Matcher<std::string>(::testing::HasSubstr(message)));
}
template <typename MessageMatcher,
          typename = std::enable_if_t<!std::is_convertible_v<MessageMatcher, std::string>>>
auto StatusIs(absl::StatusCode code, MessageMatcher message) {
  return StatusIsMatcher(code, ::testing::SafeMatcherCast<std::string>(message));
}

MATCHER_P(IsOkAndHolds, value, "") {
  if (!arg.ok()) {
    *result_listener << "which is " << arg.status().ToString();
    return false;
  }
  return ::testing::ExplainMatchResult(value, *arg, result_listener);
}

}  // namespace linchpin::test

#define ASSERT_OK(expr) ASSERT_THAT(expr, ::linchpin::test::IsOk())
#define EXPECT_OK(expr) EXPECT_THAT(expr, ::linchpin::test::IsOk())

#define ASSERT_OK_AND_ASSIGN(decl, expr) \
  LINCHPIN_ASSERT_OK_AND_ASSIGN(LINCHPIN_CONCAT(asserted_, __LINE__), decl, expr)

#define LINCHPIN_ASSERT_OK_AND_ASSIGN(result, decl, expr) \
  auto result = (expr);                                   \
  ASSERT_TRUE(result.ok()) << result.status();            \
  decl = std::move(result).value()
