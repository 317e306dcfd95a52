// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of the logs.

#include "ca/core/admin.h"

namespace linchpin::ca {
namespace {

v1::ChangeSpan SpanOf(const Registry& registry) {
  const ChangeHead& changes = registry.changes();
  v1::ChangeSpan span;
  span.set_first_index(changes.first);
  span.set_next_index(changes.next);
  span.set_head(changes.hash);
  return span;
}

}  // namespace

absl::StatusOr<v1::ChangeSpan> Answer(const Tables& tables, absl::Time, const v1::ReadLogRequest&) {
  return SpanOf(tables.registry);
}

absl::StatusOr<v1::ChangeSpan> Answer(const Tables& tables, absl::Time,
                                      const v1::VerifyLogRequest&) {
  return SpanOf(tables.registry);
}

absl::StatusOr<v1::ChangeSpan> Answer(const Tables& tables, absl::Time,
                                      const v1::ReadChangesRequest&) {
  return SpanOf(tables.registry);
}

}  // namespace linchpin::ca
