// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// bundle show.
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
              << (state.has_relax() ? " RELAXED (linchpin pins show)" : "")
              << "; revocations: " << state.revocations_size() << "\n";
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
}

}  // namespace linchpin::cli
