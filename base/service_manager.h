// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a service manager wants to hear of a service: sd_notify(3), which is a datagram to the
// socket that $NOTIFY_SOCKET names. Without one, as when started by hand, nothing is sent.
#pragma once

#include "absl/status/status.h"

namespace linchpin::base {

// It serves. INVALID_ARGUMENT or the socket's error: the manager does not know, and may restart it.
absl::Status NotifyReady();
// It ends on purpose.
absl::Status NotifyStopping();

}  // namespace linchpin::base
