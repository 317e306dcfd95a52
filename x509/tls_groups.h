// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which key agreements the SDK offers and takes, and our programs over gRPC: X25519MLKEM768 first
// where OpenSSL has it (3.5), so that what is recorded today stays secret from a quantum computer
// of later; X25519, P-256 and P-384 with whoever has not.
#pragma once

#include <array>

namespace linchpin::x509 {

// For SSL_CTX_set1_groups_list(), the first that it takes. The shares of both groups that are
// starred go with the first flight, so that an older peer costs no further round trip; what stands
// before a slash is preferred to what is behind it, whatever share has come.
inline constexpr std::array<const char*, 2> kTlsGroups = {"*X25519MLKEM768/*X25519:P-256:P-384",
                                                          "X25519:P-256:P-384"};

}  // namespace linchpin::x509
