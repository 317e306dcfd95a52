// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Api over HTTPS, by libcurl.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "kube/api.h"
#include "kube/curl.h"

namespace linchpin::kube {

// Where it is and how we show who we are. The files are read anew for every request: the kubelet
// changes the token long before it expires.
struct ApiServer {
  std::string url;         // https://HOST:PORT
  std::string ca_file;     // PEM: the cluster's own CA, and no other
  std::string token_file;  // of the service account
};

// What is empty is filled in with what every pod is given. FAILED_PRECONDITION: this is no pod and
// there is no address. INVALID_ARGUMENT: an address that is no https://HOST:PORT.
absl::StatusOr<ApiServer> CompleteApiServer(ApiServer given);

class ApiClient final : public Api {
 public:
  // FAILED_PRECONDITION: no libcurl. Before a sandbox that forbids to load libraries, if there is.
  static absl::StatusOr<std::unique_ptr<ApiClient>> Make(ApiServer server);
  ~ApiClient() override;

  absl::StatusOr<std::string> Call(const Request& request) override;
  absl::Status Stream(const std::string& path, absl::Duration most,
                      const std::function<bool(absl::string_view)>& on_line,
                      const std::function<bool()>& stopped) override;

 private:
  struct Transfer;
  ApiClient(ApiServer server, const CurlLibrary& curl);
  absl::Status Perform(const Request& request, absl::Duration most, Transfer* transfer);
  CURL* TakeHandle();
  void GiveBack(CURL* handle);

  const ApiServer server_;
  const CurlLibrary& curl_;
  base::Mutex mutex_;
  std::vector<CURL*> idle_;  // with their connections; a few
};

}  // namespace linchpin::kube
