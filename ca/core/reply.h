// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How the core answers calls.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "ca/core/actions.h"

namespace linchpin::ca {

template <typename Message>
void ReplyWith(CallId call, Message message, Actions* out) {
  out->push_back(action::Reply{.call = call,
                               .status = absl::OkStatus(),
                               .message = std::make_shared<const Message>(std::move(message))});
}

// For the metrics.
inline action::Note CountIssued(absl::string_view kind, const absl::Status& status, int64_t count) {
  return {.warning = false,
          .message = "",
          .fields = {},
          .counter = "linchpin_ca_issued_total",
          .labels = {{"kind", std::string(kind)},
                     {"result", status.ok() ? "ok" : absl::StatusCodeToString(status.code())}},
          .count = static_cast<double>(count)};
}

inline void ReplyError(CallId call, absl::Status status, Actions* out) {
  out->push_back(action::Reply{.call = call, .status = std::move(status), .message = nullptr});
}

}  // namespace linchpin::ca
