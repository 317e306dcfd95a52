// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// SPIFFE IDs and trust domains, as the SPIFFE-ID standard defines them
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md).
#pragma once

#include <compare>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace linchpin::trust {

// §2.1: "the trust domain name … MUST NOT be empty … limited to lowercase letters, numbers, dots,
// dashes, and underscores"; at most 255 bytes.
class TrustDomain {
 public:
  // "example.org" alone, without scheme or path.
  static absl::StatusOr<TrustDomain> FromName(absl::string_view name);
  const std::string& name() const { return name_; }
  std::string IdString() const { return "spiffe://" + name_; }
  auto operator<=>(const TrustDomain&) const = default;

 private:
  explicit TrustDomain(std::string name) : name_(std::move(name)) {}
  std::string name_;
};

// With a path; an ID without one names the trust domain and is refused by Parse.
class SpiffeId {
 public:
  static constexpr size_t kMaxLength = 2048;  // §2.3

  // INVALID_ARGUMENT quotes the text (escaped) and names the rule that it breaks.
  static absl::StatusOr<SpiffeId> Parse(absl::string_view text);
  // `path` begins with '/'.
  static absl::StatusOr<SpiffeId> Make(const TrustDomain& trust_domain, absl::string_view path);

  const TrustDomain& trust_domain() const { return trust_domain_; }
  const std::string& path() const { return path_; }  // "/a/b"
  std::string ToString() const { return trust_domain_.IdString() + path_; }
  // Under /linchpin/: for the CA, nodes and operators only.
  bool IsReserved() const;
  bool IsCa() const;        // /linchpin/ca exactly
  bool IsNode() const;      // /linchpin/node/NAME
  bool IsOperator() const;  // /linchpin/operator/NAME
  bool IsCanary() const;    // /linchpin/canary exactly
  auto operator<=>(const SpiffeId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const SpiffeId& id) {
    return H::combine(std::move(h), id.trust_domain_.name(), id.path_);
  }

 private:
  SpiffeId(TrustDomain trust_domain, std::string path)
      : trust_domain_(std::move(trust_domain)), path_(std::move(path)) {}
  TrustDomain trust_domain_;
  std::string path_;
};

SpiffeId CaId(const TrustDomain& trust_domain);
SpiffeId CanaryId(const TrustDomain& trust_domain);
// `name` as in node tokens: [A-Za-z0-9._-]{1,128}.
absl::StatusOr<SpiffeId> NodeId(const TrustDomain& trust_domain, absl::string_view name);
absl::StatusOr<SpiffeId> OperatorId(const TrustDomain& trust_domain, absl::string_view name);

}  // namespace linchpin::trust
