// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A context as the files that programs without Linchpin's code read (docs/files.md). Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "trust/bundle.h"
#include "x509/secret_bytes.h"

namespace linchpin::trust {

struct ContextFile {
  std::string name;
  x509::SecretBytes contents;
  bool secret = false;  // holds the private key
};

struct ContextFiles {
  std::vector<ContextFile> files;
  std::string why_empty;  // of the bundle: a sentence where nobody can be accepted
};

// chain.pem, key.pem, combined.pem (key, then chain), bundle.pem, trust.json and peers.json of the
// identity `spiffe_id`, or of the first if that is empty. Where nobody can be accepted, a comment
// in the bundle says why. NOT_FOUND: no such identity; DATA_LOSS: no bundle of its
// trust domain, or a key that is not its certificate's.
absl::StatusOr<ContextFiles> RenderContextFiles(const agent::v1::MtlsContexts& contexts,
                                                absl::string_view spiffe_id, BundleKind kind,
                                                absl::Time now);

// The contexts without any private key.
agent::v1::MtlsContexts WithoutKeys(const agent::v1::MtlsContexts& contexts);

}  // namespace linchpin::trust
