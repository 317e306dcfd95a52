// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The connection: what libnghttp2 is told, and what it tells.

#include "rpc/http2_session.h"

#include <nghttp2/nghttp2.h>

#include <iterator>

#include "rpc/http2_gate.h"
#include "rpc/http2_stream.h"

namespace linchpin::rpc {
namespace {

constexpr size_t kFrameHead = 9;
constexpr size_t kMostOfFrame = 16384;
// More is not queued for one who does not read; libnghttp2 ends the connection.
constexpr size_t kMaxAcksQueued = 64;
constexpr size_t kMaxSettings = 64;
// A caller may cancel what it called; how often it may call is the gate's affair, which is asked
// first (CVE-2023-44487).
constexpr uint64_t kResetsAtOnce = static_cast<uint64_t>(Http2Gate::kFramesAtOnce);
constexpr uint64_t kResetsASecond = static_cast<uint64_t>(Http2Gate::kFramesASecond);

absl::string_view View(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

struct Http2Session::Callbacks {
  static Http2Session& Self(void* data) { return *static_cast<Http2Session*>(data); }
  static bool IsRequest(const nghttp2_frame* frame) {
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
  }

  static int BeginHeaders(nghttp2_session* session, const nghttp2_frame* frame, void* data) {
    if (!IsRequest(frame)) return 0;
    const int32_t id = frame->hd.stream_id;
    if (!Self(data).host_.Hold(kBytesOfCall)) {
      return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    }
    Self(data).streams_[id] = std::make_unique<Stream>(id);
    return 0;
  }
  static int Header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                    void* data) {
    Stream* const stream = Self(data).Find(frame->hd.stream_id);
    if (stream != nullptr && IsRequest(frame)) {
      Self(data).OnHeader(*stream, View(name, name_size), View(value, value_size));
    }
    return 0;
  }
  static int FrameReceived(nghttp2_session*, const nghttp2_frame* frame, void* data) {
    Stream* const stream = Self(data).Find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    if (IsRequest(frame)) Self(data).OnHeaders(*stream);
    const bool carries = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (carries && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      Self(data).OnRequestEnd(*stream);
    }
    return 0;
  }
  static int DataReceived(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes,
                          size_t size, void* data) {
    // One call that is not read does not stop the others of its connection.
    if (nghttp2_session_consume_connection(session, size) != 0) {
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    Stream* const stream = Self(data).Find(id);
    if (stream != nullptr) Self(data).OnData(*stream, View(bytes, size));
    return 0;
  }
  static int StreamClosed(nghttp2_session*, int32_t id, uint32_t, void* data) {
    Stream* const stream = Self(data).Find(id);
    if (stream == nullptr) return 0;
    Self(data).OnClose(*stream);
    Self(data).streams_.erase(id);
    return 0;
  }
  static int FrameSent(nghttp2_session*, const nghttp2_frame* frame, void* data) {
    Stream* const stream = Self(data).Find(frame->hd.stream_id);
    const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (stream != nullptr && frame->hd.type == NGHTTP2_HEADERS && ends) {
      Self(data).OnEndSent(*stream);
    }
    return 0;
  }
  // What cannot be said, such as headers that are too long, must not keep its call for ever.
  static int FrameNotSent(nghttp2_session* session, const nghttp2_frame* frame, int, void* data) {
    const int32_t id = frame->hd.stream_id;
    if (frame->hd.type != NGHTTP2_HEADERS || Self(data).Find(id) == nullptr) return 0;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
  }
  static ssize_t Send(nghttp2_session*, const uint8_t* bytes, size_t size, int, void* data) {
    if (!Self(data).HasRoom()) return NGHTTP2_ERR_WOULDBLOCK;
    Self(data).out_->append(reinterpret_cast<const char*>(bytes), size);
    return static_cast<ssize_t>(size);
  }
  static int SendData(nghttp2_session*, nghttp2_frame* frame, const uint8_t* head, size_t size,
                      nghttp2_data_source*, void* data) {
    Stream* const stream = Self(data).Find(frame->hd.stream_id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return Self(data).OnSend(*stream, View(head, kFrameHead), size);
  }

  static nghttp2_session_callbacks* Make() {
    nghttp2_session_callbacks* all = nullptr;
    if (nghttp2_session_callbacks_new(&all) != 0) return nullptr;
    nghttp2_session_callbacks_set_on_begin_headers_callback(all, BeginHeaders);
    nghttp2_session_callbacks_set_on_header_callback(all, Header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(all, FrameReceived);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(all, DataReceived);
    nghttp2_session_callbacks_set_on_stream_close_callback(all, StreamClosed);
    nghttp2_session_callbacks_set_on_frame_send_callback(all, FrameSent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(all, FrameNotSent);
    nghttp2_session_callbacks_set_send_callback(all, Send);
    nghttp2_session_callbacks_set_send_data_callback(all, SendData);
    return all;
  }
  static nghttp2_option* MakeOptions() {
    nghttp2_option* options = nullptr;
    if (nghttp2_option_new(&options) != 0) return nullptr;
    nghttp2_option_set_no_auto_window_update(options, 1);
    // Clients of Unix sockets send any text as the authority, such as a path. Of the fields that
    // are looked at here each value is checked here.
    nghttp2_option_set_no_http_messaging(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_outbound_ack(options, kMaxAcksQueued);
    nghttp2_option_set_max_settings(options, kMaxSettings);
    nghttp2_option_set_stream_reset_rate_limit(options, kResetsAtOnce, kResetsASecond);
    return options;
  }
};

Http2Session::Http2Session(const LocalMethods& methods, SessionHost& host, Caller caller)
    : methods_(methods), host_(host), caller_(std::move(caller)) {}

std::unique_ptr<Http2Session> Http2Session::New(const LocalMethods& methods, SessionHost& host,
                                                Caller caller) {
  std::unique_ptr<Http2Session> session(new Http2Session(methods, host, std::move(caller)));
  return session->Prepare() ? std::move(session) : nullptr;
}

bool Http2Session::Prepare() {
  static nghttp2_session_callbacks* const callbacks = Callbacks::Make();
  static nghttp2_option* const options = Callbacks::MakeOptions();
  if (callbacks == nullptr || options == nullptr ||
      nghttp2_session_server_new2(&session_, callbacks, this, options) != 0) {
    return false;
  }
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxCalls},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxMetadata},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  };
  return nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) == 0;
}

Http2Session::~Http2Session() {
  for (const auto& [id, stream] : streams_) OnClose(*stream);
  nghttp2_session_del(session_);
}

Http2Session::Stream* Http2Session::Find(int32_t stream) {
  const auto it = streams_.find(stream);
  return it == streams_.end() ? nullptr : it->second.get();
}

bool Http2Session::Receive(absl::string_view bytes) {
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return taken == static_cast<ssize_t>(bytes.size());
}

bool Http2Session::Fill(std::string* out) {
  out_ = out;
  const bool filled = nghttp2_session_send(session_) == 0;
  out_ = nullptr;
  return filled;
}

bool Http2Session::HasRoom() {
  // There may be keys in it: to grow it would leave them in memory that is given back.
  if (out_->empty()) out_->reserve(kMostOutput + kFrameHead + kMostOfFrame);
  return out_->size() < kMostOutput;
}

void Http2Session::GoAway() {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
}

bool Http2Session::IsOver() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

}  // namespace linchpin::rpc
