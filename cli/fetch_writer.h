// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A context as files, swapped whole: a reader sees all of the old ones or all of the new.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "linchpin/agent/v1/mtls_context.pb.h"

namespace linchpin::cli {

// Makes or replaces `directory` with chain.pem, key.pem (0600), bundle.pem (the anchors of the
// identity's trust domain) and trust.json (everything but keys) of the first identity.
// FAILED_PRECONDITION: the directory holds other files; they are kept.
absl::Status WriteContextDirectory(const std::string& directory,
                                   const agent::v1::MtlsContexts& contexts);

// The contexts without any private key.
agent::v1::MtlsContexts WithoutKeys(const agent::v1::MtlsContexts& contexts);

}  // namespace linchpin::cli
