// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// gRPC's own log, and its locks.
#pragma once

namespace linchpin::rpc {

// From here on gRPC's lines go to the log at level debug: what matters of them comes back as a
// status, and for every client of a server whose certificate names no host (an X509-SVID need not)
// it writes an error. For programs; the whole process is changed. Call once, at start.
void QuietGrpcLog();

// gRPC's locks are abseil's, and those of a build without NDEBUG, such as Debian's, look for cycles
// whenever one is taken: a part of every call, and memory for every lock. As above.
void TrustGrpcLocks();

}  // namespace linchpin::rpc
