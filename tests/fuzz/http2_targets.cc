// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A whole connection of a local caller: what he sends is heard as the server hears it.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/wrappers.pb.h"
#include "rpc/health.h"
#include "rpc/http2_gate.h"
#include "rpc/http2_session.h"
#include "rpc/reflection.h"
#include "tests/fuzz/parsers.h"

namespace linchpin::fuzz {
namespace {

using google::protobuf::BytesValue;
using rpc::CallPtr;
using rpc::Http2Session;

constexpr size_t kMostHeld = 64 * 1024;
constexpr size_t kMostFrame = 16384 + 64;

class Host final : public rpc::SessionHost {
 public:
  bool Hold(size_t bytes) override {
    if (held_ + bytes > kMostHeld) return false;
    held_ += bytes;
    return true;
  }
  void Free(size_t bytes) override {
    Require(bytes <= held_, "no more is freed than is held");
    held_ -= bytes;
  }
  void Remind(int32_t stream, absl::Duration after) override {
    Require(after >= absl::ZeroDuration(), "a deadline is not in the past");
    Require(reminders_.insert(stream).second, "a call has one deadline");
  }
  void CallOff(int32_t stream) override { reminders_.erase(stream); }
  bool empty() const { return held_ == 0 && reminders_.empty(); }
  std::set<int32_t> reminders() const { return reminders_; }

 private:
  size_t held_ = 0;
  std::set<int32_t> reminders_;
};

// Answers each message with itself, and ends when nothing more comes.
class Echo final : public rpc::CallEvents {
 public:
  Echo(rpc::LocalCall& call, int* running) : call_(call), running_(running) { ++*running_; }

 private:
  void OnMessage(absl::string_view message) override {
    Require(message.size() <= rpc::CallTerms::kLong, "messages are bounded");
    auto answer = std::make_shared<BytesValue>();
    answer->set_value(std::string(message));
    call_.Write(std::move(answer));
  }
  void OnSilence() override { call_.Finish(absl::OkStatus()); }
  void OnWritten() override { call_.Read(); }
  void OnDone(bool) override {
    Require(!std::exchange(done_, true), "a call ends once");
    --*running_;
  }

  rpc::LocalCall& call_;
  int* const running_;
  bool done_ = false;
};

rpc::LocalMethods Methods(int* running) {
  rpc::LocalMethods methods;
  methods.AddDialogue("/t.T/Talk", [running](const CallPtr& call) {
    call->Follow(std::make_shared<Echo>(*call, running));
    call->Read();
  });
  methods.Add<BytesValue>("/t.T/Wait", [running](const CallPtr& call, const BytesValue& request) {
    call->Follow(std::make_shared<Echo>(*call, running));
    call->Write(std::make_shared<BytesValue>(request));
    call->Write(std::make_shared<BytesValue>(request));
  });
  rpc::AddHealth(methods);
  rpc::AddReflection(methods);
  return methods;
}

void Answer(Http2Session& session, rpc::CallMailbox& mailbox) {
  std::vector<rpc::CallKey> keys;
  while (!(keys = mailbox.Take()).empty()) {
    for (const rpc::CallKey& key : keys) session.Advance(key.stream);
  }
}

}  // namespace

void Http2Connection(absl::string_view bytes) {
  if (bytes.empty()) return;
  // The first byte says how many come at once, and whether what is said is read.
  const size_t piece = size_t{static_cast<uint8_t>(bytes[0])} * 8 + 1;
  const bool reads = bytes[0] % 2 == 0;
  bytes.remove_prefix(1);
  int running = 0;
  Host host;
  const rpc::LocalMethods methods = Methods(&running);
  const auto mailbox = std::make_shared<rpc::CallMailbox>();
  mailbox->IsOfThisThread();
  rpc::Http2Gate gate;
  auto session = Http2Session::New(methods, host, {.connection = 1, .mailbox = mailbox});
  std::string out;
  for (bool open = true; open && !bytes.empty();) {
    const absl::string_view now = bytes.substr(0, std::min(piece, bytes.size()));
    bytes.remove_prefix(now.size());
    open = gate.Look(now, absl::ZeroDuration()).pass && session->Receive(now);
    Answer(*session, *mailbox);
    open = session->Fill(&out) && open && !session->IsOver();
    Require(out.size() < Http2Session::kMostOutput + kMostFrame, "what is to be sent is bounded");
    Require(session->calls() <= Http2Session::kMaxCalls, "calls are bounded");
    if (reads) out.clear();
  }
  for (const int32_t stream : host.reminders()) session->Overdue(stream);
  session->GoAway();
  session->Fill(&out);
  session.reset();
  Require(running == 0, "no call outlives its connection");
  Require(host.empty(), "nothing is held for one who has gone");
}

}  // namespace linchpin::fuzz
