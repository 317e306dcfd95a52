// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A certificate request as OpenSSL reads it.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "x509/certificate_request.h"

namespace linchpin::test {

// How `request`, which `der` was read as, differs from what OpenSSL reads: it must parse, prove
// possession of the same key and ask for the same names. Empty if it does not.
std::string DifferenceFromOpenSsl(absl::string_view der, const x509::CertificateRequest& request);

}  // namespace linchpin::test
