// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// log verify, tail.
#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/mutex.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/log_text.h"
#include "cli/output.h"
#include "cli/table.h"

namespace linchpin::cli {
namespace {

using ca::v1::Change;
using ca::v1::LogEntry;

constexpr size_t kMostLines = 100000;

struct TailOptions {
  size_t lines = 1000;
  bool follow = false;
  bool only_changes = false;
  bool only_issued = false;
};

absl::Status Verify(Session& session) {
  ASSIGN_OR_RETURN(const ca::v1::LogVerification log,
                   CallCa(session, &AdminStub::VerifyLog, ca::v1::VerifyLogRequest()));
  session.exit_code = log.intact() ? 0 : 1;
  if (session.json()) return PrintJson(session, log);
  if (!log.intact()) {
    return absl::DataLossError("the log is damaged: " + log.problem());
  }
  session.out << "intact: " << log.entries() << " entries, head "
              << absl::BytesToHexString(log.head()) << ", " << log.anchored_entries()
              << " of them anchored in the store\n"
              << "intact: " << log.changes() << " changes, head "
              << absl::BytesToHexString(log.changes_head()) << "\n";
  return absl::OkStatus();
}

// A stream of one of the logs, from start to end.
template <typename Entry, typename Request>
absl::Status ReadStream(Session& session, grpc::ClientContext* context, const Request& request,
                        std::unique_ptr<grpc::ClientReaderInterface<Entry>> (AdminStub::*method)(
                            grpc::ClientContext*, const Request&),
                        const std::function<absl::Status(Entry&&)>& on_entry) {
  ASSIGN_OR_RETURN(const std::unique_ptr<AdminStub> stub, ConnectToCa(session));
  if (!request.follow()) SetCallDeadline(context);
  const auto reader = ((*stub).*method)(context, request);
  Entry entry;
  while (reader->Read(&entry)) RETURN_IF_ERROR(on_entry(std::move(entry)));
  return CallStatus(reader->Finish(), "the CA", session.ca_place());
}

// The last lines of both logs, in the order of time.
struct Lines {
  std::deque<LogEntry> issued;
  std::deque<Change> changes;
  uint64_t next_issued = 0;
  uint64_t next_change = 0;
};

absl::StatusOr<Lines> ReadLast(Session& session, const TailOptions& options) {
  Lines lines;
  if (!options.only_changes) {
    const auto keep = [&](LogEntry&& entry) {
      lines.next_issued = entry.index() + 1;
      lines.issued.push_back(std::move(entry));
      if (lines.issued.size() > options.lines) lines.issued.pop_front();
      return absl::OkStatus();
    };
    grpc::ClientContext context;
    RETURN_IF_ERROR(ReadStream<LogEntry>(session, &context, ca::v1::ReadLogRequest(),
                                         &AdminStub::ReadLog, keep));
  }
  if (!options.only_issued) {
    ca::v1::ReadChangesRequest request;
    request.set_last(std::max<size_t>(options.lines, 1));
    const auto keep = [&](Change&& change) {
      lines.next_change = change.index() + 1;
      lines.changes.push_back(std::move(change));
      if (lines.changes.size() > options.lines) lines.changes.pop_front();
      return absl::OkStatus();
    };
    grpc::ClientContext context;
    RETURN_IF_ERROR(ReadStream<Change>(session, &context, request, &AdminStub::ReadChanges, keep));
  }
  while (lines.issued.size() + lines.changes.size() > options.lines) {
    const bool drop_issued =
        lines.changes.empty() || (!lines.issued.empty() && lines.issued.front().issued_at() <=
                                                               lines.changes.front().changed_at());
    drop_issued ? lines.issued.pop_front() : lines.changes.pop_front();
  }
  return lines;
}

absl::Status PrintLast(Session& session, const Lines& lines) {
  Table table(LogHeader());
  auto issued = lines.issued.begin();
  auto change = lines.changes.begin();
  while (issued != lines.issued.end() || change != lines.changes.end()) {
    if (change == lines.changes.end() ||
        (issued != lines.issued.end() && issued->issued_at() <= change->changed_at())) {
      if (session.json()) RETURN_IF_ERROR(PrintJsonLine(session, *issued));
      table.Add(RowOf(*issued++));
    } else {
      if (session.json()) RETURN_IF_ERROR(PrintJsonLine(session, *change));
      for (LogRow& row : RowsOf(*change++)) table.Add(std::move(row));
    }
  }
  if (!session.json() && !table.empty()) session.out << table.ToString() << std::flush;
  return absl::OkStatus();
}

// Both at once; the one that ends first says why, and ends the other.
absl::Status Follow(Session& session, const TailOptions& options, const Lines& lines) {
  base::Mutex mutex;  // of the output
  const auto print = [&](const google::protobuf::Message& message,
                         const std::vector<LogRow>& rows) -> absl::Status {
    base::MutexLock lock(mutex);
    if (session.json()) return PrintJsonLine(session, message);
    for (const LogRow& row : rows) session.out << LineOf(row) << std::endl;
    return absl::OkStatus();
  };
  grpc::ClientContext of_issued;
  grpc::ClientContext of_changes;
  const auto issued = [&] {
    ca::v1::ReadLogRequest request;
    request.set_from_index(lines.next_issued);
    request.set_follow(true);
    return ReadStream<LogEntry>(session, &of_issued, request, &AdminStub::ReadLog,
                                [&](LogEntry&& entry) { return print(entry, {RowOf(entry)}); });
  };
  const auto changes = [&] {
    ca::v1::ReadChangesRequest request;
    request.set_from_index(lines.next_change);
    request.set_follow(true);
    return ReadStream<Change>(session, &of_changes, request, &AdminStub::ReadChanges,
                              [&](Change&& change) { return print(change, RowsOf(change)); });
  };
  if (options.only_changes) return changes();
  if (options.only_issued) return issued();
  absl::Status other;
  std::thread thread([&] {
    other = changes();
    of_issued.TryCancel();
  });
  const absl::Status status = issued();
  of_changes.TryCancel();
  thread.join();
  return status.ok() || absl::IsCancelled(status) ? other : status;
}

absl::Status Tail(Session& session, const TailOptions& options) {
  ASSIGN_OR_RETURN(const Lines lines, ReadLast(session, options));
  RETURN_IF_ERROR(PrintLast(session, lines));
  return options.follow ? Follow(session, options, lines) : absl::OkStatus();
}

}  // namespace

void AddLogCommands(CLI::App& app, Session& session) {
  CLI::App* group =
      AddGroup(app, "log", "Every certificate that left the CA, and every change that was made");
  CLI::App* verify = AddCommand(*group, session, "verify", "Check every entry and both hash chains",
                                [&session] { return Verify(session); });
  SetExamples(verify, "linchpin log verify");
  auto options = std::make_shared<TailOptions>();
  CLI::App* tail = AddCommand(*group, session, "tail", "Print who did what, the last at the end",
                              [&session, options] { return Tail(session, *options); });
  tail->add_option("-n,--lines", options->lines, "How many")
      ->check(CLI::Range(size_t{0}, kMostLines))
      ->capture_default_str();
  tail->add_flag("-f,--follow", options->follow, "Go on with what happens from now on");
  CLI::Option* changes =
      tail->add_flag("--changes", options->only_changes, "Only what operators changed");
  tail->add_flag("--issued", options->only_issued, "Only certificates")->excludes(changes);
  SetExamples(tail,
              "linchpin log tail -n 20\n"
              "linchpin log tail --changes --follow\n"
              "linchpin log tail --issued -o json");
}

}  // namespace linchpin::cli
