// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// bundle show; coverage.
#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"
#include "x509/certificate.h"

namespace linchpin::cli {
namespace {

absl::Status AddCertificates(const google::protobuf::RepeatedPtrField<std::string>& ders,
                             const std::string& kind, Table* table) {
  for (const std::string& der : ders) {
    ASSIGN_OR_RETURN(const x509::Certificate certificate, x509::Certificate::FromDer(der));
    table->Add({kind, certificate.public_key().pin().ToString(), certificate.fields().subject,
                absl::StrCat("until ", TimeText(certificate.fields().not_after))});
  }
  return absl::OkStatus();
}

absl::Status ShowBundle(Session& session, bool pem) {
  ASSIGN_OR_RETURN(const trust::v1::TrustState state,
                   CallCa(session, &AdminStub::GetTrust, ca::v1::GetTrustStateRequest()));
  if (session.json()) return PrintJson(session, state);
  if (pem) {
    for (const std::string& der : state.anchors()) {
      ASSIGN_OR_RETURN(const x509::Certificate certificate, x509::Certificate::FromDer(der));
      session.out << certificate.ToPem();
    }
    return absl::OkStatus();
  }
  session.out << "trust domain " << state.trust_domain() << ", trust epoch " << state.epoch()
              << "\n";
  Table table;
  RETURN_IF_ERROR(AddCertificates(state.anchors(), "anchor", &table));
  RETURN_IF_ERROR(AddCertificates(state.issuers(), "issuer", &table));
  session.out << table.ToString();
  session.out << "pin sets: " << state.pin_sets_size()
              << (state.pin_sets().empty() ? " (unsigned: linchpin pins draft)"
                                           : " (linchpin pins show)")
              << "; revocations: " << state.revocations_size() << "\n";
  return absl::OkStatus();
}

std::string EvidenceText(ca::v1::Evidence evidence) {
  switch (evidence) {
    case ca::v1::IN_FORCE:
      return "in force";
    case ca::v1::ACCEPTED:
      return "accepted";
    case ca::v1::RELOADED:
      return "reloaded";
    case ca::v1::DELIVERED:
      return "delivered (assumed)";
    default:
      return "none";
  }
}

void AddNode(const ca::v1::NodeCoverage& node, Table* table) {
  std::string state = node.connected() ? "connected" : "silent since " + TimeText(node.last_seen());
  if (!node.refused().empty()) state = "refuses: " + node.refused();
  table->Add({node.node_id(), absl::StrCat(node.epoch_held()), YesNo(node.covered()), state});
  for (const ca::v1::Consumer& consumer : node.consumers()) {
    table->Add({"  " + consumer.spiffe_id(), absl::StrCat(consumer.trust_epoch()),
                EvidenceText(consumer.evidence()), consumer.consumer_id()});
  }
}

absl::Status ShowCoverage(Session& session, uint64_t epoch) {
  ca::v1::CoverageRequest request;
  request.set_epoch(epoch);
  ASSIGN_OR_RETURN(const ca::v1::Coverage coverage,
                   CallCa(session, &AdminStub::GetCoverage, request));
  session.exit_code = coverage.complete() ? 0 : 1;
  if (session.json()) return PrintJson(session, coverage);
  const auto covered = std::count_if(coverage.nodes().begin(), coverage.nodes().end(),
                                     [](const auto& node) { return node.covered(); });
  session.out << "trust epoch " << coverage.epoch() << ": "
              << (coverage.complete() ? "complete" : "incomplete") << ", " << covered << " of "
              << coverage.nodes_size() << " nodes\n";
  Table table({"NODE", "EPOCH", "COVERED", "STATE"});
  for (const ca::v1::NodeCoverage& node : coverage.nodes()) AddNode(node, &table);
  if (!table.empty()) session.out << table.ToString();
  return absl::OkStatus();
}

}  // namespace

void AddTrustCommands(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "bundle", "The trust domain's anchors and issuers");
  auto pem = std::make_shared<bool>(false);
  CLI::App* show = AddCommand(*group, session, "show", "Show anchors, issuers and trust epoch",
                              [&session, pem] { return ShowBundle(session, *pem); });
  show->add_flag("--pem", *pem, "Print the anchors' certificates");
  SetExamples(show, "linchpin bundle show\nlinchpin bundle show --pem > roots.pem");

  auto epoch = std::make_shared<uint64_t>(0);
  CLI::App* coverage = AddCommand(
      app, session, "coverage",
      "Which nodes hold and which services enforce a trust epoch; exits 1 while incomplete",
      [&session, epoch] { return ShowCoverage(session, *epoch); });
  coverage->add_option("--epoch", *epoch, "The trust epoch to ask for; default: the current one");
  SetExamples(coverage, "linchpin coverage\nuntil linchpin coverage --epoch 7; do sleep 1; done");
}

}  // namespace linchpin::cli
