// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/context_source.h"

#include <cstdlib>
#include <utility>

#include "base/status_macros.h"
#include "sdk/internal/runtime.h"
#include "sdk/internal/socket_path.h"

namespace linchpin::tls {

absl::StatusOr<std::shared_ptr<ContextSource>> ContextSource::Open(Options options) {
  Runtime::Options runtime;
  ASSIGN_OR_RETURN(runtime.socket, ResolveSocket(options.socket, [](const char* name) {
                     return static_cast<const char*>(std::getenv(name));
                   }));
  runtime.observer = std::move(options.observer);
  runtime.clock = options.clock;
  return std::shared_ptr<ContextSource>(new ContextSource(Runtime::Make(std::move(runtime))));
}

ContextSource::~ContextSource() = default;

absl::Status ContextSource::WaitReady(absl::Duration timeout) const {
  return runtime_->WaitReady(timeout);
}

std::vector<IdentityInfo> ContextSource::Current() const {
  const auto snapshot = runtime_->Snapshot();
  return snapshot == nullptr ? std::vector<IdentityInfo>() : Describe(*snapshot);
}

const std::string& ContextSource::socket() const { return runtime_->socket(); }

}  // namespace linchpin::tls
