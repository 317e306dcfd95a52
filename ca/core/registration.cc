// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/registration.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "sync/projection.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

using google::protobuf::RepeatedPtrField;
using trust::Quoted;

constexpr int kMaxSelectors = 32;
constexpr int kMaxDnsNames = 64;
constexpr int kMaxNodeIds = 4096;
constexpr size_t kMaxSelector = 2048;
constexpr size_t kMaxHint = 256;

absl::Status Invalid(absl::string_view text, absl::string_view what, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(Quoted(text), " is no ", what, ": ", expected));
}

bool IsWord(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_' || c == '-' || c == '.';
  });
}

bool IsPrintable(absl::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return absl::ascii_iscntrl(c); });
}

absl::Status CheckUnixSelector(absl::string_view selector, absl::string_view key,
                               absl::string_view value) {
  uint32_t number = 0;
  if (key == "uid" || key == "gid") {
    if (absl::SimpleAtoi(value, &number)) return absl::OkStatus();
    return Invalid(selector, "selector", "a number is expected after the key");
  }
  if (key == "path") {
    if (value.front() == '/') return absl::OkStatus();
    return Invalid(selector, "selector", "an absolute path is expected");
  }
  if (key == "sha256") {
    const bool hex = std::all_of(value.begin(), value.end(), [](char c) {
      return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
    });
    if (hex && value.size() == 64) return absl::OkStatus();
    return Invalid(selector, "selector", "64 lower-case hex digits are expected");
  }
  if (key == "user" || key == "group") return absl::OkStatus();
  return Invalid(selector, "selector",
                 "unix knows the keys uid, user, gid, group, path and sha256");
}

absl::Status CheckKubernetesSelector(absl::string_view selector, absl::string_view key,
                                     absl::string_view value) {
  constexpr absl::string_view kKeys[] = {
      "ns",        "sa",        "pod-name",       "pod-uid",
      "pod-label", "node-name", "container-name", "container-image"};
  if (std::find(std::begin(kKeys), std::end(kKeys), key) == std::end(kKeys)) {
    return Invalid(selector, "selector",
                   "k8s knows the keys ns, sa, pod-name, pod-uid, pod-label, node-name, "
                   "container-name and container-image");
  }
  if (key != "pod-label" || value.find(':') != absl::string_view::npos) return absl::OkStatus();
  return Invalid(selector, "selector", "k8s:pod-label:KEY:VALUE is expected");
}

absl::Status CheckCount(int count, int most, absl::string_view what) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the identity has ", count, " ", what, "; at most ", most, " are allowed"));
}

// Sorted, and each there once.
absl::Status Normalise(absl::string_view what, RepeatedPtrField<std::string>* entries) {
  std::sort(entries->begin(), entries->end());
  const auto twice = std::adjacent_find(entries->begin(), entries->end());
  if (twice == entries->end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the ", what, " ", Quoted(*twice), " is there twice; name it once"));
}

absl::Status CheckTtl(int64_t ttl_seconds, absl::Duration longest) {
  if (ttl_seconds == 0) return absl::OkStatus();  // the default
  if (ttl_seconds > 0 && ttl_seconds <= absl::ToInt64Seconds(longest)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a ttl of ", ttl_seconds, "s; 1s to ", absl::ToInt64Seconds(longest),
                   "s (the issuer's life) are allowed, 0 for the default"));
}

// What is replaced is counted with what replaces it, which matters at the very end alone.
absl::Status CheckSnapshot(size_t bytes) {
  if (bytes <= kMaxSnapshotBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "a node would be sent more than ", kMaxSnapshotBytes,
      " bytes of identities and policy, which no stream carries; name the nodes that need an "
      "identity, and delete what nothing needs"));
}

absl::Status CheckNodes(const Registry& registry, const v1::Identity& identity) {
  if (identity.any_node() != identity.node_ids().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the identity ", identity.spiffe_id(),
        identity.any_node() ? " names nodes and any node; choose one"
                            : " names no node; name the nodes that may issue it, or any node"));
  }
  const size_t own = registry.FindIdentity(identity.identity_id()) != nullptr ? 1 : 0;
  size_t count = identity.any_node() ? registry.GreatestIdentityCount() : 0;
  size_t bytes = identity.any_node() ? registry.GreatestSnapshotBytes() : 0;
  for (const std::string& node : identity.node_ids()) {
    if (registry.FindNode(node) == nullptr) {
      return absl::NotFoundError(absl::StrCat(
          "the node ", Quoted(node), " is not known; see node list, or make a token for it"));
    }
    count = std::max(count, registry.IdentityCountOf(node));
    bytes = std::max(bytes, registry.SnapshotBytesOf(node));
  }
  if (count - std::min(own, count) >= sync::kMaxIdentities) {
    return absl::ResourceExhaustedError(absl::StrCat("a node would have more than ",
                                                     sync::kMaxIdentities,
                                                     " identities; name the "
                                                     "nodes that need this one"));
  }
  return CheckSnapshot(bytes + identity.ByteSizeLong());
}

absl::Status CheckUnique(const Registry& registry, const v1::Identity& identity) {
  for (const std::string& id : registry.IdentitiesOf(identity.spiffe_id())) {
    if (id == identity.identity_id()) continue;
    const v1::Identity& other = registry.FindIdentity(id)->record.identity();
    if (!std::equal(other.selectors().begin(), other.selectors().end(),
                    identity.selectors().begin(), identity.selectors().end())) {
      continue;
    }
    return absl::AlreadyExistsError(absl::StrCat("the registration ", id, " gives ",
                                                 identity.spiffe_id(),
                                                 " to the same selectors; update that one"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<trust::SpiffeId> CheckWorkloadId(const trust::TrustDomain& trust_domain,
                                                absl::string_view text) {
  ASSIGN_OR_RETURN(trust::SpiffeId id, trust::SpiffeId::Parse(text));
  if (id.trust_domain() != trust_domain) {
    return absl::InvalidArgumentError(absl::StrCat(id.ToString(), " is of the trust domain ",
                                                   id.trust_domain().name(), "; this CA is of ",
                                                   trust_domain.name()));
  }
  if (id.IsReserved()) {
    return absl::InvalidArgumentError(
        absl::StrCat(id.ToString(), " is reserved: /linchpin/ is for the CA, nodes and operators"));
  }
  return id;
}

absl::Status CheckSelector(absl::string_view selector) {
  const std::vector<absl::string_view> parts = absl::StrSplit(selector, absl::MaxSplits(':', 2));
  if (selector.size() > kMaxSelector || parts.size() != 3 || !IsWord(parts[0]) ||
      !IsWord(parts[1]) || parts[2].empty() || !IsPrintable(parts[2])) {
    return Invalid(selector, "selector", "kind:key:value is expected, such as unix:uid:1000");
  }
  if (parts[0] == "unix") return CheckUnixSelector(selector, parts[1], parts[2]);
  if (parts[0] == "k8s") return CheckKubernetesSelector(selector, parts[1], parts[2]);
  return absl::OkStatus();
}

absl::Status CheckDnsName(absl::string_view name) {
  constexpr absl::string_view kExpected =
      "labels of a-z, 0-9 and '-' with dots between them are expected, at most 253 bytes";
  if (name.empty() || name.size() > 253) return Invalid(name, "DNS name", kExpected);
  for (absl::string_view label : absl::StrSplit(name, '.')) {
    const bool fits = !label.empty() && label.size() <= 63 && label.front() != '-' &&
                      label.back() != '-' && std::all_of(label.begin(), label.end(), [](char c) {
                        return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
                      });
    if (!fits) return Invalid(name, "DNS name", kExpected);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Identity> CheckIdentity(const Registry& registry, v1::Identity identity,
                                           absl::Duration longest_ttl) {
  ASSIGN_OR_RETURN(const trust::TrustDomain trust_domain,
                   trust::TrustDomain::FromName(registry.meta().trust_domain()));
  RETURN_IF_ERROR(CheckWorkloadId(trust_domain, identity.spiffe_id()).status());
  if (identity.selectors().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the identity ", identity.spiffe_id(), " has no selector; name one at least"));
  }
  RETURN_IF_ERROR(CheckCount(identity.selectors_size(), kMaxSelectors, "selectors"));
  RETURN_IF_ERROR(CheckCount(identity.dns_names_size(), kMaxDnsNames, "DNS names"));
  RETURN_IF_ERROR(CheckCount(identity.node_ids_size(), kMaxNodeIds, "nodes"));
  for (const std::string& selector : identity.selectors()) {
    RETURN_IF_ERROR(CheckSelector(selector));
  }
  for (const std::string& name : identity.dns_names()) RETURN_IF_ERROR(CheckDnsName(name));
  RETURN_IF_ERROR(Normalise("selector", identity.mutable_selectors()));
  RETURN_IF_ERROR(Normalise("DNS name", identity.mutable_dns_names()));
  RETURN_IF_ERROR(Normalise("node", identity.mutable_node_ids()));
  RETURN_IF_ERROR(CheckTtl(identity.ttl_seconds(), longest_ttl));
  if (identity.hint().size() > kMaxHint || !IsPrintable(identity.hint())) {
    return Invalid(identity.hint(), "hint", "at most 256 printable bytes are expected");
  }
  RETURN_IF_ERROR(CheckNodes(registry, identity));
  RETURN_IF_ERROR(CheckUnique(registry, identity));
  identity.clear_revision();
  return identity;
}

absl::StatusOr<trust::v1::PeerRule> CheckRule(const Registry& registry, trust::v1::PeerRule rule) {
  ASSIGN_OR_RETURN(const trust::TrustDomain trust_domain,
                   trust::TrustDomain::FromName(registry.meta().trust_domain()));
  RETURN_IF_ERROR(CheckWorkloadId(trust_domain, rule.from()).status());
  RETURN_IF_ERROR(CheckWorkloadId(trust_domain, rule.to()).status());
  if (PolicyKey(rule.from(), rule.to()).size() > Store::kMaxKeyBytes) {
    return absl::InvalidArgumentError("the two SPIFFE IDs of the rule are too long together");
  }
  if (!trust::v1::PeerRule::Mode_IsValid(rule.mode())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the rule's mode is ", rule.mode(), "; ENFORCE or AUDIT is expected"));
  }
  if (!rule.outbound() && !rule.inbound()) {
    rule.set_outbound(true);
    rule.set_inbound(true);
  }
  const bool is_new = registry.rules().count({rule.from(), rule.to()}) == 0;
  if (is_new && registry.rules().size() >= sync::kMaxRules) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", sync::kMaxRules, " policy rules, which is the most"));
  }
  RETURN_IF_ERROR(CheckSnapshot(registry.GreatestSnapshotBytes() + rule.ByteSizeLong()));
  return rule;
}

}  // namespace linchpin::ca
