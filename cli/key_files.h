// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Signer keys as files.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "x509/key.h"

namespace linchpin::cli {

// Makes a P-256 key in `path` (0600; never replaces a file) and its public part in `path`.pub.
absl::StatusOr<x509::PublicKey> MakeKeyFile(const std::string& path);
// FAILED_PRECONDITION: group or others may read it.
absl::StatusOr<x509::PrivateKey> ReadPrivateKeyFile(const std::string& path);
// Of a .pub file or of a private key's file.
absl::StatusOr<x509::PublicKey> ReadPublicKeyFile(const std::string& path);

}  // namespace linchpin::cli
