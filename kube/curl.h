// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// libcurl, loaded when a cluster is to be talked to: linked, it and its thirty libraries would be
// resident in every agent, also where there is no Kubernetes.
#pragma once

#include <curl/curl.h>

#include "absl/status/statusor.h"

namespace linchpin::kube {

struct CurlLibrary {
  decltype(&::curl_easy_init) init;
  decltype(&::curl_easy_cleanup) cleanup;
  decltype(&::curl_easy_setopt) setopt;
  decltype(&::curl_easy_perform) perform;
  decltype(&::curl_easy_getinfo) getinfo;
  decltype(&::curl_easy_strerror) strerror;
  decltype(&::curl_slist_append) append;
  decltype(&::curl_slist_free_all) free_all;
};

// FAILED_PRECONDITION: it is not installed (Debian's libcurl4). Stays loaded.
absl::StatusOr<const CurlLibrary*> LoadCurl();

}  // namespace linchpin::kube
