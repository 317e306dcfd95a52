// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/curl.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"

namespace linchpin::kube {
namespace {

constexpr char kLibrary[] = "libcurl.so.4";

absl::StatusOr<CurlLibrary> Load() {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        kLibrary, " is needed to talk to Kubernetes (apt-get install libcurl4): ", dlerror()));
  }
  CurlLibrary curl{};
  bool whole = true;
  const auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(dlsym(library, name));
    whole = whole && *function != nullptr;
  };
  decltype(&::curl_global_init) global_init = nullptr;
  find("curl_global_init", &global_init);
  find("curl_easy_init", &curl.init);
  find("curl_easy_cleanup", &curl.cleanup);
  find("curl_easy_setopt", &curl.setopt);
  find("curl_easy_perform", &curl.perform);
  find("curl_easy_getinfo", &curl.getinfo);
  find("curl_easy_strerror", &curl.strerror);
  find("curl_slist_append", &curl.append);
  find("curl_slist_free_all", &curl.free_all);
  if (!whole || global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return absl::FailedPreconditionError(absl::StrCat(kLibrary, " is not one that can be used"));
  }
  return curl;
}

}  // namespace

absl::StatusOr<const CurlLibrary*> LoadCurl() {
  static const auto& loaded = *new absl::StatusOr<CurlLibrary>(Load());
  if (!loaded.ok()) return loaded.status();
  return &*loaded;
}

}  // namespace linchpin::kube
