// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// How the core answers calls.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "ca/core/actions.h"

namespace linchpin::ca {

template <typename Message>
void ReplyWith(CallId call, Message message, Actions* out) {
  out->push_back(action::Reply{.call = call,
                               .status = absl::OkStatus(),
                               .message = std::make_shared<const Message>(std::move(message))});
}

inline void ReplyError(CallId call, absl::Status status, Actions* out) {
  out->push_back(action::Reply{.call = call, .status = std::move(status), .message = nullptr});
}

}  // namespace linchpin::ca
