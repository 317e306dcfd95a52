// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The methods that a local server answers.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rpc/local_call.h"

namespace linchpin::rpc {

// What a call must keep to before anything of its messages is taken.
struct CallTerms {
  static constexpr size_t kShort = 16 * 1024;
  static constexpr size_t kLong = 256 * 1024;
  size_t most_bytes = kShort;  // of a message: one that says it is longer is not waited for
  // By its metadata; anything but OK ends it. None: every call.
  std::function<absl::Status(const LocalCall& call)> admit = nullptr;
};

// A name is a path as HTTP/2 says it: "/" Service-Name "/" method. What is added here is called in
// the server's thread and must not wait for anybody. Complete before the server starts; constant
// from then on.
class LocalMethods {
 public:
  using OnRequest = std::function<void(const CallPtr& call, absl::string_view message)>;
  using OnOpen = std::function<void(const CallPtr& call)>;

  struct Method {
    OnRequest on_request;  // with the only message of a call; none: a dialogue
    OnOpen on_open;        // as soon as it has begun
    CallTerms terms;
  };

  // One request, and any number of answers.
  template <typename Request>
  void Add(const std::string& name, std::function<void(const CallPtr&, const Request&)> handler,
           CallTerms terms = {}) {
    Method& method = methods_[name];
    method.terms = std::move(terms);
    method.on_request = [handler = std::move(handler)](const CallPtr& call,
                                                       absl::string_view message) {
      Request request;
      if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
        // https://github.com/grpc/grpc/blob/master/doc/statuscodes.md: "Error parsing request
        // proto".
        return call->Finish(absl::InternalError("the request is no message of this method"));
      }
      handler(call, request);
    };
  }
  // Messages both ways, as LocalCall::Read() asks for them.
  void AddDialogue(const std::string& name, OnOpen handler, CallTerms terms = {}) {
    methods_[name] = {nullptr, std::move(handler), std::move(terms)};
  }

  // Null: there is none.
  const Method* Find(absl::string_view name) const {
    const auto it = methods_.find(name);
    return it == methods_.end() ? nullptr : &it->second;
  }
  // The services that have a method here.
  std::set<std::string> Services() const {
    std::set<std::string> services;
    for (const auto& [name, method] : methods_) {
      services.insert(name.substr(1, name.rfind('/') - 1));
    }
    return services;
  }

 private:
  std::map<std::string, Method, std::less<>> methods_;
};

}  // namespace linchpin::rpc
