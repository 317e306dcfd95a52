// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// operator create, renew, list, delete.
#include <sys/stat.h>

#include <cerrno>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/config_file.h"
#include "base/durable_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/operator_channel.h"
#include "cli/output.h"
#include "cli/table.h"
#include "x509/certificate.h"
#include "x509/certificate_request.h"
#include "x509/key.h"
#include "x509/pem.h"

namespace linchpin::cli {
namespace {

constexpr size_t kMaxRequest = 64 * 1024;
constexpr char kStandard[] = "-";  // input or output

struct CreateOptions {
  std::string name;
  std::string role;
  std::string key_out;
  std::string csr;
  std::string cert_out;
  std::string ttl = "8h";
  bool replace = false;
};

absl::Status CheckNew(const std::string& path) {
  struct stat found = {};
  if (lstat(path.c_str(), &found) != 0 && errno == ENOENT) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat(path, " exists: it is kept; name another file"));
}

absl::Status WriteChain(Session& session, const ca::v1::OperatorCertificate& made,
                        const std::string& path) {
  std::string pem;
  for (const std::string& der : made.chain()) {
    ASSIGN_OR_RETURN(const x509::Certificate certificate, x509::Certificate::FromDer(der));
    pem += certificate.ToPem();
  }
  if (path != kStandard) return base::WriteFileDurably(path, pem, 0644);
  session.out << pem;
  return absl::OkStatus();
}

// DER of what openssl req -new writes.
absl::StatusOr<std::string> ReadRequest(const std::string& path) {
  std::string pem;
  if (path == kStandard) {
    pem.resize(kMaxRequest);
    std::cin.read(pem.data(), static_cast<std::streamsize>(pem.size()));
    pem.resize(static_cast<size_t>(std::cin.gcount()));
  } else {
    ASSIGN_OR_RETURN(pem, base::ReadFile(path, kMaxRequest));
  }
  const absl::StatusOr<std::vector<x509::PemBlock>> blocks = x509::ReadPem(pem, 1);
  if (blocks.ok() && blocks->front().label == "CERTIFICATE REQUEST") return blocks->front().der;
  return absl::InvalidArgumentError(
      absl::StrCat("--csr ", path,
                   " holds no certificate request: write one with openssl req -new "
                   "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=alice -keyout "
                   "alice.key -out alice.csr"));
}

absl::Status Print(Session& session, const ca::v1::OperatorCertificate& made,
                   const std::string& done) {
  if (session.json()) return PrintJson(session, made);
  const ca::v1::Operator& one = made.holder();
  session.out << "operator " << one.name() << " (" << one.role() << ") " << done << " until "
              << TimeText(one.certificate_expires_at()) << "\n";
  return absl::OkStatus();
}

// For a key that is made here, or elsewhere.
absl::StatusOr<std::string> MakeRequest(const CreateOptions& options) {
  if (!options.csr.empty()) return ReadRequest(options.csr);
  RETURN_IF_ERROR(CheckNew(options.key_out));
  ASSIGN_OR_RETURN(const x509::PrivateKey key, x509::PrivateKey::Generate(x509::KeyType::kP256));
  // First the key, so that no certificate is ever without it.
  RETURN_IF_ERROR(base::WriteFileDurably(options.key_out, key.ToPem().Reveal(), 0600));
  return x509::MakeCertificateRequest(key);
}

absl::Status Create(Session& session, const CreateOptions& options) {
  if (options.key_out.empty() == options.csr.empty()) {
    return UsageError(
        "give either --key-out, a new file for a key that is made here, or --csr, a request for a "
        "key that is elsewhere");
  }
  if (options.cert_out == kStandard && session.json()) {
    return UsageError("--cert-out - writes the certificate alone: it is there without -o json");
  }
  if (options.cert_out != kStandard) RETURN_IF_ERROR(CheckNew(options.cert_out));
  ASSIGN_OR_RETURN(const absl::Duration ttl, base::ParseDuration(options.ttl, "--ttl"));
  ca::v1::CreateOperatorRequest request;
  request.set_name(options.name);
  request.set_role(options.role);
  request.set_ttl_seconds(absl::ToInt64Seconds(ttl));
  request.set_replace(options.replace);
  ASSIGN_OR_RETURN(*request.mutable_certificate_request(), MakeRequest(options));
  const absl::StatusOr<ca::v1::OperatorCertificate> made =
      CallCa(session, &AdminStub::CreateOperator, request);
  if (!made.ok()) {
    if (!options.key_out.empty()) (void)base::RemoveFileDurably(options.key_out);
    return made.status();
  }
  RETURN_IF_ERROR(WriteChain(session, *made, options.cert_out));
  return options.cert_out == kStandard ? absl::OkStatus() : Print(session, *made, "may ask");
}

struct RenewOptions {
  std::string ttl = "8h";
};

absl::Status Renew(Session& session, const RenewOptions& options) {
  if (session.ca.empty()) {
    return UsageError("only an operator renews its certificate: name the CA with --ca");
  }
  ASSIGN_OR_RETURN(const absl::Duration ttl, base::ParseDuration(options.ttl, "--ttl"));
  ASSIGN_OR_RETURN(const std::shared_ptr<const trust::MtlsContext> shown, ReadOperator(session));
  ca::v1::RenewOperatorRequest request;
  request.set_ttl_seconds(absl::ToInt64Seconds(ttl));
  ASSIGN_OR_RETURN(*request.mutable_certificate_request(),
                   x509::MakeCertificateRequest(*shown->key()));
  ASSIGN_OR_RETURN(const ca::v1::OperatorCertificate made,
                   CallCa(session, &AdminStub::RenewOperator, request));
  RETURN_IF_ERROR(WriteChain(session, made, session.operator_cert));
  return Print(session, made, "is renewed");
}

absl::Status List(Session& session) {
  ASSIGN_OR_RETURN(const ca::v1::OperatorList operators,
                   CallCa(session, &AdminStub::ListOperators, ca::v1::ListOperatorsRequest()));
  if (session.json()) return PrintJson(session, operators);
  Table table({"NAME", "ROLE", "CERTIFICATE UNTIL", "CREATED BY", "CREATED", "KEY"});
  for (const ca::v1::Operator& one : operators.operators()) {
    table.Add({one.name(), one.role(), TimeText(one.certificate_expires_at()), one.created_by(),
               TimeText(one.created_at()), PinText(one.key_sha256())});
  }
  session.out << (table.empty() ? "no operators but the admin socket's (linchpin operator create)\n"
                                : table.ToString());
  return absl::OkStatus();
}

absl::Status Delete(Session& session, const std::string& name) {
  ca::v1::DeleteOperatorRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(const ca::v1::Operator deleted,
                   CallCa(session, &AdminStub::DeleteOperator, request));
  if (session.json()) return PrintJson(session, deleted);
  session.out << "operator " << deleted.name() << " is deleted: refused from now on\n";
  return absl::OkStatus();
}

void AddCreate(CLI::App& group, Session& session) {
  auto options = std::make_shared<CreateOptions>();
  CLI::App* create =
      AddCommand(group, session, "create", "Make a key and have it certified as an operator's",
                 [&session, options] { return Create(session, *options); });
  create->add_option("--name", options->name, "Letters, digits, '.', '-', '_'")->required();
  create
      ->add_option("--role", options->role,
                   "viewer: looks; registrar: also identities, policy, join tokens; admin: all")
      ->required();
  create->add_option("--key-out", options->key_out, "A new file for the key (0600)");
  create->add_option(
      "--csr", options->csr,
      "Instead: a request (PEM) for a key that stays where it is; -: standard input");
  create
      ->add_option("--cert-out", options->cert_out,
                   "A new file for the certificate; -: standard output")
      ->required();
  create->add_option("--ttl", options->ttl, "Life of the certificate, at most 24h")
      ->check(CheckDuration)
      ->capture_default_str();
  create->add_flag(
      "--replace", options->replace,
      "Of an operator that exists: a new key and role; the old key is refused at once");
  SetExamples(create,
              "linchpin operator create --name alice --role registrar --key-out alice.key "
              "--cert-out alice.pem");
}

}  // namespace

void AddOperatorCommands(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "operator", "Who may ask what of the CA over the network");
  AddCreate(*group, session);
  auto renewal = std::make_shared<RenewOptions>();
  CLI::App* renew = AddCommand(*group, session, "renew",
                               "Renew one's own certificate while it is valid, with the same key",
                               [&session, renewal] { return Renew(session, *renewal); });
  renew->add_option("--ttl", renewal->ttl, "Life of the certificate, at most 24h")
      ->check(CheckDuration)
      ->capture_default_str();
  SetExamples(renew,
              "linchpin --ca ca.example.org:8444 --operator-cert alice.pem --operator-key "
              "alice.key --ca-pin sha256:... operator renew");
  CLI::App* list = AddCommand(*group, session, "list", "List the operators and their roles",
                              [&session] { return List(session); });
  SetExamples(list, "linchpin operator list");
  auto name = std::make_shared<std::string>();
  CLI::App* remove = AddCommand(*group, session, "delete", "Refuse an operator from now on",
                                [&session, name] { return Delete(session, *name); });
  remove->add_option("NAME,--name", *name, "Its name")->required();
  SetExamples(remove, "linchpin operator delete alice");
}

}  // namespace linchpin::cli
