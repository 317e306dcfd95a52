// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// fetch: what this process would get of its agent.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/config_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/fetch_text.h"
#include "cli/fetch_writer.h"
#include "cli/output.h"
#include "cli/pause.h"
#include "linchpin/agent/v1/mtls_context.grpc.pb.h"
#include "rpc/channel.h"
#include "trust/trust_codec.h"

namespace linchpin::cli {
namespace {

using agent::v1::MtlsContexts;
using agent::v1::MtlsContextService;

struct FetchOptions {
  std::string write;
  bool watch = false;
  std::string timeout = "10s";
};

absl::Status Show(Session& session, const FetchOptions& options, const MtlsContexts& contexts) {
  if (!options.write.empty() && !contexts.identities().empty()) {
    RETURN_IF_ERROR(WriteContextDirectory(options.write, contexts));
  }
  if (session.json()) {
    const MtlsContexts shown = WithoutKeys(contexts);
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
                       const std::function<bool(const MtlsContexts&)>& on_message) {
  const auto reader = stub.Watch(&context, agent::v1::WatchRequest());
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

absl::Status FetchOnce(Session& session, const FetchOptions& options,
                       MtlsContextService::StubInterface& stub) {
  ASSIGN_OR_RETURN(const absl::Duration timeout, base::ParseDuration(options.timeout, "--timeout"));
  grpc::ClientContext context;
  SetCallDeadline(&context, timeout);
  absl::Status shown;
  bool found = false;
  MtlsContexts unidentified;
  const grpc::Status status = WatchOnce(stub, context, [&](const MtlsContexts& contexts) {
    found = !contexts.identities().empty();
    if (!found) {
      unidentified = contexts;  // it may still get one
      return true;
    }
    shown = Show(session, options, contexts);
    return false;
  });
  if (found) return shown;
  if (unidentified.selectors().empty()) {
    RETURN_IF_ERROR(CallStatus(status, "the agent", session.agent_socket));
    return absl::UnavailableError(
        absl::StrCat("the agent at ", session.agent_socket, " ended the stream: try again"));
  }
  RETURN_IF_ERROR(Show(session, options, unidentified));
  return absl::NotFoundError(
      absl::StrCat("no identity for this process within ", options.timeout,
                   ": register one of these selectors with linchpin identity create"));
}

// Until interrupted; an agent that restarts is found again.
absl::Status FetchForEver(Session& session, const FetchOptions& options,
                          MtlsContextService::StubInterface& stub) {
  int attempt = 0;
  while (true) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    absl::Status shown;
    const grpc::Status status = WatchOnce(stub, context, [&](const MtlsContexts& contexts) {
      attempt = 0;
      shown = Show(session, options, contexts);
      return shown.ok() && session.out.good();
    });
    RETURN_IF_ERROR(shown);
    if (!session.out.good()) return absl::OkStatus();  // nobody reads any more
    const absl::Status ended = CallStatus(status, "the agent", session.agent_socket);
    if (!ended.ok() && ended.code() != absl::StatusCode::kUnavailable) return ended;
    if (attempt == 0) {
      session.err << "linchpin: the agent at " << session.agent_socket << " is gone; waiting for it"
                  << std::endl;
    }
    PauseAfter(attempt++);
  }
}

absl::Status Fetch(Session& session, const FetchOptions& options) {
  RETURN_IF_ERROR(CheckSocket(session.agent_socket, "linchpin-agent", "--socket"));
  const auto stub = MtlsContextService::NewStub(rpc::UnixChannel(session.agent_socket));
  return options.watch ? FetchForEver(session, options, *stub) : FetchOnce(session, options, *stub);
}

}  // namespace

void AddFetchCommand(CLI::App& app, Session& session) {
  auto options = std::make_shared<FetchOptions>();
  CLI::App* fetch = AddCommand(app, session, "fetch",
                               "Show what this process gets of its agent: identity, bundle, pins, "
                               "peers",
                               [&session, options] { return Fetch(session, *options); });
  fetch->add_option(
      "--write", options->write,
      "Write chain.pem, key.pem, bundle.pem, trust.json; replaces the directory whole");
  fetch->add_flag("--watch", options->watch, "Go on with every change until interrupted");
  fetch->add_option("--timeout", options->timeout, "How long to wait for an identity")
      ->check(CheckDuration)
      ->capture_default_str();
  SetExamples(fetch,
              "linchpin fetch\n"
              "linchpin fetch --write /run/web/tls\n"
              "linchpin fetch --write /run/web/tls --watch -o json");
}

}  // namespace linchpin::cli
