// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/deliver/workload_messages.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "trust/text.h"
#include "x509/digest.h"
#include "x509/secret_bytes.h"

namespace linchpin::agent {
namespace {

constexpr size_t kMaxHintBytes = 1024;  // of the standard
constexpr int kMaxSelectorsTold = 24;

std::string DomainId(absl::string_view trust_domain) {
  return absl::StrCat("spiffe://", trust_domain);
}

// By "spiffe://" and the trust domain. "Bundles are ASN.1 DER encoded": one after the other.
std::map<std::string, std::string> Bundles(const v1::MtlsContexts& contexts, trust::BundleKind kind,
                                           absl::Time now) {
  std::map<std::string, std::string> bundles;
  for (const v1::TrustDomainContext& domain : contexts.trust_domains()) {
    std::string& bundle = bundles[DomainId(domain.trust_domain())];
    for (const std::string& der : trust::BundleOf(domain, kind, now).certificates) bundle += der;
  }
  return bundles;
}

absl::string_view DomainOf(absl::string_view spiffe_id) {
  return spiffe_id.substr(0, spiffe_id.find('/', DomainId("").size()));
}

// The selector that says most in one: of the program, if it was seen, else of the user.
absl::string_view Telling(const v1::MtlsContexts& contexts) {
  for (const absl::string_view kind : {"unix:path:", "unix:uid:"}) {
    for (const std::string& selector : contexts.selectors()) {
      if (absl::StartsWith(selector, kind)) return selector;
    }
  }
  return contexts.selectors().empty() ? "SELECTOR" : absl::string_view(contexts.selectors(0));
}

// Without certificates, as where all have expired, there is none to send.
bool SaysSomething(const X509SVIDResponse& response) { return response.svids_size() > 0; }
bool SaysSomething(const X509BundlesResponse& response) { return response.bundles_size() > 0; }

// Keys come and go with their certificates.
std::string ContentOf(const X509SVIDResponse& response) {
  x509::FieldHasher hasher("linchpin workload svids v1");
  for (const X509SVID& svid : response.svids()) {
    hasher.Add(svid.spiffe_id()).Add(svid.x509_svid()).Add(svid.bundle()).Add(svid.hint());
  }
  return hasher.Finish();
}

std::string ContentOf(const X509BundlesResponse& response) {
  const std::map<std::string, std::string> sorted(response.bundles().begin(),
                                                  response.bundles().end());
  x509::FieldHasher hasher("linchpin workload bundles v1");
  for (const auto& [domain, bundle] : sorted) hasher.Add(domain).Add(bundle);
  return hasher.Finish();
}

std::shared_ptr<const X509SVIDResponse> Render(const v1::MtlsContexts& contexts,
                                               trust::BundleKind kind, absl::Time now,
                                               const X509SVIDResponse*) {
  return x509::ShareWiped(ToX509Svids(contexts, kind, now), WipeKeys);
}

std::shared_ptr<const X509BundlesResponse> Render(const v1::MtlsContexts& contexts,
                                                  trust::BundleKind kind, absl::Time now,
                                                  const X509BundlesResponse*) {
  return std::make_shared<X509BundlesResponse>(ToX509Bundles(contexts, kind, now));
}

}  // namespace

X509SVIDResponse ToX509Svids(const v1::MtlsContexts& contexts, trust::BundleKind kind,
                             absl::Time now) {
  const std::map<std::string, std::string> bundles = Bundles(contexts, kind, now);
  X509SVIDResponse response;
  std::set<std::string> hints;
  for (const v1::Identity& identity : contexts.identities()) {
    X509SVID& svid = *response.add_svids();
    svid.set_spiffe_id(identity.spiffe_id());
    for (const std::string& der : identity.chain()) *svid.mutable_x509_svid() += der;
    svid.set_x509_svid_key(identity.private_key());
    const auto bundle = bundles.find(std::string(DomainOf(identity.spiffe_id())));
    if (bundle != bundles.end()) svid.set_bundle(bundle->second);
    if (identity.hint().size() <= kMaxHintBytes && hints.insert(identity.hint()).second) {
      svid.set_hint(identity.hint());
    }
  }
  return response;
}

X509BundlesResponse ToX509Bundles(const v1::MtlsContexts& contexts, trust::BundleKind kind,
                                  absl::Time now) {
  X509BundlesResponse response;
  for (auto& [domain, bundle] : Bundles(contexts, kind, now)) {
    (*response.mutable_bundles())[domain] = bundle;
  }
  return response;
}

void WipeKeys(X509SVIDResponse* response) {
  for (X509SVID& svid : *response->mutable_svids()) {
    x509::WipeString(svid.mutable_x509_svid_key());
  }
}

absl::Status CheckHasIdentity(const v1::MtlsContexts& contexts, const std::string& trust_domain) {
  if (!contexts.identities().empty()) return absl::OkStatus();
  if (!contexts.unavailable().empty()) return absl::UnavailableError(contexts.unavailable());
  const int told = std::min(contexts.selectors_size(), kMaxSelectorsTold);
  return absl::PermissionDeniedError(absl::StrCat(
      "no identity is registered for this process, which has the selectors ",
      absl::StrJoin(contexts.selectors().begin(), contexts.selectors().begin() + told, ", "),
      told < contexts.selectors_size() ? ", and more" : "", ": linchpin identity create --id ",
      DomainId(trust_domain), "/NAME --selector ", Telling(contexts), " --node NODE_ID"));
}

template <typename Response>
absl::StatusOr<std::shared_ptr<const Response>> WorkloadStream<Response>::Next(
    const v1::MtlsContexts& contexts, absl::Time now) {
  const bool begun = !content_.empty();
  const absl::Status status = CheckHasIdentity(contexts, trust_domain_);
  if (!status.ok() && !(begun && absl::IsUnavailable(status))) return status;
  std::shared_ptr<const Response> message =
      Render(contexts, kind_, now, static_cast<const Response*>(nullptr));
  if (!SaysSomething(*message)) return nullptr;
  std::string content = ContentOf(*message);
  if (content == content_) return nullptr;
  content_ = std::move(content);
  return message;
}

template class WorkloadStream<X509SVIDResponse>;
template class WorkloadStream<X509BundlesResponse>;

}  // namespace linchpin::agent
