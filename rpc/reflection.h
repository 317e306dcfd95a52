// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a local server speaks, told to tools such as grpcurl (v1 and v1alpha).
// https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
#pragma once

#include "rpc/local_methods.h"

namespace linchpin::rpc {

// Lists the services that `methods` has by now, and its own; describes every message and service
// of this program.
void AddReflection(LocalMethods& methods);

}  // namespace linchpin::rpc
