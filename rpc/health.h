// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The health of a local server: what it answers is served, for as long as it runs.
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md
#pragma once

#include "rpc/local_methods.h"

namespace linchpin::rpc {

// Of the services that `methods` has by now, and of the server (the empty name).
void AddHealth(LocalMethods& methods);

}  // namespace linchpin::rpc
