// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/api_client.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "kube/answers.h"
#include "kube/lines.h"

namespace linchpin::kube {
namespace {

constexpr absl::Duration kCall = absl::Seconds(10);
constexpr long kConnectSeconds = 5;
constexpr long kIdleProbe = 10, kProbeInterval = 5;  // seconds, of a silent connection
constexpr size_t kMaxIdle = 4;
constexpr size_t kMaxToken = 64 * 1024;
constexpr char kAccount[] = "/var/run/secrets/kubernetes.io/serviceaccount";

// What is the same of every request.
template <typename Set>
void SetAlways(const Set& set) {
  // Over HTTP/2 this libcurl takes an early refusal of a POST for a broken transfer.
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
  set(CURLOPT_CA_CACHE_TIMEOUT, 0L);  // the cluster's CA may be replaced
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_PROTOCOLS_STR, "https");
  set(CURLOPT_PROXY, "");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_TCP_KEEPIDLE, kIdleProbe);
  set(CURLOPT_TCP_KEEPINTVL, kProbeInterval);
}

absl::StatusOr<std::string> ReadToken(const std::string& file) {
  ASSIGN_OR_RETURN(std::string token, base::ReadFile(file, kMaxToken));
  absl::StripAsciiWhitespace(&token);
  for (const char c : token) {  // a header is made of it
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) token.clear();
  }
  if (!token.empty()) return token;
  return absl::InvalidArgumentError(absl::StrCat("the file ", file, " holds no token"));
}

}  // namespace

absl::StatusOr<ApiServer> CompleteApiServer(ApiServer given) {
  if (given.url.empty()) {
    const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
    const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
    if (host == nullptr || port == nullptr) {
      return absl::FailedPreconditionError(
          "this process is in no pod, so the address of the API server must be given, as "
          "https://HOST:PORT");
    }
    const bool v6 = absl::string_view(host).find(':') != absl::string_view::npos;
    given.url = absl::StrCat("https://", v6 ? "[" : "", host, v6 ? "]" : "", ":", port);
  }
  if (!absl::StartsWith(given.url, "https://")) {
    return absl::InvalidArgumentError(absl::StrCat("the address of the API server is \"", given.url,
                                                   "\"; https://HOST:PORT is expected"));
  }
  if (given.ca_file.empty()) given.ca_file = absl::StrCat(kAccount, "/ca.crt");
  if (given.token_file.empty()) given.token_file = absl::StrCat(kAccount, "/token");
  return given;
}

// What is made of what comes.
struct ApiClient::Transfer {
  const CurlLibrary& curl;
  CURL* handle = nullptr;
  const std::function<bool(absl::string_view)>* on_line = nullptr;
  const std::function<bool()>* stopped = nullptr;
  Lines lines{kMaxLine};
  std::string body;
  bool too_long = false;  // what came, to be read
  bool ended = false;     // by our own wish

  long code() const {
    long code = 0;
    curl.getinfo(handle, CURLINFO_RESPONSE_CODE, &code);
    return code;
  }

  static size_t Write(char* data, size_t, size_t size, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    const absl::string_view piece(data, size);
    if (transfer.on_line == nullptr || transfer.code() != 200) {
      transfer.too_long = transfer.body.size() + size > kMaxReply;
      if (transfer.too_long) return 0;
      absl::StrAppend(&transfer.body, piece);
      return size;
    }
    const absl::Status taken = transfer.lines.Add(piece, [&](absl::string_view line) {
      transfer.ended = transfer.ended || !(*transfer.on_line)(line);
      return !transfer.ended;
    });
    transfer.too_long = !taken.ok();
    return taken.ok() && !transfer.ended ? size : 0;
  }

  static int Progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    auto& transfer = *static_cast<Transfer*>(self);
    if (transfer.stopped != nullptr && (*transfer.stopped)()) transfer.ended = true;
    return transfer.ended ? 1 : 0;
  }
};

ApiClient::ApiClient(ApiServer server, const CurlLibrary& curl)
    : server_(std::move(server)), curl_(curl) {}

absl::StatusOr<std::unique_ptr<ApiClient>> ApiClient::Make(ApiServer server) {
  ASSIGN_OR_RETURN(const CurlLibrary* curl, LoadCurl());
  return std::unique_ptr<ApiClient>(new ApiClient(std::move(server), *curl));
}

ApiClient::~ApiClient() {
  for (CURL* handle : idle_) curl_.cleanup(handle);
}

CURL* ApiClient::TakeHandle() {
  base::MutexLock lock(mutex_);
  if (idle_.empty()) return curl_.init();
  CURL* handle = idle_.back();
  idle_.pop_back();
  return handle;
}

void ApiClient::GiveBack(CURL* handle) {
  base::MutexLock lock(mutex_);
  if (idle_.size() < kMaxIdle) return idle_.push_back(handle);
  lock.unlock();
  curl_.cleanup(handle);
}

absl::Status ApiClient::Perform(const Request& request, absl::Duration most, Transfer* transfer) {
  ASSIGN_OR_RETURN(std::string token, ReadToken(server_.token_file));
  CURL* handle = TakeHandle();
  if (handle == nullptr) return absl::ResourceExhaustedError("no memory for a request");
  transfer->handle = handle;
  std::string authorization = absl::StrCat("Authorization: Bearer ", token);
  explicit_bzero(token.data(), token.size());
  curl_slist* headers = curl_.append(nullptr, authorization.c_str());
  const std::string accept =
      absl::StrCat("Accept: ", request.accept.empty() ? "application/json" : request.accept);
  headers = curl_.append(headers, accept.c_str());
  const std::string type = absl::StrCat(
      "Content-Type: ", request.content_type.empty() ? "application/json" : request.content_type);
  if (!request.body.empty()) headers = curl_.append(headers, type.c_str());
  CURLcode refused = CURLE_OK;
  const auto set = [&](CURLoption option, auto value) {
    const CURLcode taken = curl_.setopt(handle, option, value);
    if (taken != CURLE_OK) refused = taken;
  };
  const std::string url = server_.url + request.path;
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_HTTPHEADER, headers);
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  set(CURLOPT_HTTPGET, 1L);
  if (!request.body.empty()) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.c_str());
  }
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  SetAlways(set);
  set(CURLOPT_CAINFO, server_.ca_file.c_str());
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(most)));
  set(CURLOPT_WRITEFUNCTION, &Transfer::Write);
  set(CURLOPT_WRITEDATA, static_cast<void*>(transfer));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &Transfer::Progress);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(transfer));
  // What it does not take might be what it is to be careful by.
  const CURLcode result = refused == CURLE_OK ? curl_.perform(handle) : refused;
  const long code = transfer->code();
  for (const curl_slist* header = headers; header != nullptr; header = header->next) {
    explicit_bzero(header->data, std::strlen(header->data));  // our token
  }
  explicit_bzero(authorization.data(), authorization.size());
  curl_.free_all(headers);
  set(CURLOPT_HTTPHEADER, static_cast<curl_slist*>(nullptr));
  // One whose transfer broke off has a connection that is good for nothing more.
  if (result == CURLE_OK) {
    GiveBack(handle);
  } else {
    curl_.cleanup(handle);
  }
  if (transfer->ended) {
    return request.stopped == nullptr ? absl::OkStatus()
                                      : absl::UnavailableError("the call was ended");
  }
  if (transfer->too_long) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the API server's answer to ", request.path, " is too long to be read"));
  }
  // An answer that came before the whole request was sent is an answer all the same.
  if (code >= 300) return ErrorOf(static_cast<int>(code), request.method, transfer->body);
  if (result == CURLE_OK) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the API server ", server_.url, " cannot be reached: ", curl_.strerror(result)));
}

absl::StatusOr<std::string> ApiClient::Call(const Request& request) {
  Transfer transfer{.curl = curl_};
  if (request.stopped != nullptr) transfer.stopped = &request.stopped;
  RETURN_IF_ERROR(Perform(request, kCall, &transfer));
  return std::move(transfer.body);
}

absl::Status ApiClient::Stream(const std::string& path, absl::Duration most,
                               const std::function<bool(absl::string_view)>& on_line,
                               const std::function<bool()>& stopped) {
  Transfer transfer{.curl = curl_, .on_line = &on_line, .stopped = &stopped};
  return Perform({.path = path}, most, &transfer);
}

}  // namespace linchpin::kube
