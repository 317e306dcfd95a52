// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Non-blocking sockets and waiting for them with a deadline on the monotonic clock.
#pragma once

#include <sys/socket.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace linchpin::tls {

// On base::SystemClock().Uptime(); an infinite timeout gives an infinite deadline.
absl::Duration DeadlineIn(absl::Duration timeout);

// Until `fd` is readable (or writable), or has an error. DEADLINE_EXCEEDED.
absl::Status WaitFor(int fd, bool writable, absl::Duration deadline);

// A connected, non-blocking, close-on-exec socket. "HOST:PORT", "[V6]:PORT" or "unix:///path";
// INVALID_ARGUMENT for other text, UNAVAILABLE naming the last address tried.
absl::StatusOr<int> Dial(const std::string& address, absl::Duration deadline);

// Borrowed.
using SocketAddress = std::pair<const sockaddr*, socklen_t>;

// To the first of `addresses` that answers. Each is tried 250 ms after the one before it
// while that one still waits, so that an address that swallows packets does not cost the deadline.
// UNAVAILABLE says why the last of them failed; DEADLINE_EXCEEDED.
absl::StatusOr<int> ConnectToFirst(const std::vector<SocketAddress>& addresses,
                                   absl::Duration deadline);

// Makes a connected socket fit for Connection: non-blocking, and without Nagle's delay on TCP.
absl::Status Prepare(int fd);

}  // namespace linchpin::tls
