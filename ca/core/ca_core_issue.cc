// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Certificates of workloads: calls take their turn (issue_queue.h) and are decided when it comes.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/retry_after.h"
#include "base/status_macros.h"
#include "ca/core/ca_core.h"
#include "ca/core/reply.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr absl::Duration kSoonest = absl::Milliseconds(250);
constexpr absl::Duration kLatest = absl::Seconds(10);

absl::Status TooMany(const std::string& node_id, absl::Duration wait) {
  return base::WithRetryAfter(absl::ResourceExhaustedError(absl::StrCat(
                                  "more calls wait for certificates than the share of ", node_id,
                                  "; try again in ", absl::FormatDuration(wait))),
                              wait);
}

}  // namespace

// A call whose certificates are being made.
struct CaCore::Issuing {
  CallId call = 0;
  NodeCaller caller;
  size_t asked = 0;
  v1::IssueResponse response;
  std::vector<int> places;  // of the orders among the results
  std::string issuer;       // DER
};

void CaCore::On(absl::Time now, event::IssueAsked event, Actions* out) {
  absl::Status status = CheckOrTake(now, event.caller, out);
  if (status.ok() && draining_) status = absl::UnavailableError("the CA is shutting down");
  if (status.ok() && event.items.size() > kMaxIssueItems) {
    status = absl::InvalidArgumentError(absl::StrCat("the call asks for ", event.items.size(),
                                                     " certificates; at most ", kMaxIssueItems,
                                                     " are allowed"));
  }
  if (!status.ok()) return ReplyError(event.call, std::move(status), out);
  for (const event::IssueAsked& refused : issue_queue_.Add(std::move(event))) {
    const absl::Duration wait = absl::Trunc(std::clamp(issue_queue_.Backlog(), kSoonest, kLatest) *
                                                (0.75 + base::RandomFraction(random_) / 2),
                                            absl::Milliseconds(1));
    out->push_back(CountIssued("workload", absl::ResourceExhaustedError(""),
                               static_cast<int64_t>(refused.items.size())));
    ReplyError(refused.call, TooMany(refused.caller.node_id, wait), out);
  }
  BeginIssuing(now, out);
}

void CaCore::BeginIssuing(absl::Time now, Actions* out) {
  while (std::optional<event::IssueAsked> next = issue_queue_.Next()) {
    Begin(now, *std::move(next), out);
  }
}

void CaCore::Begin(absl::Time now, event::IssueAsked asked, Actions* out) {
  Issuing issuing{.call = asked.call,
                  .caller = asked.caller,
                  .asked = asked.items.size(),
                  .response = {},
                  .places = {},
                  .issuer = authorities_.active().certificate.der()};
  // Again: it may have waited.
  absl::Status status = CheckCaller(asked.caller);
  if (status.ok() && now >= asked.deadline) {
    status = absl::DeadlineExceededError("the call's turn came after its deadline; ask again");
  }
  if (!status.ok()) {
    issue_queue_.Done(issuing.asked);
    out->push_back(CountIssued("workload", status, static_cast<int64_t>(issuing.asked)));
    return ReplyError(asked.call, std::move(status), out);
  }
  std::vector<CertificateOrder> orders;
  orders.reserve(asked.items.size());
  for (IssueAskedItem& item : asked.items) {
    v1::IssueResult* result = issuing.response.add_results();
    absl::StatusOr<CertificateOrder> order = OrderFor(now, asked.caller.node_id, item);
    if (order.ok()) {
      issuing.places.push_back(issuing.response.results_size() - 1);
      orders.push_back(*std::move(order));
    } else {
      result->set_code(static_cast<uint32_t>(order.status().code()));
      result->set_message(std::string(order.status().message()));
      out->push_back(CountIssued("workload", order.status(), 1));
    }
  }
  if (orders.empty()) return AnswerIssue(std::move(issuing), MadeCertificates(), out);
  SignAndLog(
      authorities_.active(), std::move(orders),
      [this, issuing = std::move(issuing)](absl::Time then, absl::StatusOr<MadeCertificates> made,
                                           Actions* answers) mutable {
        AnswerIssue(std::move(issuing), std::move(made), answers);
        BeginIssuing(then, answers);
      },
      out);
}

void CaCore::AnswerIssue(Issuing issuing, absl::StatusOr<MadeCertificates> made, Actions* out) {
  issue_queue_.Done(issuing.asked);
  if (!made.ok()) {
    out->push_back(
        CountIssued("workload", made.status(), static_cast<int64_t>(issuing.places.size())));
    return ReplyError(issuing.call, made.status(), out);
  }
  int64_t issued = 0;
  for (size_t i = 0; i < issuing.places.size(); ++i) {
    v1::IssueResult* result = issuing.response.mutable_results(issuing.places[i]);
    absl::StatusOr<std::string>& certificate = (*made)[i];
    if (certificate.ok()) {
      ++issued;
      result->add_chain(*std::move(certificate));
      result->add_chain(issuing.issuer);
    } else {
      result->set_code(static_cast<uint32_t>(certificate.status().code()));
      result->set_message(std::string(certificate.status().message()));
      out->push_back(CountIssued("workload", certificate.status(), 1));
    }
  }
  if (issued > 0) out->push_back(CountIssued("workload", absl::OkStatus(), issued));
  // A ban is not answered with certificates that were under way.
  const absl::Status still = CheckCaller(issuing.caller);
  if (!still.ok()) return ReplyError(issuing.call, still, out);
  ReplyWith(issuing.call, std::move(issuing.response), out);
}

// No backdating across a revocation: what is issued after it is not what it denies.
absl::StatusOr<x509::CertificateSpec> CaCore::SpecFor(LeafNames names, absl::Duration ttl,
                                                      absl::Time now) {
  const absl::Time not_denied = registry_.DeniedUntil(names.spiffe_id) + absl::Seconds(1);
  ASSIGN_OR_RETURN(x509::CertificateSpec spec,
                   LeafSpec(options_.profile, std::move(names), ttl,
                            authorities_.active().certificate, now, random_));
  spec.not_before = std::max(spec.not_before, not_denied);
  // A clock that was set back since: nothing that is valid can be issued until it is there again.
  if (spec.not_before < spec.not_after) return spec;
  return absl::FailedPreconditionError(
      absl::StrCat(spec.uri_sans[0], " is revoked where issued until ", trust::TimeText(not_denied),
                   ", and it is ", trust::TimeText(now), "; check this CA's clock"));
}

absl::StatusOr<CertificateOrder> CaCore::OrderFor(absl::Time now, const std::string& node_id,
                                                  IssueAskedItem& item) {
  const auto* row = registry_.FindIdentity(item.identity_id);
  if (row == nullptr) {
    return absl::NotFoundError(absl::StrCat("the identity ", trust::Quoted(item.identity_id),
                                            " is not registered any more"));
  }
  const v1::Identity& identity = row->record.identity();
  if (!registry_.Sees(node_id, identity)) {
    return absl::PermissionDeniedError(
        absl::StrCat(node_id, " may not issue ", identity.spiffe_id()));
  }
  LeafNames names{.spiffe_id = identity.spiffe_id(),
                  .dns_names = {identity.dns_names().begin(), identity.dns_names().end()}};
  const absl::Duration ttl = identity.ttl_seconds() > 0 ? absl::Seconds(identity.ttl_seconds())
                                                        : options_.profile.leaf_ttl;
  // Also of an identity that was registered while leaves might live longer.
  const absl::Duration most =
      authorities_.LongestLeafOf(authorities_.active(), options_.profile.issuer_ttl);
  ASSIGN_OR_RETURN(x509::CertificateSpec spec, SpecFor(std::move(names), std::min(ttl, most), now));
  return CertificateOrder{.spec = std::move(spec),
                          .spiffe_id = identity.spiffe_id(),
                          .node_id = node_id,
                          .key = std::nullopt,
                          .request = std::move(item.request)};
}

}  // namespace linchpin::ca
