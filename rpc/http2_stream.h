// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a session knows of one of its calls.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "rpc/grpc_frames.h"
#include "rpc/http2_session.h"
#include "rpc/local_call.h"
#include "rpc/local_methods.h"

namespace linchpin::rpc {

struct Http2Session::Stream {
  explicit Stream(int32_t number) : id(number) {}

  const int32_t id;

  // The request's headers, until the call begins.
  struct Head {
    bool post = false;
    std::string path;
    std::string content_type;
    std::string timeout;
    LocalCall::Metadata metadata;
    size_t size = 0;
  };
  Head head;
  std::string encoding;

  const LocalMethods::Method* method = nullptr;
  CallPtr call;                        // null: refused before it began
  IncomingMessages incoming;           // as the method takes them
  std::optional<std::string> request;  // of a call that takes one
  size_t unconsumed = 0;               // bytes that the caller's window is still smaller by
  bool request_ended = false;
  bool reads = false;  // its service waits for a message

  std::string out;        // the message that is being written, its head first
  size_t sent = 0;        // of it
  bool answered = false;  // headers are under way
  bool deferred = false;  // libnghttp2 waits to be told of more
  std::optional<absl::Status> end;
  bool end_sent = false;
  bool overdue = false;

  size_t metadata = 0;         // bytes of the call's
  size_t held = kBytesOfCall;  // bytes that the host knows of
};

}  // namespace linchpin::rpc
