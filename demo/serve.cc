// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "demo/serve.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sdk/connection.h"

namespace linchpin::demo {
namespace {

constexpr int kThreads = 4;

absl::Status Answer(const tls::ServerTls& server, int fd, Events* events) {
  auto connection = tls::Connection::Accept(server, fd, kPatience);
  if (!connection.ok()) return connection.status();
  auto byte = (*connection)->Read(1, kPatience);
  if (!byte.ok()) return byte.status();
  if (byte->empty()) return absl::UnavailableError("the client has closed before its byte");
  if (absl::Status sent = (*connection)->Write(*byte, kPatience); !sent.ok()) return sent;
  events->Succeeded((*connection)->peer_id(), (*connection)->group());
  return absl::OkStatus();
}

void AcceptAll(const tls::ServerTls& server, int listener, Events* events) {
  while (true) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;  // shut down
    if (absl::Status done = Answer(server, fd, events); !done.ok()) {
      events->Failed(ReasonWord(done), std::string(done.message()));
    }
  }
}

absl::StatusOr<int> Listen(const ServePlace& place, Events* events) {
  sockaddr_in address{};
  if (inet_pton(AF_INET, place.address.c_str(), &address.sin_addr) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(place.address, " is no IPv4 address"));
  }
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(place.port));
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  socklen_t size = sizeof(address);
  if (fd < 0 || bind(fd, generic, size) != 0 || listen(fd, 128) != 0 ||
      getsockname(fd, generic, &size) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", place.address, ":", place.port));
  }
  events->Listening(ntohs(address.sin_port));
  return fd;
}

}  // namespace

std::string ReasonWord(const absl::Status& status) {
  const std::string text(status.message());
  const size_t end = text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
  if (end != std::string::npos && end > 3 && text[end] == ':') return text.substr(0, end);
  return absl::StatusCodeToString(status.code());
}

absl::Status Serve(const tls::ServerTls& server, const ServePlace& place, int stop_fd,
                   Events* events) {
  const auto listener = Listen(place, events);
  if (!listener.ok()) return listener.status();
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back(AcceptAll, std::cref(server), *listener, events);
  }
  pollfd stop{stop_fd, POLLIN, 0};
  while (poll(&stop, 1, 1000) == 0) events->Counts();
  shutdown(*listener, SHUT_RDWR);
  for (std::thread& thread : threads) thread.join();
  close(*listener);
  events->Counts();
  return absl::OkStatus();
}

}  // namespace linchpin::demo
