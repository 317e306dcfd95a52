// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/core/issuing.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

v1::LogEntry EntryOf(const LeafOrder& order, std::string sha256, const x509::Certificate& issuer,
                     absl::Time now) {
  v1::LogEntry entry;
  entry.set_issued_at(absl::ToUnixSeconds(now));
  entry.set_spiffe_id(order.spiffe_id);
  entry.set_node_id(order.node_id);
  entry.set_serial(order.spec.serial);
  entry.set_not_before(absl::ToUnixSeconds(order.spec.not_before));
  entry.set_not_after(absl::ToUnixSeconds(order.spec.not_after));
  entry.set_certificate_sha256(std::move(sha256));
  entry.set_key_sha256(order.key.pin().bytes());
  entry.set_issuer_key_sha256(issuer.public_key().pin().bytes());
  return entry;
}

absl::Status Refuse(const trust::SpiffeId& id, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("the request for ", id.ToString(), " asks for ",
                                                 what,
                                                 "; the registry decides what is certified: ask "
                                                 "for nothing"));
}

}  // namespace

absl::StatusOr<SignedOrders> SignOrders(const std::vector<LeafOrder>& orders,
                                        const x509::LeafTemplate& issuer, absl::Time now) {
  SignedOrders made;
  for (const LeafOrder& order : orders) {
    ASSIGN_OR_RETURN(x509::SignedLeaf leaf, issuer.Sign(order.spec, order.key));
    made.entries.push_back(EntryOf(order, std::move(leaf.sha256), issuer.issuer(), now));
    made.certificates.push_back(std::move(leaf.der));
  }
  return made;
}

absl::Status CheckAsks(const x509::CertificateRequest& request, const trust::SpiffeId& id,
                       const std::vector<std::string>& dns_names) {
  if (request.asks_for_ca()) return Refuse(id, "a CA certificate");
  if (request.asks_for_other_sans()) return Refuse(id, "a name that is neither URI nor DNS");
  for (const std::string& uri : request.uri_sans()) {
    if (uri != id.ToString()) return Refuse(id, absl::StrCat("the URI ", trust::Quoted(uri)));
  }
  for (const std::string& dns : request.dns_sans()) {
    if (std::find(dns_names.begin(), dns_names.end(), dns) == dns_names.end()) {
      return Refuse(id, absl::StrCat("the DNS name ", trust::Quoted(dns)));
    }
  }
  return absl::OkStatus();
}

}  // namespace linchpin::ca
