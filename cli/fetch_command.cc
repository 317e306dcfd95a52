// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// fetch: what this process would get of its agent.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/config_file.h"
#include "base/run_program.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/fetch_text.h"
#include "cli/fetch_writer.h"
#include "cli/output.h"
#include "cli/pause.h"
#include "cli/table.h"
#include "linchpin/agent/v1/mtls_context.grpc.pb.h"
#include "rpc/channel.h"
#include "trust/context_files.h"
#include "trust/trust_codec.h"

namespace linchpin::cli {
namespace {

using agent::v1::MtlsContexts;
using agent::v1::MtlsContextService;

struct FetchOptions {
  std::string write;
  bool watch = false;
  std::string timeout = "10s";
  std::string id;
  std::string bundle = "pinned";
  std::string mode = "0600";
  std::string owner;
  std::string exec;
  std::string exec_timeout = "30s";
};

absl::StatusOr<WriteOptions> ReadWriteOptions(const FetchOptions& from) {
  WriteOptions options{.place = {.directory = from.write}, .id = from.id};
  if (from.write.empty()) {
    if (from.exec.empty() && from.owner.empty() && from.id.empty()) return options;
    return UsageError("--id, --owner and --exec are for --write DIR");
  }
  // Where this process is does not change.
  std::error_code unknown;
  options.place.directory = std::filesystem::absolute(from.write, unknown).string();
  if (unknown) return UsageError(absl::StrCat("--write: ", unknown.message()));
  const auto usage = [](const absl::Status& status) { return UsageError(status.message()); };
  const absl::StatusOr<trust::BundleKind> bundle = trust::ParseBundleKind(from.bundle);
  if (!bundle.ok()) return usage(bundle.status());
  options.bundle = *bundle;
  const absl::StatusOr<mode_t> mode = ParseSecretMode(from.mode);
  if (!mode.ok()) return usage(mode.status());
  options.place.secret_mode = *mode;
  RETURN_IF_ERROR(ParseOwner(from.owner, &options.place));
  if (!from.exec.empty()) {
    absl::StatusOr<std::vector<std::string>> words = base::SplitCommand(from.exec);
    if (!words.ok()) return usage(words.status());
    options.command = *std::move(words);
    ASSIGN_OR_RETURN(options.command_timeout,
                     base::ParseDuration(from.exec_timeout, "--exec-timeout"));
  }
  return options;
}

absl::Status Show(Session& session, const FetchOptions& options, const MtlsContexts& contexts) {
  if (session.json()) {
    const MtlsContexts shown = trust::WithoutKeys(contexts);
    return options.watch ? PrintJsonLine(session, shown) : PrintJson(session, shown);
  }
  if (contexts.identities().empty()) {
    session.out << DescribeSelectors(contexts) << std::flush;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::string text, DescribeContexts(contexts, session.clock.Now()));
  session.out << text;
  if (!options.write.empty()) session.out << "written to " << options.write << "\n";
  session.out << (options.watch ? "\n" : "") << std::flush;
  return absl::OkStatus();
}

// One stream of the agent's, until it ends. False from `on_message` ends it.
grpc::Status WatchOnce(MtlsContextService::StubInterface& stub, grpc::ClientContext& context,
                       bool for_files, const std::function<bool(const MtlsContexts&)>& on_message) {
  agent::v1::WatchRequest request;
  request.set_for_files(for_files);
  const auto reader = stub.Watch(&context, request);
  MtlsContexts contexts;
  while (reader->Read(&contexts)) {
    const bool more = on_message(contexts);
    trust::WipeKeys(&contexts);
    if (!more) {
      context.TryCancel();
      reader->Finish();
      return grpc::Status::OK;
    }
  }
  return reader->Finish();
}

absl::Status FetchOnce(Session& session, const FetchOptions& options, const WriteOptions& write,
                       MtlsContextService::StubInterface& stub) {
  ASSIGN_OR_RETURN(const absl::Duration timeout, base::ParseDuration(options.timeout, "--timeout"));
  grpc::ClientContext context;
  SetCallDeadline(&context, timeout);
  absl::Status shown;
  base::WriterLock lock;
  bool found = false;
  MtlsContexts unidentified;
  const bool for_files = !options.write.empty();
  const grpc::Status status =
      WatchOnce(stub, context, for_files, [&](const MtlsContexts& contexts) {
        found = !contexts.identities().empty();
        if (!found) {
          unidentified = contexts;  // it may still get one
          return true;
        }
        std::string said;
        if (for_files) shown = WriteContexts(write, contexts, session.clock.Now(), &lock, &said);
        if (!said.empty()) session.err << "linchpin: " << said << std::endl;
        if (shown.ok()) shown = Show(session, options, contexts);
        return false;
      });
  if (found) return shown;
  if (unidentified.selectors().empty()) {
    RETURN_IF_ERROR(CallStatus(status, "the agent", session.agent_socket));
    return absl::UnavailableError(
        absl::StrCat("the agent at ", session.agent_socket, " ended the stream: try again"));
  }
  RETURN_IF_ERROR(Show(session, options, unidentified));
  const std::string none =
      absl::StrCat("no identity for this process within ", options.timeout, ": ");
  if (!unidentified.unavailable().empty()) {
    return absl::UnavailableError(none + unidentified.unavailable());
  }
  return absl::NotFoundError(
      absl::StrCat(none, "register one of these selectors with linchpin identity create"));
}

// Evidence that the service has loaded these.
absl::Status ReportLoaded(MtlsContextService::StubInterface& stub, const std::string& socket,
                          const MtlsContexts& contexts) {
  agent::v1::ReportRequest report;
  report.set_consumer_id(contexts.consumer_id());
  report.set_trust_epoch(contexts.trust_epoch());
  report.set_trust_digest(contexts.trust_digest());
  grpc::ClientContext context;
  SetCallDeadline(&context, absl::Seconds(5));
  agent::v1::ReportResponse answer;
  const absl::Status told = CallStatus(stub.Report(&context, report, &answer), "the agent", socket);
  return told.ok() ? told
                   : absl::Status(told.code(), absl::StrCat("loaded, but the agent was not told: ",
                                                            told.message()));
}

// The agent will never answer this.
bool IsHopeless(const absl::Status& ended) {
  return absl::IsUnimplemented(ended) || absl::IsInvalidArgument(ended);
}

// Until interrupted: an agent that restarts is found again, and one that refuses is asked again.
absl::Status FetchForEver(Session& session, const FetchOptions& options, const WriteOptions& write,
                          MtlsContextService::StubInterface& stub) {
  const bool for_files = !options.write.empty();
  FollowingWriter writer({.options = write,
                          .clock = session.clock,
                          .err = session.err,
                          .loaded = [&](const MtlsContexts& contexts) {
                            return ReportLoaded(stub, session.agent_socket, contexts);
                          }});
  int attempt = 0;
  std::optional<absl::StatusCode> said;  // why there is no stream
  while (true) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    absl::Status shown;
    const grpc::Status status =
        WatchOnce(stub, context, for_files, [&](const MtlsContexts& contexts) {
          attempt = 0;
          said.reset();
          if (for_files) shown = writer.Give(contexts);
          if (shown.ok()) shown = Show(session, options, contexts);
          return shown.ok() && session.out.good();
        });
    RETURN_IF_ERROR(shown);
    if (!session.out.good()) return absl::OkStatus();  // nobody reads any more
    const absl::Status ended = CallStatus(status, "the agent", session.agent_socket);
    if (IsHopeless(ended)) return ended;
    if (std::exchange(said, ended.code()) != ended.code()) {
      session.err << "linchpin: "
                  << (ended.ok() || absl::IsUnavailable(ended)
                          ? absl::StrCat("the agent at ", session.agent_socket,
                                         " is gone; waiting for it")
                          : absl::StrCat(Printable(std::string(ended.message())), "; trying again"))
                  << std::endl;
    }
    PauseAfter(attempt++);
  }
}

absl::Status Fetch(Session& session, const FetchOptions& options) {
  RETURN_IF_ERROR(CheckSocket(session.agent_socket, "linchpin-agent", "--socket"));
  ASSIGN_OR_RETURN(const WriteOptions write, ReadWriteOptions(options));
  const auto stub = MtlsContextService::NewStub(rpc::UnixChannel(session.agent_socket));
  return options.watch ? FetchForEver(session, options, write, *stub)
                       : FetchOnce(session, options, write, *stub);
}

}  // namespace

void AddFetchCommand(CLI::App& app, Session& session) {
  auto options = std::make_shared<FetchOptions>();
  CLI::App* fetch = AddCommand(app, session, "fetch",
                               "Show what this process gets of its agent: identity, bundle, pins, "
                               "peers",
                               [&session, options] { return Fetch(session, *options); });
  fetch->add_option("--write", options->write,
                    "Write chain.pem, key.pem, combined.pem, bundle.pem, trust.json and peers.json "
                    "into this directory, all at once");
  fetch->add_option("--id", options->id, "Of this identity; else of the first");
  fetch
      ->add_option("--bundle", options->bundle,
                   "What bundle.pem holds: pinned (the twins of the pinned issuers) or roots")
      ->capture_default_str();
  fetch->add_option("--mode", options->mode, "Of the files with the key; octal")
      ->capture_default_str();
  fetch->add_option("--owner", options->owner, "USER, USER:GROUP or :GROUP who owns the files");
  fetch->add_option("--exec", options->exec,
                    "Run after each change, without a shell; exit 0 says that the service has "
                    "loaded the files");
  fetch->add_option("--exec-timeout", options->exec_timeout, "Then it is killed")
      ->check(CheckDuration)
      ->capture_default_str();
  fetch->add_flag("--watch", options->watch, "Go on with every change until interrupted");
  fetch->add_option("--timeout", options->timeout, "How long to wait for an identity")
      ->check(CheckDuration)
      ->capture_default_str();
  SetExamples(fetch,
              "linchpin fetch\n"
              "linchpin fetch --write /run/web/tls\n"
              "linchpin fetch --write /run/web/tls --watch --exec 'nginx -s reload'");
}

}  // namespace linchpin::cli
