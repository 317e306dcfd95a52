// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// linchpin-demo-service: serves or calls over TCP with the SDK. Its identity is where it lies: the
// demonstration registers copies of it by the selector unix:path.

#include <signal.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "demo/serve.h"
#include "sdk/context_source.h"
#include "sdk/tls.h"

namespace linchpin::demo {
namespace {

struct Flags {
  std::string socket;
  std::string address = "127.0.0.1";
  int port = -1;
  CallOptions call;
  int interval_ms = 50;
  int wait_seconds = 60;
};

// Readable after SIGTERM or SIGINT. Before any thread is made.
int StopFd() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

absl::Status Run(const Flags& flags, int stop_fd, Events* events) {
  tls::ContextSource::Options options;
  options.socket = flags.socket;
  options.observer = [events](const tls::Notice& notice) { events->Notice(notice); };
  auto source = tls::ContextSource::Open(std::move(options));
  if (!source.ok()) return source.status();
  absl::Status ready = (*source)->WaitReady(absl::Seconds(flags.wait_seconds));
  if (!ready.ok()) return ready;
  if (flags.port >= 0) {
    auto server = tls::ServerTls::Make(*source, {});
    if (!server.ok()) return server.status();
    return Serve(**server, {flags.address, flags.port}, stop_fd, events);
  }
  auto client = tls::ClientTls::Make(*source, {});
  if (!client.ok()) return client.status();
  CallOptions call = flags.call;
  call.interval = absl::Milliseconds(flags.interval_ms);
  return Call(**client, call, stop_fd, events);
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("A service of the demonstration");
  app.add_option("--socket", flags.socket, "The agent's socket, unix:///path");
  auto* serve = app.add_option("--serve", flags.port, "Serve on this port; 0: any");
  app.add_option("--listen", flags.address, "The IPv4 address to serve on")->needs(serve);
  auto* call = app.add_option("--call", flags.call.address, "Call HOST:PORT");
  app.add_option("--expect", flags.call.expected_id, "The SPIFFE ID that must answer")->needs(call);
  app.add_option("--connections", flags.call.connections, "How many; 0: until SIGTERM");
  app.add_option("--interval-ms", flags.interval_ms, "Between two connections")
      ->check(CLI::Range(0, 60'000));
  app.add_option("--wait-seconds", flags.wait_seconds, "For the first identity");
  app.add_flag("--unjudged", flags.call.unjudged, "Do not judge the server")->needs(call);
  serve->excludes(call);
  try {
    app.parse(argc, argv);
    if (flags.port < 0 && flags.call.address.empty()) {
      throw CLI::RequiredError("--serve or --call");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const int stop_fd = StopFd();
  Events events;
  absl::Status done = Run(flags, stop_fd, &events);
  if (done.ok()) return 0;
  std::fprintf(stderr, "linchpin-demo-service: %s\n", done.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace linchpin::demo

int main(int argc, char** argv) { return linchpin::demo::Main(argc, argv); }
