// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/metrics.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::base {
namespace {

using ::linchpin::test::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// What the server at `port` answers to `request`, to the end of the connection.
std::string Ask(int port, const std::string& request) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t got; (got = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
    answer.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  return answer;
}

std::string Get(int port, const std::string& path) {
  return Ask(port, absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: x\r\n\r\n"));
}

TEST(Metrics, PrintsCountersAndGauges) {
  Metrics metrics;
  metrics.Describe("linchpin_issued_total", "Certificates issued.");
  metrics.Add("linchpin_issued_total", {{"kind", "node"}});
  metrics.Add("linchpin_issued_total", {{"kind", "node"}}, 2);
  metrics.Set("linchpin_seconds_to_expiry", 12.5, {{"id", "spiffe://a/b\"\n"}});
  EXPECT_THAT(metrics.Text(),
              AllOf(HasSubstr("# HELP linchpin_issued_total Certificates issued.\n"),
                    HasSubstr("# TYPE linchpin_issued_total counter\n"),
                    HasSubstr("linchpin_issued_total{kind=\"node\"} 3\n"),
                    HasSubstr("linchpin_seconds_to_expiry{id=\"spiffe://a/b\\\"\\n\"} 12.5\n")));
}

TEST(Metrics, ARemovedGaugeIsGoneAndMayComeBack) {
  Metrics metrics;
  metrics.Set("g", 1, {{"a", "b"}});
  metrics.Remove("g", {{"a", "b"}});
  metrics.Remove("g", {{"a", "b"}});
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("g{")));
  metrics.Set("g", 2, {{"a", "b"}});
  EXPECT_THAT(metrics.Text(), HasSubstr("g{a=\"b\"} 2\n"));
}

TEST(Metrics, NoCallerCanFillTheMemoryWithLabels) {
  Metrics metrics;
  for (int i = 0; i < 10'100; ++i) metrics.Add("c", {{"peer", absl::StrCat(i)}});
  EXPECT_THAT(metrics.Text(), AllOf(HasSubstr("linchpin_metrics_dropped_total 100\n"),
                                    HasSubstr("c{peer=\"9999\"} 1\n"), Not(HasSubstr("10000"))));
}

TEST(Metrics, MisnamedSeriesAreDroppedAndCounted) {
  Metrics metrics;
  metrics.Add("no spaces");
  metrics.Add("c", {{"no-dash", "x"}});
  metrics.Add("c", {{"__reserved", "x"}});
  metrics.Add("both");
  metrics.Set("both", 1);
  EXPECT_THAT(metrics.Text(), HasSubstr("linchpin_metrics_dropped_total 4\n"));
}

TEST(Metrics, TakesChangesFromManyThreads) {
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 500; ++k) {
        metrics.Add("c");
        metrics.Set("g", k);
      }
    });
  }
  for (int i = 0; i < 10; ++i) metrics.Text();
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(metrics.Text(), HasSubstr("c 2000\n"));
}

TEST(MetricsServer, ServesMetricsHealthAndReadiness) {
  Metrics metrics;
  metrics.Add("served_total");
  std::string why_not = "no node certificate yet";
  ASSERT_OK_AND_ASSIGN(const auto server,
                       MetricsServer::Start("127.0.0.1:0", metrics, [&] { return why_not; }));
  EXPECT_THAT(Get(server->port(), "/metrics"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("served_total 1\n")));
  EXPECT_THAT(Get(server->port(), "/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(Get(server->port(), "/readyz"),
              AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("no node certificate yet\n")));
  why_not.clear();
  EXPECT_THAT(Get(server->port(), "/readyz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST(MetricsServer, ServesNothingElse) {
  Metrics metrics;
  ASSERT_OK_AND_ASSIGN(const auto server,
                       MetricsServer::Start("127.0.0.1:0", metrics, [] { return ""; }));
  for (const char* path : {"/", "/etc/passwd", "/../../etc/passwd", "/metrics/x", "/%2e%2e/"}) {
    EXPECT_THAT(Get(server->port(), path),
                ::testing::AnyOf(StartsWith("HTTP/1.1 404 "), StartsWith("HTTP/1.1 400 ")))
        << path;
  }
  EXPECT_THAT(Ask(server->port(), "POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"),
              StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Get(server->port(), "/" + std::string(10'000, 'x')), Not(HasSubstr(" 200 ")));
}

TEST(MetricsServer, AnswersInHttpToWhatIsNone) {
  const Metrics metrics;
  ASSERT_OK_AND_ASSIGN(const auto server,
                       MetricsServer::Start("127.0.0.1:0", metrics, [] { return ""; }));
  const std::string upgrade =
      "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: AAAA\r\n\r\n";
  EXPECT_THAT(Ask(server->port(), "GET /metrics HTTP/1.1\r\n" + upgrade),
              StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Ask(server->port(), "GET /chat HTTP/1.1\r\n" + upgrade), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Ask(server->port(), "GET\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Ask(server->port(), std::string(5000, 'x')), StartsWith("HTTP/1.1 4"));
}

TEST(MetricsServer, NamesTheAddressThatItCannotHave) {
  Metrics metrics;
  ASSERT_OK_AND_ASSIGN(const auto first,
                       MetricsServer::Start("127.0.0.1:0", metrics, [] { return ""; }));
  const std::string taken = absl::StrCat("127.0.0.1:", first->port());
  EXPECT_THAT(MetricsServer::Start(taken, metrics, [] { return ""; }).status(),
              StatusIs(absl::StatusCode::kUnavailable, taken));
  for (const char* wrong :
       {"", "9464", ":9464", "127.0.0.1:", "127.0.0.1:99999", "a:1,b:2", "127.0.0.1:80s"}) {
    EXPECT_THAT(MetricsServer::Start(wrong, metrics, [] { return ""; }).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, "HOST:PORT"))
        << wrong;
  }
}

}  // namespace
}  // namespace linchpin::base
