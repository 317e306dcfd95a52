// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/fetch_text.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "cli/output.h"
#include "cli/pins_document.h"
#include "cli/table.h"
#include "x509/certificate.h"

namespace linchpin::cli {
namespace {

using agent::v1::Identity;
using agent::v1::TrustDomainContext;

std::string LeftText(absl::Time until, absl::Time now) {
  const absl::Duration left = absl::Trunc(until - now, absl::Seconds(1));
  return left >= absl::ZeroDuration()
             ? absl::StrCat("in ", absl::FormatDuration(left))
             : absl::StrCat("expired ", absl::FormatDuration(-left), " ago");
}

void AddPeers(const Identity& identity, Table* table) {
  std::vector<std::string> peers;
  for (const trust::v1::PeerRule& rule : identity.rules()) {
    const std::string audit = rule.mode() == trust::v1::PeerRule::AUDIT ? " (audit)" : "";
    if (rule.outbound() && rule.from() == identity.spiffe_id()) {
      peers.push_back("calls " + rule.to() + audit);
    }
    if (rule.inbound() && rule.to() == identity.spiffe_id()) {
      peers.push_back("called by " + rule.from() + audit);
    }
  }
  for (size_t i = 0; i < peers.size(); ++i) table->Add({i == 0 ? "peers:" : "", peers[i]});
}

absl::Status Describe(const Identity& identity, absl::Time now, std::string* out) {
  std::vector<std::string> ders(identity.chain().begin(), identity.chain().end());
  ASSIGN_OR_RETURN(const x509::Chain chain, x509::ParseDerChain(absl::MakeConstSpan(ders)));
  if (chain.empty()) return absl::DataLossError("the agent sent an identity without certificate");
  const x509::CertificateFields& leaf = chain.front().fields();
  Table table;
  table.Add({"identity:",
             identity.spiffe_id() + (identity.hint().empty() ? "" : " (" + identity.hint() + ")")});
  table.Add(
      {"expires:", absl::StrCat(TimeText(leaf.not_after), ", ", LeftText(leaf.not_after, now))});
  table.Add({"serial:", x509::SerialText(leaf.serial)});
  table.Add({"issuer:", leaf.issuer});
  if (!leaf.dns_sans.empty()) table.Add({"dns:", absl::StrJoin(leaf.dns_sans, " ")});
  AddPeers(identity, &table);
  absl::StrAppend(out, table.ToString());
  if (identity.rules().empty()) {
    absl::StrAppend(out, "peers: none (linchpin policy allow --from ",
                    Printable(identity.spiffe_id()), " --to SPIFFE_ID)\n");
  }
  return absl::OkStatus();
}

std::string PinsLine(const trust::v1::EffectivePins& pins) {
  if (!pins.is_signed()) return "unsigned (set 0), " + ModeText(pins.mode());
  return absl::StrCat("set ", pins.version(), ", signed, ", ModeText(pins.mode()),
                      pins.any_under_anchor() ? ", root-pin" : "",
                      pins.expired() ? ", EXPIRED " : ", expires ", TimeText(pins.expires_at()),
                      RelaxedText(pins.relaxed_until()));
}

void Describe(const TrustDomainContext& context, std::string* out) {
  Table table;
  table.Add(
      {"trust domain:", absl::StrCat(context.trust_domain(), ", trust epoch ", context.epoch())});
  table.Add({"bundle:", absl::StrCat(context.anchors_size(), " anchors, ", context.issuers_size(),
                                     " issuers, ", context.twins_size(), " twins, ",
                                     context.revocations_size(), " revocations")});
  table.Add({"pins:", PinsLine(context.pins())});
  for (const std::string& pin : context.pins().anchors()) {
    table.Add({"", PinText(pin) + " anchor"});
  }
  for (const std::string& pin : context.pins().issuers()) {
    table.Add({"", PinText(pin) + " issuer"});
  }
  absl::StrAppend(out, table.ToString());
}

}  // namespace

absl::StatusOr<std::string> DescribeContexts(const agent::v1::MtlsContexts& contexts,
                                             absl::Time now) {
  std::string out;
  for (const Identity& identity : contexts.identities()) {
    RETURN_IF_ERROR(Describe(identity, now, &out));
  }
  for (const TrustDomainContext& context : contexts.trust_domains()) Describe(context, &out);
  return out;
}

std::string DescribeSelectors(const agent::v1::MtlsContexts& contexts) {
  std::string out = "identity: none; the agent sees this process as\n";
  for (const std::string& selector : contexts.selectors()) {
    absl::StrAppend(&out, "  ", Printable(selector), "\n");
  }
  return out;
}

}  // namespace linchpin::cli
