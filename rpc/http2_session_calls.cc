// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The calls of a connection: requests are taken, and what services say is written.

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rpc/http2_session.h"
#include "rpc/http2_stream.h"
#include "rpc/status.h"

namespace linchpin::rpc {
namespace {

constexpr size_t kHeaderOverhead = 32;  // RFC 9113, 6.5.2
constexpr size_t kMostOfEncoding = 32;  // of its name

// Header fields of an answer. What is given must live until they are submitted.
class Fields {
 public:
  void Add(absl::string_view name, absl::string_view value) {
    fields_.push_back({Bytes(name), Bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  const nghttp2_nv* data() const { return fields_.data(); }
  size_t size() const { return fields_.size(); }

 private:
  static uint8_t* Bytes(absl::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  }
  std::vector<nghttp2_nv> fields_;
};

void AddAnswer(Fields& fields) {
  fields.Add(":status", "200");
  fields.Add("content-type", "application/grpc");
}

// "Status → "grpc-status" 1*DIGIT"; "Status-Message → "grpc-message" Percent-Encoded".
struct Trailer {
  explicit Trailer(const absl::Status& status) {
    const grpc::Status said = ToGrpc(status);
    code = absl::StrCat(static_cast<int>(said.error_code()));
    message = PercentEncode(said.error_message());
    details = absl::Base64Escape(said.error_details());
    compressed = absl::IsUnimplemented(status);
  }
  void AddTo(Fields& fields) const {
    fields.Add("grpc-status", code);
    if (compressed) fields.Add("grpc-accept-encoding", "identity");
    if (!message.empty()) fields.Add("grpc-message", message);
    if (!details.empty()) fields.Add("grpc-status-details-bin", details);
  }
  std::string code;
  std::string message;
  std::string details;
  bool compressed;
};

absl::Status NotOneMessage() {
  // https://github.com/grpc/grpc/blob/master/doc/statuscodes.md: "Request cardinality violation
  // (method requires exactly one request but client sent some other number of requests)".
  return absl::UnimplementedError("this method takes exactly one message");
}

absl::Status TooMuchHeld() {
  return absl::ResourceExhaustedError(
      "too much of this user's waits to be read or written; call again later");
}

void Wipe(std::string* bytes) {
  explicit_bzero(bytes->data(), bytes->size());
  std::string().swap(*bytes);  // an assignment would keep the memory
}

}  // namespace

void Http2Session::OnHeader(Stream& stream, absl::string_view name, absl::string_view value) {
  Stream::Head& head = stream.head;
  head.size += name.size() + value.size() + kHeaderOverhead;
  if (head.size > kMaxMetadata) return;
  if (name == ":method") {
    head.post = value == "POST";
  } else if (name == ":path") {
    head.path = std::string(value);
  } else if (name == "content-type") {
    head.content_type = std::string(value);
  } else if (name == "grpc-timeout") {
    head.timeout = std::string(value);
  } else if (name == "grpc-encoding") {
    stream.encoding = std::string(value.substr(0, kMostOfEncoding));
  } else if (!absl::StartsWith(name, ":") && name != "te" && name != "user-agent" &&
             !absl::StartsWith(name, "grpc-")) {
    head.metadata.emplace_back(std::string(name), std::string(value));
  }
}

void Http2Session::OnHeaders(Stream& stream) {
  // RFC 9110, 15.5.6, and PROTOCOL-HTTP2: "If Content-Type does not begin with "application/grpc",
  // gRPC servers SHOULD respond with HTTP status of 415 (Unsupported Media Type)."
  const bool too_large = stream.head.size > kMaxMetadata;
  if (!too_large && !stream.head.post) return RefuseHttp(stream, "405");
  if (!too_large && !IsGrpc(stream.head.content_type)) return RefuseHttp(stream, "415");
  Begin(stream);
  const Stream::Head gone = std::move(stream.head);
}

void Http2Session::Begin(Stream& stream) {
  Stream::Head& head = stream.head;
  if (head.size > kMaxMetadata) {
    return End(stream, absl::ResourceExhaustedError(absl::StrCat(
                           "the call's metadata are longer than ", kMaxMetadata, " bytes")));
  }
  stream.method = methods_.Find(head.path);
  if (stream.method == nullptr) {
    return End(stream, absl::UnimplementedError(absl::StrCat("there is no method ", head.path)));
  }
  if (!head.timeout.empty()) {
    const std::optional<absl::Duration> timeout = ParseTimeout(head.timeout);
    if (!timeout.has_value()) {
      return End(stream, absl::InvalidArgumentError(
                             absl::StrCat("grpc-timeout is no duration: ", head.timeout)));
    }
    host_.Remind(stream.id, *timeout);
  }
  for (const auto& [name, value] : head.metadata) {
    stream.metadata += sizeof(LocalCall::Metadata::value_type) + name.capacity() + value.capacity();
  }
  if (!Account(stream)) return End(stream, TooMuchHeld());
  stream.call =
      std::make_shared<LocalCall>(caller_.peer, std::move(head.metadata),
                                  CallKey{caller_.connection, stream.id}, caller_.mailbox);
  const CallTerms& terms = stream.method->terms;
  const absl::Status admitted =
      terms.admit != nullptr ? terms.admit(*stream.call) : absl::OkStatus();
  if (!admitted.ok()) return End(stream, admitted);
  stream.incoming = IncomingMessages(terms.most_bytes);
  if (stream.method->on_open != nullptr) stream.method->on_open(stream.call);
}

void Http2Session::OnData(Stream& stream, absl::string_view bytes) {
  stream.unconsumed += bytes.size();
  const bool refused = stream.call == nullptr || stream.end.has_value();
  if (refused) return;  // the window is not opened again
  stream.incoming.Add(bytes);
  if (!Account(stream)) {
    return End(stream, TooMuchHeld());
  }
  stream.method->on_request != nullptr ? TakeOnlyMessage(stream) : TakeNextMessage(stream);
}

void Http2Session::OnRequestEnd(Stream& stream) {
  stream.request_ended = true;
  if (stream.call == nullptr || stream.end.has_value()) return;
  if (stream.method->on_request == nullptr) return TakeNextMessage(stream);
  if (!stream.request.has_value() && !stream.incoming.empty()) {
    return End(stream, absl::InternalError("the request ends within a message"));
  }
  if (!stream.request.has_value() || !stream.incoming.empty()) return End(stream, NotOneMessage());
  const std::string request = *std::exchange(stream.request, std::nullopt);
  Account(stream);
  stream.method->on_request(stream.call, request);
}

void Http2Session::TakeOnlyMessage(Stream& stream) {
  if (!stream.request.has_value()) {
    auto next = stream.incoming.Next(stream.encoding);
    if (!next.ok()) return End(stream, next.status());
    stream.request = *std::move(next);
  }
  if (stream.request.has_value() && !stream.incoming.empty()) return End(stream, NotOneMessage());
  nghttp2_session_consume_stream(session_, stream.id, std::exchange(stream.unconsumed, 0));
}

void Http2Session::TakeNextMessage(Stream& stream) {
  if (!stream.reads) return;
  auto next = stream.incoming.Next(stream.encoding);
  if (!next.ok()) return End(stream, next.status());
  if (next->has_value()) {
    stream.reads = false;
    Account(stream);
    host_.Took();
    if (stream.call->events_ != nullptr) stream.call->events_->OnMessage(**next);
  } else if (!stream.request_ended) {
    nghttp2_session_consume_stream(session_, stream.id, std::exchange(stream.unconsumed, 0));
  } else if (!stream.incoming.empty()) {
    End(stream, absl::InternalError("the request ends within a message"));
  } else {
    stream.reads = false;
    if (stream.call->events_ != nullptr) stream.call->events_->OnSilence();
  }
}

bool Http2Session::Account(Stream& stream) {
  const size_t request = stream.request.has_value() ? stream.request->size() : 0;
  const size_t now =
      kBytesOfCall + stream.metadata + stream.incoming.held() + request + stream.out.size();
  if (now > stream.held && !host_.Hold(now - stream.held)) return false;
  if (now < stream.held) host_.Free(stream.held - now);
  stream.held = now;
  return true;
}

void Http2Session::Advance(int32_t id) {
  Stream* const stream = Find(id);
  if (stream != nullptr && stream->call != nullptr) Obey(*stream);
}

void Http2Session::Obey(Stream& stream) {
  const LocalCall::Orders orders = stream.call->TakeOrders();
  if (stream.end.has_value()) return;
  if (orders.message != nullptr && stream.out.empty()) Write(stream, *orders.message);
  if (orders.end.has_value()) return End(stream, *orders.end);
  if (orders.read && !stream.end.has_value()) {
    stream.reads = true;
    TakeNextMessage(stream);
  }
}

void Http2Session::Write(Stream& stream, const google::protobuf::MessageLite& message) {
  const size_t size = message.ByteSizeLong();
  stream.out = MessageHead(size);
  stream.out.resize(kMessageHead + size);
  message.SerializeWithCachedSizesToArray(
      reinterpret_cast<uint8_t*>(stream.out.data() + kMessageHead));
  if (!Account(stream)) {
    Wipe(&stream.out);
    return End(stream, TooMuchHeld());
  }
  if (std::exchange(stream.answered, true)) {
    if (std::exchange(stream.deferred, false)) nghttp2_session_resume_data(session_, stream.id);
    return;
  }
  Fields fields;
  AddAnswer(fields);
  nghttp2_data_provider provider{};
  provider.source.ptr = this;
  provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t*, size_t most, uint32_t* flags,
                              nghttp2_data_source* source, void*) -> ssize_t {
    auto& self = *static_cast<Http2Session*>(source->ptr);
    Stream* const found = self.Find(id);
    if (found == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return self.OnRead(*found, most, flags);
  };
  Submitted(stream,
            nghttp2_submit_response(session_, stream.id, fields.data(), fields.size(), &provider));
}

ssize_t Http2Session::OnRead(Stream& stream, size_t most, uint32_t* flags) {
  if (stream.sent < stream.out.size()) {
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return static_cast<ssize_t>(std::min(most, stream.out.size() - stream.sent));
  }
  if (!stream.end.has_value()) {
    stream.deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
  const Trailer trailer(*stream.end);
  Fields fields;
  trailer.AddTo(fields);
  return nghttp2_submit_trailer(session_, stream.id, fields.data(), fields.size()) == 0
             ? 0
             : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

void Http2Session::Submitted(const Stream& stream, int error) {
  if (error == 0) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_INTERNAL_ERROR);
}

int Http2Session::OnSend(Stream& stream, absl::string_view head, size_t size) {
  if (!HasRoom()) return NGHTTP2_ERR_WOULDBLOCK;
  out_->append(head.data(), head.size());
  out_->append(stream.out, stream.sent, size);
  stream.sent += size;
  if (size == 0 || stream.sent < stream.out.size()) return 0;
  Wipe(&stream.out);
  stream.sent = 0;
  Account(stream);
  if (stream.end.has_value()) return 0;
  stream.call->Written();
  Obey(stream);
  return 0;
}

void Http2Session::End(Stream& stream, const absl::Status& status) {
  if (stream.end.has_value()) return;
  stream.end = Shortened(status);
  stream.incoming.Clear();
  stream.request.reset();
  Account(stream);
  if (std::exchange(stream.answered, true)) {
    if (std::exchange(stream.deferred, false)) nghttp2_session_resume_data(session_, stream.id);
    return;
  }
  // "Trailers-Only": all in one block of headers.
  Fields fields;
  AddAnswer(fields);
  const Trailer trailer(*stream.end);
  trailer.AddTo(fields);
  Submitted(stream,
            nghttp2_submit_response(session_, stream.id, fields.data(), fields.size(), nullptr));
}

void Http2Session::RefuseHttp(Stream& stream, absl::string_view code) {
  const Stream::Head gone = std::move(stream.head);
  stream.end = absl::InvalidArgumentError("this is no gRPC");
  Fields fields;
  fields.Add(":status", code);
  Submitted(stream,
            nghttp2_submit_response(session_, stream.id, fields.data(), fields.size(), nullptr));
}

void Http2Session::Overdue(int32_t id) {
  Stream* const stream = Find(id);
  if (stream == nullptr) return;
  stream->overdue = true;
  if (stream->out.empty()) {
    End(*stream, absl::DeadlineExceededError("the call's deadline has passed"));
  } else {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  }
}

void Http2Session::OnEndSent(Stream& stream) {
  stream.end_sent = true;
  if (stream.request_ended) return;
  // RFC 9113, 8.1: a server that has answered "MAY request that the client abort transmission of a
  // request without error by sending a RST_STREAM with an error code of NO_ERROR".
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_NO_ERROR);
}

void Http2Session::OnClose(Stream& stream) {
  host_.CallOff(stream.id);
  host_.Free(std::exchange(stream.held, 0));
  Wipe(&stream.out);
  if (stream.call != nullptr) stream.call->Over(!stream.end_sent || stream.overdue);
}

}  // namespace linchpin::rpc
