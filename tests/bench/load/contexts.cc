// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Services towards an agent.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "tests/bench/load/node.h"
#include "tests/bench/load/protocol.h"
#include "tests/bench/load/raw_call.h"
#include "tests/bench/load/scenarios.h"

namespace linchpin::bench {
namespace {

// The first message must not be empty of meaning: of an agent it is a context.
absl::Status ReadFirst(const CallLoad& load, RawCall* call) {
  ASSIGN_OR_RETURN(const std::string message, call->Read());
  if (message.size() >= load.least) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the first answer has ", message.size(), " bytes, expected ", load.least));
}

absl::StatusOr<RawCall> FirstAnswer(const CallLoad& load) {
  ASSIGN_OR_RETURN(RawCall call, RawCall::Start(load.socket, load.request));
  RETURN_IF_ERROR(ReadFirst(load, &call));
  return call;
}

absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& program) {
  std::vector<char*> argv;
  for (const std::string& argument : program) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) return absl::UnavailableError(absl::StrCat("cannot start ", program.front()));
  return pid;
}

// The time until the first answer of a program that is starting.
absl::StatusOr<absl::Duration> UntilFirstAnswer(const StartLoad& load, absl::Duration begun) {
  while (true) {
    const absl::StatusOr<RawCall> call = FirstAnswer(load.call);
    const absl::Duration took = Uptime() - begun;
    if (call.ok()) return took;
    if (!absl::IsUnavailable(call.status()) || took > absl::Seconds(30)) return call.status();
    const timespec moment{.tv_nsec = 100'000};
    ppoll(nullptr, 0, &moment, nullptr);
  }
}

void Kill(pid_t pid, rusage* used) {
  kill(pid, SIGKILL);
  wait4(pid, nullptr, 0, used);
}

double Microseconds(const rusage& used) {
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

bool Holds(const agent::v1::MtlsContexts& contexts, const std::string& spiffe_id) {
  for (const agent::v1::Identity& identity : contexts.identities()) {
    if (identity.spiffe_id() == spiffe_id && identity.chain_size() > 0) return true;
  }
  return false;
}

ca::v1::Identity OfThisUser(int number) {
  ca::v1::Identity identity;
  identity.set_spiffe_id(absl::StrCat("spiffe://example.org/one-of-many/", number));
  identity.add_selectors(absl::StrCat("unix:uid:", getuid()));
  identity.set_any_node(true);
  return identity;
}

absl::StatusOr<agent::v1::MtlsContexts> ReadContexts(RawCall* call) {
  ASSIGN_OR_RETURN(const std::string message, call->Read());
  agent::v1::MtlsContexts contexts;
  if (!contexts.ParseFromString(message)) return absl::InternalError("no MtlsContexts");
  return contexts;
}

// Reads until the service has, or no longer has, the identity.
absl::Status ReadUntil(RawCall* call, const std::string& spiffe_id, bool held) {
  while (true) {
    ASSIGN_OR_RETURN(const agent::v1::MtlsContexts contexts, ReadContexts(call));
    if (Holds(contexts, spiffe_id) == held) return absl::OkStatus();
  }
}

}  // namespace

absl::Status RunCallLoad(const CallLoad& load) {
  while (NextRound()) {
    std::vector<absl::Duration> samples;
    for (int i = 0; i < load.count; ++i) {
      const absl::Duration begun = Uptime();
      const absl::StatusOr<RawCall> call = FirstAnswer(load);
      if (!call.ok()) return call.status();
      samples.push_back(Uptime() - begun);
    }
    ASSIGN_OR_RETURN(const nlohmann::json summary, Summary(std::move(samples)));
    Say(summary);
  }
  return absl::OkStatus();
}

absl::Status RunKeptLoad(const CallLoad& load) {
  ASSIGN_OR_RETURN(RawCall call, FirstAnswer(load));
  while (NextRound()) {
    std::vector<absl::Duration> samples;
    for (int i = 0; i < load.count; ++i) {
      const absl::Duration begun = Uptime();
      RETURN_IF_ERROR(call.Again(load.request));
      RETURN_IF_ERROR(ReadFirst(load, &call));
      samples.push_back(Uptime() - begun);
    }
    ASSIGN_OR_RETURN(const nlohmann::json summary, Summary(std::move(samples)));
    Say(summary);
  }
  return absl::OkStatus();
}

absl::Status RunHoldLoad(const CallLoad& load) {
  const rlim_t files = static_cast<rlim_t>(load.count) + 64;
  const rlimit limit{.rlim_cur = files, .rlim_max = files};
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat(load.count, " connections are not allowed"));
  }
  while (true) {
    std::vector<RawCall> calls;
    for (int i = 0; i < load.count; ++i) {
      ASSIGN_OR_RETURN(RawCall call, FirstAnswer(load));
      calls.push_back(std::move(call));
    }
    if (!NextRound()) return absl::OkStatus();
    calls.clear();
    Say({{"closed", load.count}});
  }
}

absl::Status RunStartLoad(const StartLoad& load) {
  while (NextRound()) {
    const absl::Duration begun = Uptime();
    ASSIGN_OR_RETURN(const pid_t pid, Spawn(load.program));
    const absl::StatusOr<absl::Duration> took = UntilFirstAnswer(load, begun);
    rusage used{};
    Kill(pid, &used);
    if (!took.ok()) return took.status();
    Say({{"wall_us", Microseconds(*took)}, {"cpu_us", Microseconds(used)}});
  }
  return absl::OkStatus();
}

absl::Status RunManyLoad(const IdentityLoad& load) {
  const std::unique_ptr<AdminStub> admin = ConnectToAdmin(load.admin_socket);
  for (int i = 0; i < load.count; ++i) {
    RETURN_IF_ERROR(Call(*admin, &AdminStub::CreateIdentity, OfThisUser(i)).status());
  }
  ASSIGN_OR_RETURN(RawCall service, RawCall::Start(load.agent_socket, CallLoad().request));
  for (int held = 0; held < load.count;) {
    ASSIGN_OR_RETURN(const agent::v1::MtlsContexts contexts, ReadContexts(&service));
    held = contexts.identities_size();
  }
  while (NextRound()) Say({{"identities", load.count}});
  return absl::OkStatus();
}

absl::Status RunIdentityLoad(const IdentityLoad& load) {
  const std::unique_ptr<AdminStub> admin = ConnectToAdmin(load.admin_socket);
  ASSIGN_OR_RETURN(RawCall service, RawCall::Start(load.agent_socket, CallLoad().request));
  int number = 0;
  while (NextRound()) {
    std::vector<absl::Duration> created;
    std::vector<absl::Duration> deleted;
    for (int i = 0; i < load.count; ++i) {
      const ca::v1::Identity identity = OfThisUser(++number);
      const absl::Duration begun = Uptime();
      ASSIGN_OR_RETURN(const ca::v1::Identity made,
                       Call(*admin, &AdminStub::CreateIdentity, identity));
      RETURN_IF_ERROR(ReadUntil(&service, identity.spiffe_id(), true));
      const absl::Duration between = Uptime();
      created.push_back(between - begun);
      ca::v1::DeleteIdentityRequest gone;
      gone.set_identity_id(made.identity_id());
      RETURN_IF_ERROR(Call(*admin, &AdminStub::DeleteIdentity, gone).status());
      RETURN_IF_ERROR(ReadUntil(&service, identity.spiffe_id(), false));
      deleted.push_back(Uptime() - between);
    }
    ASSIGN_OR_RETURN(const nlohmann::json created_summary, Summary(std::move(created)));
    ASSIGN_OR_RETURN(const nlohmann::json deleted_summary, Summary(std::move(deleted)));
    Say({{"created", created_summary}, {"deleted", deleted_summary}});
  }
  return absl::OkStatus();
}

}  // namespace linchpin::bench
