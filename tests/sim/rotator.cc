// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/sim/rotator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ca/core/restored.h"

namespace linchpin::sim {
namespace {

using Request = ca::v1::RotateRequest;

constexpr uint64_t kTakenBackOneIn = 25;
constexpr uint64_t kFailoverOneIn = 60;
constexpr int kTold = 31;
constexpr uint64_t kOtherThanIssuerOneIn = 4;

Request Asking(Request::Action action) {
  Request request;
  request.set_action(action);
  return request;
}

// What goes on from here; NO: it goes on by itself, or by a signed set.
Request::Action NextOf(ca::v1::RotationStep step) {
  switch (step) {
    case ca::v1::PREPARED:
      return Request::DISTRIBUTE;
    case ca::v1::DISTRIBUTED:
      return Request::ACTIVATE;
    case ca::v1::ACTIVATED:
      return Request::DRAIN;
    case ca::v1::DRAINED:
      return Request::DROP;
    default:
      return Request::ACTION_UNSPECIFIED;
  }
}

bool WaitsForSigners(ca::v1::RotationStep step) {
  return step == ca::v1::AWAITING_SIGNATURES_TO_DISTRIBUTE ||
         step == ca::v1::AWAITING_SIGNATURES_TO_DROP ||
         step == ca::v1::AWAITING_SIGNATURES_TO_RESTORE;
}

}  // namespace

void Rotator::Act() {
  if (operator_.busy() || !ca_.up()) return;
  ca_.Call(
      [](ca::CallId call) {
        return ca::event::AdminAsked{call, Operator::Root(), ca::v1::GetRotationRequest()};
      },
      [this](const absl::Status& status, const SimCa::Message& message) {
        if (status.ok()) Continue(static_cast<const ca::v1::Rotation&>(*message));
      });
}

void Rotator::Continue(const ca::v1::Rotation& rotation) {
  const ca::v1::RotationStep step = rotation.step();
  if (world_.OneIn(kFailoverOneIn)) return FailOver(rotation);
  if (step == ca::v1::NO_ROTATION || step == ca::v1::DONE || step == ca::v1::ABORTED) {
    if (step == ca::v1::DONE) done_ = rotation.number();
    return Prepare(rotation);
  }
  if (world_.OneIn(kTakenBackOneIn)) return Step(rotation, Request::ABORT);
  const bool of_signers = rotation.what() == "signers";
  if (WaitsForSigners(step) || (of_signers && step == ca::v1::PREPARED)) {
    return operator_.PublishPins(/*new_board=*/of_signers);
  }
  const Request::Action next = NextOf(step);
  if (next != Request::ACTION_UNSPECIFIED && !of_signers) Step(rotation, next);
}

void Rotator::Prepare(const ca::v1::Rotation& last) {
  const bool is_signed = PinSigners::InForce(ca_).has_value();
  Request request = Asking(Request::PREPARE);
  request.set_what("issuer");
  if (is_signed && world_.OneIn(kOtherThanIssuerOneIn)) {
    request.set_what(world_.OneIn(2) ? "root" : "signers");
  }
  Ask(absl::StrCat("rotation ", last.number() + 1, " 0"), request);
}

// The key of the backup lies beside the CA here.
void Rotator::FailOver(const ca::v1::Rotation& last) {
  ca::Failover failover;
  if (knows_all_()) failover.asked.add_except(ca::kUnknownNodes);
  Ask(absl::StrCat("rotation ", last.number() + 1, " 0"), std::move(failover));
}

void Rotator::Step(const ca::v1::Rotation& rotation, Action action) {
  // A history keeps its newest entries.
  const int told = std::min(rotation.history_size(), kTold);
  Request request = Asking(action);
  if (rotation.gate().unknown_until() > 0 && knows_all_()) request.add_except(ca::kUnknownNodes);
  Ask(absl::StrCat("rotation ", rotation.number(), " ", told), std::move(request));
}

void Rotator::Ask(const std::string& key, ca::AdminRequest request) {
  operator_.Ask(key, Operator::Known::kPresent, std::move(request),
                [this](const SimCa::Message& message) {
                  const auto& rotation = static_cast<const ca::v1::Rotation&>(*message);
                  world_.Say(absl::StrCat("operator: the rotation of the ", rotation.what(), " is ",
                                          ca::v1::RotationStep_Name(rotation.step())));
                  reached_(rotation);
                });
}

}  // namespace linchpin::sim
