// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The keys that were made for the CA's own certificates. A key comes into use with its certificate
// and not before: whatever changes meanwhile is served with the certificate and the key that go
// together. One thread.
#pragma once

#include <deque>
#include <optional>

#include "x509/certificate.h"
#include "x509/key.h"

namespace linchpin::ca {

class ServingKeys {
 public:
  // Certificates may be asked for again before the first is there; older keys than so many are
  // wiped.
  static constexpr size_t kMost = 4;

  x509::PublicKey Made(x509::PrivateKey key);
  // The key that `leaf` certifies is in use from now on, and those made before it are wiped. False:
  // it is not here, and what is in use stays.
  bool Use(const x509::Certificate& leaf);
  const std::optional<x509::PrivateKey>& in_use() const { return in_use_; }

 private:
  std::deque<x509::PrivateKey> made_;  // the oldest first
  std::optional<x509::PrivateKey> in_use_;
};

}  // namespace linchpin::ca
