// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What operators ask of rotations.

#include <utility>

#include "base/status_macros.h"
#include "ca/core/admin.h"
#include "ca/core/rotation.h"

namespace linchpin::ca {
namespace {

Decision Described(std::vector<Write> batch) {
  Decision decision;
  decision.batch = std::move(batch);
  decision.answer = [](const Tables& then, absl::Time now) {
    return std::make_shared<const v1::Rotation>(DescribeRotation(then, now));
  };
  return decision;
}

}  // namespace

absl::StatusOr<std::optional<AuthorityPlan>> PlanFor(const Tables& tables, absl::Time now,
                                                     const v1::RotateRequest& asked) {
  if (asked.action() != v1::RotateRequest::PREPARE) return std::nullopt;
  return PlanRotation(tables, asked, now);
}

BeginRotation WithMade(v1::RotateRequest asked, std::vector<Write> made) {
  return {std::move(asked), std::move(made)};
}

absl::StatusOr<v1::Rotation> Answer(const Tables& tables, absl::Time now,
                                    const v1::GetRotationRequest&) {
  return DescribeRotation(tables, now);
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now,
                                const v1::RotateRequest& asked, const std::string& by) {
  ASSIGN_OR_RETURN(std::vector<Write> batch, DecideRotation(tables, asked, by, now));
  return Described(std::move(batch));
}

absl::StatusOr<Decision> Decide(const Tables& tables, absl::Time now, const BeginRotation& asked,
                                const std::string& by) {
  ASSIGN_OR_RETURN(std::vector<Write> batch,
                   StartRotation(tables, asked.request, by, asked.made, now));
  return Described(std::move(batch));
}

}  // namespace linchpin::ca
