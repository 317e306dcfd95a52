// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// ca backup create.
#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/key_files.h"
#include "cli/output.h"
#include "cli/table.h"
#include "trust/canary.h"
#include "trust/issuer_request.h"
#include "x509/certificate_builder.h"

namespace linchpin::cli {
namespace {

// Made, or taken up where an earlier run was cut off.
absl::StatusOr<x509::PrivateKey> KeyIn(Session& session, const std::string& path) {
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0) {
    RETURN_IF_ERROR(MakeKeyFile(path).status());
  } else {
    session.err << "linchpin: takes up the key in " << path << "\n";
  }
  return ReadPrivateKeyFile(path);
}

// A positive serial of 16 bytes.
std::string NewSerial() {
  std::string serial = base::RandomBytes(base::SystemRandom(), 16);
  serial[0] = static_cast<char>((serial[0] & 0x7f) | 0x40);
  return serial;
}

// A root that is kept offline makes the certificate: it comes by ca import.
void SayWhatIsAwaited(Session& session, const std::string& out) {
  session.out << "the root is kept offline, and the certificate waits for it\n"
              << "next: linchpin ca csr\n"
              << "next: linchpin ca import FILE...\n"
              << "next: linchpin ca backup create --out " << out << "\n";
}

// The key never leaves this program: the CA is sent a request, and what the key has signed.
absl::Status Create(Session& session, const std::string& out) {
  ASSIGN_OR_RETURN(const x509::PrivateKey key, KeyIn(session, out));
  ca::v1::CreateBackupRequest request;
  ASSIGN_OR_RETURN(const ca::v1::Authorities authorities,
                   CallCa(session, &AdminStub::GetAuthorities, ca::v1::GetAuthoritiesRequest()));
  ASSIGN_OR_RETURN(const trust::TrustDomain trust_domain,
                   trust::TrustDomain::FromName(authorities.trust_domain()));
  ASSIGN_OR_RETURN(*request.mutable_certificate_request(),
                   trust::MakeIssuerRequest(trust_domain, key));
  ASSIGN_OR_RETURN(const ca::v1::Authority certified,
                   CallCa(session, &AdminStub::CreateBackup, request));
  if (!certified.warning().empty()) {
    session.err << "linchpin: warning: " << Printable(certified.warning()) << "\n";
  }
  if (certified.certificate().empty()) {
    if (session.json()) return PrintJson(session, certified);
    SayWhatIsAwaited(session, out);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const x509::Certificate certificate,
                   x509::Certificate::FromDer(certified.certificate()));
  if (!(certificate.public_key() == key.public_key())) {
    return absl::InternalError(absl::StrCat("the CA certified another key than that in ", out));
  }
  ASSIGN_OR_RETURN(const x509::Certificate twin, x509::MakeTwin(certificate, key, NewSerial()));
  ASSIGN_OR_RETURN(const x509::Certificate canary,
                   trust::MakeCanary(trust_domain, certificate, key, NewSerial()));
  ca::v1::FinishBackupRequest finish;
  finish.set_certificate(certificate.der());
  finish.set_twin(twin.der());
  finish.set_canary(canary.der());
  ASSIGN_OR_RETURN(const ca::v1::Authority backup,
                   CallCa(session, &AdminStub::FinishBackup, finish));
  if (session.json()) return PrintJson(session, backup);
  session.out << PinText(backup.spki_sha256()) << " " << backup.subject() << " until "
              << TimeText(backup.not_after()) << "\n"
              << "its key is in " << out << " alone: keep it where only you reach it\n"
              << "next: linchpin failover --check\n";
  return absl::OkStatus();
}

}  // namespace

void AddBackupCommands(CLI::App& group, Session& session) {
  CLI::App* backup = AddGroup(group, "backup", "The issuer that takes over in an emergency");
  auto out = std::make_shared<std::string>();
  CLI::App* create =
      AddCommand(*backup, session, "create",
                 "Make a backup issuer whose key stays in FILE (0600); it replaces the one before",
                 [&session, out] { return Create(session, *out); });
  create->add_option("--out", *out, "The key file to make; one that is there is taken up")
      ->required();
  SetExamples(create, "linchpin ca backup create --out backup.key && linchpin failover --check");
}

}  // namespace linchpin::cli
