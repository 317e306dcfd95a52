// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A BIO over a non-blocking socket that never raises SIGPIPE: OpenSSL's own writes with write(2),
// and a library may not change its process's signals.
#pragma once

#include "x509/openssl_ptr.h"

namespace linchpin::tls {

// Borrows `fd`. Null if memory is out.
x509::BioPtr MakeSocketBio(int fd);

}  // namespace linchpin::tls
