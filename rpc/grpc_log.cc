// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/grpc_log.h"

#include <grpc/support/log.h>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"

namespace linchpin::rpc {

void QuietGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args* line) {
    base::Log(base::LogLevel::kDebug, line->message,
              {{"from", absl::StrCat("grpc ", line->file, ":", line->line)}});
  });
}

void TrustGrpcLocks() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }

}  // namespace linchpin::rpc
