// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// ca csr, ca import: a root that is kept offline.
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/pause.h"
#include "cli/table.h"
#include "x509/pem.h"
#include "x509/secret_bytes.h"

namespace linchpin::cli {
namespace {

constexpr size_t kMaxFile = 256 * 1024;
constexpr size_t kMostBlocks = 16;
constexpr absl::Duration kStartDeadline = absl::Seconds(60);

std::string PemOf(const ca::v1::AwaitedCertificate& awaited) {
  std::string pem;
  x509::AppendPem("CERTIFICATE REQUEST", awaited.certificate_request(), &pem);
  return pem;
}

// What the certificates must have, as an extension file of openssl x509 and openssl ca.
std::string Extensions(const ca::v1::AwaitedList& list) {
  return absl::StrCat(
      "[linchpin_issuer]\n"
      "basicConstraints = critical,CA:TRUE,pathlen:0\n"
      "keyUsage = critical,keyCertSign,cRLSign\n"
      "subjectKeyIdentifier = hash\n"
      "authorityKeyIdentifier = keyid\n"
      "subjectAltName = URI:spiffe://",
      list.trust_domain(), "\n");
}

// rotation-prepared-1a2b3c4d.csr: what waits for it, what it is to be, and the pin's first bytes.
std::string NameOf(const ca::v1::AwaitedCertificate& one) {
  const std::string pin = absl::BytesToHexString(one.spki_sha256().substr(0, 4));
  if (one.purpose() == one.state()) return absl::StrCat(one.state(), "-", pin, ".csr");
  return absl::StrCat(one.purpose(), "-", one.state(), "-", pin, ".csr");
}

// Whoever certifies a whole directory is not to certify what was asked for some other time.
absl::Status HasNoOtherRequests(const ca::v1::AwaitedList& list, const std::string& directory) {
  std::set<std::string> names;
  for (const ca::v1::AwaitedCertificate& one : list.certificates()) names.insert(NameOf(one));
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!absl::EndsWith(name, ".csr") || names.count(name) > 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " has ", Printable(name),
                     ", which is not awaited (any more): name a directory that does not exist; "
                     "nothing was written"));
  }
  return absl::OkStatus();
}

absl::Status WriteRequests(Session& session, const ca::v1::AwaitedList& list,
                           const std::string& directory) {
  RETURN_IF_ERROR(base::EnsureDirectory(directory, 0755));
  RETURN_IF_ERROR(HasNoOtherRequests(list, directory));
  for (const ca::v1::AwaitedCertificate& one : list.certificates()) {
    const std::string path = absl::StrCat(directory, "/", NameOf(one));
    RETURN_IF_ERROR(base::WriteFileDurably(path, PemOf(one), 0644));
    session.out << path << "\n";
  }
  const std::string path = absl::StrCat(directory, "/issuer.cnf");
  RETURN_IF_ERROR(base::WriteFileDurably(path, Extensions(list), 0644));
  session.out << path << "\n";
  return absl::OkStatus();
}

// Who is to certify it.
std::string RootText(const ca::v1::AwaitedCertificate& one) {
  if (one.root_sha256().empty()) {
    return "by a self-signed root, whose own certificate comes with it";
  }
  return absl::StrCat("by the root ", PinText(one.root_sha256()), " ",
                      Printable(one.root_subject()));
}

// What waits for the same is certified by the same root and imported in one command.
void SayWhatNext(Session& session, const ca::v1::AwaitedList& list) {
  std::map<std::string, std::vector<const ca::v1::AwaitedCertificate*>> by_purpose;
  for (const ca::v1::AwaitedCertificate& one : list.certificates()) {
    by_purpose[one.purpose()].push_back(&one);
  }
  for (const auto& [purpose, all] : by_purpose) {
    session.err << "linchpin: " << all.size() << " for "
                << (purpose == "first-start" ? "the first start"
                    : purpose == "backup"    ? "a backup kept apart"
                                             : "the rotation")
                << ", to be certified " << RootText(*all.front())
                << ": CA:TRUE, pathlen:0, keyCertSign, subject and authority key identifiers\n"
                << "linchpin: next: linchpin ca import FILE..."
                << (all.front()->root_sha256().empty() ? ", with the root's certificate" : "")
                << (by_purpose.size() > 1 ? ", these alone" : "") << "\n";
  }
}

absl::Status ShowRequests(Session& session, const std::string& directory) {
  ASSIGN_OR_RETURN(const ca::v1::AwaitedList list,
                   CallCa(session, &AdminStub::ListAwaited, ca::v1::ListAwaitedRequest()));
  if (session.json()) return PrintJson(session, list);
  if (list.certificates().empty()) {
    return absl::FailedPreconditionError(
        "no certificate is awaited: linchpin rotate prepare, or linchpin ca backup create, asks "
        "for one under a root that is kept offline");
  }
  if (!directory.empty()) {
    RETURN_IF_ERROR(WriteRequests(session, list, directory));
  } else {
    for (const ca::v1::AwaitedCertificate& one : list.certificates()) {
      session.out << one.state() << " issuer of " << list.trust_domain() << ", key "
                  << PinText(one.spki_sha256()) << "\n"
                  << PemOf(one);
    }
  }
  SayWhatNext(session, list);
  return absl::OkStatus();
}

absl::Status HasPrivateKey(const std::string& path) {
  return absl::InvalidArgumentError(absl::StrCat(
      path,
      " holds a private key: nothing was sent. Remove it from the file, which should have "
      "certificates alone; if the key is the root's, find out who else has read it"));
}

// Certificates in DER, in the order of the file.
absl::Status ReadCertificates(const std::string& path, ca::v1::ImportCertificatesRequest* request) {
  ASSIGN_OR_RETURN(std::string read, base::ReadFile(path, kMaxFile));
  const x509::SecretBytes text = x509::SecretBytes::TakeAndWipe(&read);
  if (absl::StrContains(text.Reveal(), "PRIVATE KEY-----")) return HasPrivateKey(path);
  absl::StatusOr<std::vector<x509::PemBlock>> blocks = x509::ReadPem(text.Reveal(), kMostBlocks);
  if (!blocks.ok()) {
    return absl::Status(blocks.status().code(),
                        absl::StrCat(path, ": ", std::string(blocks.status().message()),
                                     "; certificates in PEM are expected, nothing was sent"));
  }
  for (const x509::PemBlock& block : *blocks) {
    if (block.label != "CERTIFICATE") {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " has a block ", Printable(block.label),
                       "; certificates alone are expected, nothing was sent"));
    }
    request->add_certificates(block.der);
  }
  return absl::OkStatus();
}

// The CA goes over to its normal work, for which it ends one socket and makes another.
absl::Status WaitUntilServing(Session& session) {
  const absl::Duration deadline = session.clock.Uptime() + kStartDeadline;
  while (true) {
    const absl::Status serves =
        CallCa(session, &AdminStub::GetAuthorities, ca::v1::GetAuthoritiesRequest()).status();
    if (serves.ok()) return absl::OkStatus();
    if (session.clock.Uptime() >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("the certificates were imported, but the CA does not serve yet: ",
                       std::string(serves.message()), "; see its log"));
    }
    Pause(absl::Milliseconds(50));
  }
}

absl::Status Import(Session& session, const std::vector<std::string>& files) {
  ca::v1::ImportCertificatesRequest request;
  for (const std::string& file : files) RETURN_IF_ERROR(ReadCertificates(file, &request));
  ASSIGN_OR_RETURN(const ca::v1::ImportedCertificates imported,
                   CallCa(session, &AdminStub::ImportCertificates, request));
  if (imported.first_start()) RETURN_IF_ERROR(WaitUntilServing(session));
  if (session.json()) return PrintJson(session, imported);
  if (imported.authorities().empty()) {
    session.out << "these certificates are here already\n";
  }
  Table table;
  for (const ca::v1::Authority& one : imported.authorities()) {
    table.Add({PinText(one.spki_sha256()), one.kind(), one.state(),
               absl::StrCat("until ", TimeText(one.not_after())), one.subject()});
  }
  session.out << table.ToString();
  for (const ca::v1::Authority& one : imported.authorities()) {
    if (one.warning().empty()) continue;
    session.err << "linchpin: warning: " << Printable(one.subject()) << ": "
                << Printable(one.warning()) << "\n";
  }
  for (const std::string& command : imported.next()) session.out << "next: " << command << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddOfflineCommands(CLI::App& group, Session& session) {
  auto directory = std::make_shared<std::string>();
  CLI::App* csr =
      AddCommand(group, session, "csr",
                 "Print the requests for certificates that a root which is kept offline is to make",
                 [&session, directory] { return ShowRequests(session, *directory); });
  csr->add_option("--out", *directory,
                  "A directory for one file each, and issuer.cnf with the extensions for openssl");
  SetExamples(csr,
              "linchpin ca csr --out requests\n"
              "openssl x509 -req -in requests/first-start-active-1a2b3c4d.csr -CA root.pem -CAkey "
              "root.key -days 90 -extfile requests/issuer.cnf -extensions linchpin_issuer -out "
              "active.pem");
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* import = AddCommand(
      group, session, "import",
      "Take the certificates that the root made, and its own: all that is awaited, or none",
      [&session, files] { return Import(session, *files); });
  import->add_option("FILE", *files, "PEM: certificates alone")->required();
  SetExamples(import, "linchpin ca import active.pem backup.pem root.pem");
}

}  // namespace linchpin::cli
