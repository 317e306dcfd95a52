// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One caller's HTTP/2 connection, and gRPC on it, without the socket: bytes in, bytes out. Frames,
// headers and flow control are libnghttp2's; what gRPC says is as
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md has it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "rpc/call_mailbox.h"
#include "rpc/grpc_frames.h"
#include "rpc/local_call.h"
#include "rpc/local_methods.h"

struct nghttp2_session;

namespace linchpin::rpc {

// What a session asks of whoever owns it. Called from within its methods.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  // So many bytes more are held for this caller; false: he has too many, and they are not.
  virtual bool Hold(size_t bytes) = 0;
  virtual void Free(size_t bytes) = 0;
  // A service was given one message of a dialogue.
  virtual void Took() {}
  // To call Overdue() then, unless that is called off.
  virtual void Remind(int32_t stream, absl::Duration after) = 0;
  virtual void CallOff(int32_t stream) = 0;
};

// One thread: that of the server, in which the services' handlers are called.
class Http2Session {
 public:
  static constexpr uint32_t kMaxCalls = 64;         // at once
  static constexpr size_t kMaxMetadata = 8 * 1024;  // as HTTP/2 counts: 32 bytes more for each
  static constexpr uint32_t kWindow = 32 * 1024;    // of a stream
  static constexpr size_t kMostOutput = 16 * 1024;  // and one frame more
  static constexpr size_t kBytesOfCall = 2048;      // that are held for it beside its messages

  struct Caller {
    std::shared_ptr<const UnixPeer> peer;
    uint64_t connection = 0;
    std::shared_ptr<CallMailbox> mailbox;
  };
  // Null: out of memory. `methods` and `host` must outlive it.
  static std::unique_ptr<Http2Session> New(const LocalMethods& methods, SessionHost& host,
                                           Caller caller);
  ~Http2Session();  // what still runs is over
  Http2Session(const Http2Session&) = delete;

  // What the caller sent, the preface first. False: nothing more is to be heard of this caller;
  // what Fill() gives is the last.
  bool Receive(absl::string_view bytes);
  // The call of this stream, if it still runs, has something to say.
  void Advance(int32_t stream);
  void Overdue(int32_t stream);
  // No call that is not here yet is taken.
  void GoAway();

  // Appends what is to be sent. False: nothing more can be. It stops at kMostOutput.
  bool Fill(std::string* out);
  // All is said on both sides: the connection can be closed once what Fill() gave is out.
  bool IsOver() const;
  size_t calls() const { return streams_.size(); }

 private:
  struct Stream;
  struct Callbacks;  // of libnghttp2

  Http2Session(const LocalMethods& methods, SessionHost& host, Caller caller);
  bool Prepare();
  Stream* Find(int32_t stream);

  // The request.
  void OnHeader(Stream& stream, absl::string_view name, absl::string_view value);
  void OnHeaders(Stream& stream);
  void OnData(Stream& stream, absl::string_view bytes);
  void OnRequestEnd(Stream& stream);
  void Begin(Stream& stream);
  void TakeOnlyMessage(Stream& stream);
  void TakeNextMessage(Stream& stream);  // of a dialogue
  bool Account(Stream& stream);

  // The answer.
  void Obey(Stream& stream);  // what its service said
  void Write(Stream& stream, const google::protobuf::MessageLite& message);
  void End(Stream& stream, const absl::Status& status);
  void RefuseHttp(Stream& stream, absl::string_view code);
  void Submitted(const Stream& stream, int error);
  bool HasRoom();  // for one frame more, without moving what is there
  ssize_t OnRead(Stream& stream, size_t most, uint32_t* flags);
  int OnSend(Stream& stream, absl::string_view head, size_t size);
  void OnEndSent(Stream& stream);
  void OnClose(Stream& stream);

  const LocalMethods& methods_;
  SessionHost& host_;
  const Caller caller_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::unique_ptr<Stream>> streams_;
  std::string* out_ = nullptr;  // within Fill()
};

}  // namespace linchpin::rpc
