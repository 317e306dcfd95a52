// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// RETURN_IF_ERROR(expr) and ASSIGN_OR_RETURN(decl, expr): hand a failed absl::Status up the call.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define LINCHPIN_CONCAT_INNER(a, b) a##b
#define LINCHPIN_CONCAT(a, b) LINCHPIN_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expr)                                                              \
  do {                                                                                     \
    if (absl::Status status_of_expr = (expr); !status_of_expr.ok()) return status_of_expr; \
  } while (false)

#define ASSIGN_OR_RETURN(decl, expr) \
  LINCHPIN_ASSIGN_OR_RETURN(LINCHPIN_CONCAT(status_or_, __LINE__), decl, expr)

#define LINCHPIN_ASSIGN_OR_RETURN(result, decl, expr) \
  auto result = (expr);                               \
  if (!result.ok()) return result.status();           \
  decl = std::move(result).value()
