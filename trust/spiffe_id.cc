// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/spiffe_id.h"

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::trust {
namespace {

constexpr absl::string_view kScheme = "spiffe://";
constexpr absl::string_view kReserved = "/linchpin/";
constexpr absl::string_view kNode = "/linchpin/node/";
constexpr absl::string_view kOperator = "/linchpin/operator/";
constexpr size_t kMaxTrustDomain = 255;
constexpr size_t kMaxRoleName = 128;

// §2.1: "limited to lowercase letters, numbers, dots, dashes, and underscores ([a-z0-9.-_])".
bool IsTrustDomainByte(char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '.' || c == '-' || c == '_';
}

// §2.2: "Path segments MUST contain only letters, numbers, dots, dashes, and underscores".
bool IsPathByte(char c) { return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_'; }

// Nothing, or the rule that `name` breaks.
std::string TrustDomainFault(absl::string_view name) {
  if (name.empty()) return "the trust domain name is empty";
  if (name.size() > kMaxTrustDomain) {
    return absl::StrCat("the trust domain name has ", name.size(), " bytes, at most ",
                        kMaxTrustDomain, " are allowed");
  }
  for (char c : name) {
    if (!IsTrustDomainByte(c)) {
      return absl::StrCat("the trust domain name has the byte ", Quoted(absl::string_view(&c, 1)),
                          "; only a-z, 0-9, '.', '-' and '_' are allowed");
    }
  }
  return "";
}

// §2.2: "A path … MUST NOT include empty segments … MUST NOT contain segments that are relative
// path modifiers (i.e. '.' and '..')"; "it MUST NOT include a trailing '/'".
std::string PathFault(absl::string_view path) {
  if (path.empty()) return "there is no path, so this names a trust domain and not a workload";
  if (path.front() != '/') return "the path does not begin with '/'";
  if (path.back() == '/') return "the path ends in '/'";
  while (absl::ConsumePrefix(&path, "/")) {
    const absl::string_view segment = path.substr(0, path.find('/'));
    path.remove_prefix(segment.size());
    if (segment.empty()) return "the path has an empty segment";
    if (segment == "." || segment == "..") return "the path has a relative segment (. or ..)";
    for (char c : segment) {
      if (!IsPathByte(c)) {
        return absl::StrCat("the path has the byte ", Quoted(absl::string_view(&c, 1)),
                            "; only a-z, A-Z, 0-9, '.', '-' and '_' are allowed in a segment");
      }
    }
  }
  return "";
}

absl::Status Refuse(absl::string_view text, absl::string_view what, absl::string_view fault) {
  return absl::InvalidArgumentError(absl::StrCat(Quoted(text), " is no ", what, ": ", fault));
}

bool IsRoleName(absl::string_view name) {
  if (name.empty() || name.size() > kMaxRoleName || name == "." || name == "..") return false;
  for (char c : name) {
    if (!IsPathByte(c)) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<TrustDomain> TrustDomain::FromName(absl::string_view name) {
  const std::string fault = TrustDomainFault(name);
  if (!fault.empty()) return Refuse(name, "trust domain", fault);
  return TrustDomain(std::string(name));
}

absl::StatusOr<SpiffeId> SpiffeId::Parse(absl::string_view text) {
  const absl::string_view whole = text;
  if (whole.size() > kMaxLength) {
    return Refuse(
        whole, "SPIFFE ID",
        absl::StrCat("it has ", whole.size(), " bytes, at most ", kMaxLength, " are allowed"));
  }
  if (!absl::ConsumePrefix(&text, kScheme)) {
    return Refuse(whole, "SPIFFE ID", "it does not begin with spiffe://");
  }
  const absl::string_view name = text.substr(0, text.find('/'));
  const absl::string_view path = text.substr(name.size());
  std::string fault = TrustDomainFault(name);
  if (fault.empty()) fault = PathFault(path);
  if (!fault.empty()) return Refuse(whole, "SPIFFE ID", fault);
  ASSIGN_OR_RETURN(TrustDomain trust_domain, TrustDomain::FromName(name));
  return SpiffeId(std::move(trust_domain), std::string(path));
}

absl::StatusOr<SpiffeId> SpiffeId::Make(const TrustDomain& trust_domain, absl::string_view path) {
  const std::string fault = PathFault(path);
  const std::string text = absl::StrCat(trust_domain.IdString(), path);
  if (!fault.empty()) return Refuse(text, "SPIFFE ID", fault);
  return Parse(text);
}

bool SpiffeId::IsReserved() const { return absl::StartsWith(path_, kReserved); }

bool SpiffeId::IsCa() const { return path_ == "/linchpin/ca"; }

bool SpiffeId::IsCanary() const { return path_ == "/linchpin/canary"; }

bool SpiffeId::IsNode() const {
  absl::string_view name = path_;
  return absl::ConsumePrefix(&name, kNode) && IsRoleName(name);
}

bool SpiffeId::IsOperator() const {
  absl::string_view name = path_;
  return absl::ConsumePrefix(&name, kOperator) && IsRoleName(name);
}

SpiffeId CaId(const TrustDomain& trust_domain) {
  // The longest trust domain and this path are far below every limit.
  return *SpiffeId::Make(trust_domain, "/linchpin/ca");
}

SpiffeId CanaryId(const TrustDomain& trust_domain) {
  return *SpiffeId::Make(trust_domain, "/linchpin/canary");
}

absl::StatusOr<SpiffeId> NodeId(const TrustDomain& trust_domain, absl::string_view name) {
  if (!IsRoleName(name)) {
    return Refuse(name, "node name",
                  "1 to 128 letters, digits, '.', '-' and '_' are allowed, and not . or ..");
  }
  return SpiffeId::Make(trust_domain, absl::StrCat(kNode, name));
}

absl::StatusOr<SpiffeId> OperatorId(const TrustDomain& trust_domain, absl::string_view name) {
  if (!IsRoleName(name)) {
    return Refuse(name, "operator's name",
                  "1 to 128 letters, digits, '.', '-' and '_' are allowed, and not . or ..");
  }
  return SpiffeId::Make(trust_domain, absl::StrCat(kOperator, name));
}

}  // namespace linchpin::trust
