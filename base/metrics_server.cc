// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <civetweb.h>

#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/metrics.h"

namespace linchpin::base {
namespace {

// Each connection answers one request, so these also bound what a slow reader can hold up.
constexpr const char* kThreads = "2";
constexpr const char* kTimeoutMilliseconds = "5000";
constexpr const char* kMaxRequestBytes = "4096";

bool IsHostAndPort(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  int port = 0;
  if (!absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) return false;
  const std::string digits = address.substr(colon + 1);
  return digits.find_first_not_of("0123456789") == std::string::npos &&
         address.find_first_of(", \t") == std::string::npos;
}

std::string Head(const mg_connection* connection, int code, absl::string_view type, size_t size) {
  return absl::StrCat("HTTP/1.1 ", code, " ", mg_get_response_code_text(connection, code),
                      "\r\nContent-Type: ", type, "; charset=utf-8\r\nContent-Length: ", size,
                      "\r\nConnection: close\r\n\r\n");
}

int Answer(mg_connection* connection, int code, absl::string_view type, absl::string_view body) {
  const absl::string_view method(mg_get_request_info(connection)->request_method);
  if (method != "GET" && method != "HEAD") {
    code = 405;
    body = "only GET and HEAD are answered here\n";
    type = "text/plain";
  }
  const std::string head = Head(connection, code, type, body.size());
  mg_write(connection, head.data(), head.size());
  if (method != "HEAD") mg_write(connection, body.data(), body.size());
  return code;
}

// civetweb 1.15 is told where to write the code, 1.16 holds it.
template <class Data>
Data ErrorData(unsigned* code, char* text, size_t size) {
  Data data{};
  if constexpr (std::is_pointer_v<decltype(data.code)>) data.code = code;
  data.text = text;
  data.text_buffer_size = size;
  return data;
}

// What is no request: the library itself would answer without a status line.
int Refuse(mg_connection* connection, int code, const char*) {
  const std::string head = Head(connection, code, "text/plain", 0);
  mg_write(connection, head.data(), head.size());
  return 0;
}

}  // namespace

struct MetricsServer::Impl {
  Impl(const Metrics& of, std::function<std::string()> asked)
      : metrics(of), ready(std::move(asked)) {}
  ~Impl() {
    if (context != nullptr) mg_stop(context);
    mg_exit_library();
  }

  // Asked before anything else of the library: it answers nothing itself, nor upgrades.
  static int Serve(mg_connection* connection) {
    const auto& self = *static_cast<const Impl*>(mg_get_user_data(mg_get_context(connection)));
    const char* const path = mg_get_request_info(connection)->local_uri;
    const absl::string_view asked(path == nullptr ? "" : path);
    if (asked == "/metrics") {
      return Answer(connection, 200, "text/plain; version=0.0.4", self.metrics.Text());
    }
    if (asked == "/healthz") return Answer(connection, 200, "text/plain", "ok\n");
    if (asked == "/readyz") {
      const std::string why_not = self.ready();
      return why_not.empty() ? Answer(connection, 200, "text/plain", "ready\n")
                             : Answer(connection, 503, "text/plain", why_not + "\n");
    }
    return Answer(connection, 404, "text/plain", "/metrics, /healthz and /readyz are here\n");
  }

  const Metrics& metrics;
  const std::function<std::string()> ready;
  mg_context* context = nullptr;
  int port = 0;
};

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetricsServer::~MetricsServer() = default;
int MetricsServer::port() const { return impl_->port; }

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const std::string& address, const Metrics& metrics, std::function<std::string()> ready) {
  if (!IsHostAndPort(address)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the metrics address '", address, "' is not HOST:PORT, for example 127.0.0.1:9464"));
  }
  mg_init_library(0);
  auto impl = std::make_unique<Impl>(metrics, std::move(ready));
  const std::string host = address.substr(0, address.rfind(':'));
  const std::string local = absl::StartsWith(address, "localhost:")
                                ? absl::StrCat("127.0.0.1", address.substr(host.size()))
                                : address;
  const char* options[] = {"listening_ports",
                           local.c_str(),
                           "num_threads",
                           kThreads,
                           "request_timeout_ms",
                           kTimeoutMilliseconds,
                           "max_request_size",
                           kMaxRequestBytes,
                           "enable_keep_alive",
                           "no",
                           nullptr};
  mg_callbacks callbacks{};
  callbacks.log_message = [](const mg_connection*, const char*) { return 1; };
  callbacks.http_error = Refuse;
  callbacks.begin_request = Impl::Serve;
  mg_init_data init{&callbacks, impl.get(), options};
  char text[256] = "";
  unsigned code = 0;
  auto error = ErrorData<mg_error_data>(&code, text, sizeof(text));
  impl->context = mg_start2(&init, &error);
  if (impl->context == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot serve metrics on ", address, ": ", text,
                                               "; is another process listening there?"));
  }
  mg_server_port bound{};
  if (mg_get_server_ports(impl->context, 1, &bound) == 1) impl->port = bound.port;
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl)));
}

}  // namespace linchpin::base
