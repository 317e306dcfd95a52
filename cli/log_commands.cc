// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// log verify, tail.
#include <deque>
#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"
#include "x509/certificate.h"

namespace linchpin::cli {
namespace {

using ca::v1::LogEntry;

constexpr size_t kMostLines = 100000;

struct TailOptions {
  size_t lines = 1000;
  bool follow = false;
};

absl::Status Verify(Session& session) {
  ASSIGN_OR_RETURN(const ca::v1::LogVerification log,
                   CallCa(session, &AdminStub::VerifyLog, ca::v1::VerifyLogRequest()));
  session.exit_code = log.intact() ? 0 : 1;
  if (session.json()) return PrintJson(session, log);
  if (!log.intact()) {
    return absl::DataLossError("the issuance log is damaged: " + log.problem());
  }
  session.out << "intact: " << log.entries() << " entries, head "
              << absl::BytesToHexString(log.head()) << "\n";
  return absl::OkStatus();
}

absl::Status PrintEntry(Session& session, const LogEntry& entry) {
  if (session.json()) return PrintJsonLine(session, entry);
  session.out << Printable(absl::StrFormat(
                     "%8d  %s  until %s  %s  serial %s  by %s", entry.index(),
                     TimeText(entry.issued_at()), TimeText(entry.not_after()), entry.spiffe_id(),
                     x509::SerialText(entry.serial()),
                     entry.node_id().empty() ? std::string("the CA") : entry.node_id()))
              << std::endl;
  return absl::OkStatus();
}

absl::Status ReadEntries(Session& session, const ca::v1::ReadLogRequest& request,
                         const std::function<absl::Status(LogEntry&&)>& on_entry) {
  ASSIGN_OR_RETURN(const std::unique_ptr<AdminStub> stub, ConnectToCa(session));
  grpc::ClientContext context;
  if (!request.follow()) SetCallDeadline(&context);
  const auto reader = stub->ReadLog(&context, request);
  LogEntry entry;
  while (reader->Read(&entry)) RETURN_IF_ERROR(on_entry(std::move(entry)));
  return CallStatus(reader->Finish(), "the CA", session.admin_socket);
}

absl::Status Tail(Session& session, const TailOptions& options) {
  ca::v1::ReadLogRequest request;
  std::deque<LogEntry> last;
  uint64_t next = 0;
  RETURN_IF_ERROR(ReadEntries(session, request, [&](LogEntry&& entry) {
    next = entry.index() + 1;
    last.push_back(std::move(entry));
    if (last.size() > options.lines) last.pop_front();
    return absl::OkStatus();
  }));
  for (const LogEntry& entry : last) RETURN_IF_ERROR(PrintEntry(session, entry));
  if (!options.follow) return absl::OkStatus();
  request.set_from_index(next);
  request.set_follow(true);
  return ReadEntries(session, request,
                     [&](LogEntry&& entry) { return PrintEntry(session, entry); });
}

}  // namespace

void AddLogCommands(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "log", "The issuance log: every certificate that left the CA");
  CLI::App* verify = AddCommand(*group, session, "verify", "Check every entry and the hash chain",
                                [&session] { return Verify(session); });
  SetExamples(verify, "linchpin log verify");
  auto options = std::make_shared<TailOptions>();
  CLI::App* tail = AddCommand(*group, session, "tail", "Print the last entries",
                              [&session, options] { return Tail(session, *options); });
  tail->add_option("-n,--lines", options->lines, "How many")
      ->check(CLI::Range(size_t{0}, kMostLines))
      ->capture_default_str();
  tail->add_flag("-f,--follow", options->follow, "Go on with what is issued from now on");
  SetExamples(tail, "linchpin log tail -n 20\nlinchpin log tail --follow -o json");
}

}  // namespace linchpin::cli
