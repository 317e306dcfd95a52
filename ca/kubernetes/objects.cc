// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/kubernetes/objects.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/config_file.h"
#include "base/status_macros.h"
#include "ca/core/registration.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

using kube::Json;

constexpr size_t kMaxCallers = 256;
constexpr size_t kMaxDnsNames = 16;

absl::Status Invalid(absl::string_view field, absl::string_view value, absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", trust::Quoted(value), "; ", expected, " is expected"));
}

// What is misspelt would be no condition at all, and the object would be of everybody.
absl::Status OnlyKnown(const Json& object, const std::set<absl::string_view>& known) {
  const Json* spec = kube::At(object, {"spec"});
  if (spec == nullptr) return absl::OkStatus();
  if (!spec->is_object()) return absl::InvalidArgumentError("spec is no object");
  for (const auto& [name, value] : spec->items()) {
    if (known.count(name) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("spec.", name, " is not known; ", absl::StrJoin(known, ", "), " are"));
    }
  }
  return absl::OkStatus();
}

// A node goes by what a pod has.
absl::Status CheckThatNodesSee(const LabelSelector& pods) {
  for (const LabelExpression& expression : pods.expressions) {
    if (expression.op != LabelExpression::Operator::kNotIn &&
        expression.op != LabelExpression::Operator::kDoesNotExist) {
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "spec.podSelector.matchExpressions asks that pods have not ", trust::Quoted(expression.key),
        ", and a node goes by what a pod has; In and Exists are expected"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> CheckTemplate(const std::string& text) {
  const std::string plain = absl::StrReplaceAll(
      text, {{"{trustdomain}", "example.org"}, {"{namespace}", "n"}, {"{serviceaccount}", "s"}});
  const auto id = trust::SpiffeId::Parse(plain);
  if (!absl::StartsWith(text, "spiffe://{trustdomain}/") || !id.ok()) {
    return Invalid("spec.spiffeIDTemplate", text,
                   "spiffe://{trustdomain}/…, with {namespace} and {serviceaccount}");
  }
  if (id->IsReserved()) {
    return Invalid("spec.spiffeIDTemplate", text, "an ID that is not below /linchpin/");
  }
  return text;
}

absl::StatusOr<std::string> CallerId(const Json& caller, const trust::TrustDomain& trust_domain,
                                     const std::string& own_namespace) {
  const std::string id = kube::TextAt(caller, {"spiffeID"}, 2048);
  const std::string account = kube::TextAt(caller, {"serviceAccount"});
  if (id.empty() == account.empty()) {
    return absl::InvalidArgumentError(
        "each of spec.from has either a serviceAccount (with its namespace) or a spiffeID");
  }
  if (!id.empty()) {
    const auto checked = CheckWorkloadId(trust_domain, id);
    if (checked.ok()) return id;
    return absl::InvalidArgumentError(
        absl::StrCat("a spiffeID of spec.from: ", checked.status().message()));
  }
  std::string name_space = kube::TextAt(caller, {"namespace"});
  if (name_space.empty()) name_space = own_namespace;
  return Filled(kDefaultIdTemplate, trust_domain, name_space, account);
}

}  // namespace

std::string ObjectName::Text() const {
  return name_space.empty() ? name : absl::StrCat(name_space, "/", name);
}

absl::StatusOr<ObjectName> ReadObjectName(const Json& object) {
  ObjectName name{.uid = kube::TextAt(object, {"metadata", "uid"}, 128),
                  .name_space = kube::TextAt(object, {"metadata", "namespace"}, 63),
                  .name = kube::TextAt(object, {"metadata", "name"}, 253),
                  .generation = kube::NumberAt(object, {"metadata", "generation"}).value_or(0)};
  if (!name.uid.empty() && !name.name.empty()) return name;
  return absl::InvalidArgumentError("an object has no uid or no name");
}

std::string Filled(absl::string_view text, const trust::TrustDomain& trust_domain,
                   absl::string_view name_space, absl::string_view account) {
  return absl::StrReplaceAll(text, {{"{trustdomain}", trust_domain.name()},
                                    {"{namespace}", name_space},
                                    {"{serviceaccount}", account}});
}

absl::StatusOr<WorkloadIdentity> ReadWorkloadIdentity(const Json& object) {
  RETURN_IF_ERROR(OnlyKnown(
      object, {"spiffeIDTemplate", "namespaceSelector", "podSelector", "ttl", "dnsNames"}));
  WorkloadIdentity identity;
  std::string id_template = kube::TextAt(object, {"spec", "spiffeIDTemplate"}, 2048);
  if (id_template.empty()) id_template = kDefaultIdTemplate;
  ASSIGN_OR_RETURN(identity.id_template, CheckTemplate(id_template));
  ASSIGN_OR_RETURN(identity.namespaces, ReadSelector(object, "namespaceSelector"));
  ASSIGN_OR_RETURN(identity.pods, ReadSelector(object, "podSelector"));
  RETURN_IF_ERROR(CheckThatNodesSee(identity.pods));
  const std::string ttl = kube::TextAt(object, {"spec", "ttl"});
  if (!ttl.empty()) {
    ASSIGN_OR_RETURN(const absl::Duration life, base::ParseDuration(ttl, "spec.ttl"));
    identity.ttl_seconds = absl::ToInt64Seconds(life);
  }
  if (const Json* names = kube::At(object, {"spec", "dnsNames"})) {
    if (!names->is_array() || names->size() > kMaxDnsNames) {
      return absl::InvalidArgumentError(
          absl::StrCat("spec.dnsNames has over ", kMaxDnsNames, " names"));
    }
    for (const Json& name : *names) {
      identity.dns_names.push_back(name.is_string() ? name.get<std::string>() : "");
    }
  }
  return identity;
}

WorkloadIdentity IdentityOfLabel(absl::string_view label) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(label, absl::MaxSplits('=', 1));
  WorkloadIdentity identity{.id_template = kDefaultIdTemplate};
  identity.namespaces.labels.insert(parts);
  return identity;
}

absl::StatusOr<PeerPolicy> ReadPeerPolicy(const Json& object,
                                          const trust::TrustDomain& trust_domain) {
  RETURN_IF_ERROR(OnlyKnown(object, {"to", "from", "mode"}));
  const std::string name_space = kube::TextAt(object, {"metadata", "namespace"}, 63);
  const std::string account = kube::TextAt(object, {"spec", "to", "serviceAccount"});
  if (account.empty()) {
    return absl::InvalidArgumentError(
        "spec.to.serviceAccount is missing: the service account of this namespace that is called");
  }
  const std::string mode = kube::TextAt(object, {"spec", "mode"});
  if (!mode.empty() && mode != "enforce" && mode != "audit") {
    return Invalid("spec.mode", mode, "enforce or audit");
  }
  const Json* callers = kube::At(object, {"spec", "from"});
  if (callers == nullptr || !callers->is_array() || callers->empty() ||
      callers->size() > kMaxCallers) {
    return absl::InvalidArgumentError(
        absl::StrCat("spec.from names nobody, or over ", kMaxCallers, " callers"));
  }
  PeerPolicy policy;
  std::set<std::string> seen;
  for (const Json& caller : *callers) {
    trust::v1::PeerRule rule;
    ASSIGN_OR_RETURN(*rule.mutable_from(), CallerId(caller, trust_domain, name_space));
    if (!seen.insert(rule.from()).second) continue;
    rule.set_to(Filled(kDefaultIdTemplate, trust_domain, name_space, account));
    rule.set_mode(mode == "audit" ? trust::v1::PeerRule::AUDIT : trust::v1::PeerRule::ENFORCE);
    rule.set_outbound(true);
    rule.set_inbound(true);
    policy.rules.push_back(std::move(rule));
  }
  return policy;
}

}  // namespace linchpin::ca
