// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/http2_session.h"

#include <set>

#include "base/retry_after.h"
#include "gmock/gmock.h"
#include "google/protobuf/wrappers.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "gtest/gtest.h"
#include "rpc/health.h"
#include "rpc/user_budgets.h"
#include "tests/rpc/http2_bytes.h"

namespace linchpin::test {
namespace {

using google::protobuf::BytesValue;
using std::string_literals::operator""s;
using rpc::CallPtr;
using rpc::CallTerms;
using rpc::Http2Session;

class Host final : public rpc::SessionHost {
 public:
  bool Hold(size_t bytes) override {
    if (held + bytes > most) return false;
    held += bytes;
    return true;
  }
  void Free(size_t bytes) override { held -= bytes; }
  void Took() override { ++took; }
  void Remind(int32_t stream, absl::Duration after) override { reminders[stream] = after; }
  void CallOff(int32_t stream) override { reminders.erase(stream); }

  size_t held = 0;
  size_t most = size_t{1} << 30;
  int took = 0;
  std::map<int32_t, absl::Duration> reminders;
};

struct Events final : rpc::CallEvents {
  void OnMessage(absl::string_view message) override { messages.emplace_back(message); }
  void OnSilence() override { silent = true; }
  void OnWritten() override { ++written; }
  void OnDone(bool given_up) override { gave_up = given_up; }

  std::vector<std::string> messages;
  bool silent = false;
  int written = 0;
  std::optional<bool> gave_up;
};

BytesValue Bytes(const std::string& bytes) {
  BytesValue message;
  message.set_value(bytes);
  return message;
}

std::shared_ptr<const BytesValue> Shared(const std::string& bytes) {
  return std::make_shared<const BytesValue>(Bytes(bytes));
}

class Http2SessionTest : public ::testing::Test {
 protected:
  Http2SessionTest() {
    mailbox_->IsOfThisThread();
    methods_.Add<BytesValue>("/t.T/Echo", [](const CallPtr& call, const BytesValue& request) {
      call->Write(std::make_shared<BytesValue>(request));
      call->Finish(absl::OkStatus());
    });
    methods_.Add<BytesValue>("/t.T/Wait", [this](const CallPtr& call, const auto&) { Keep(call); });
    methods_.AddDialogue("/t.T/Talk", [this](const CallPtr& call) { Keep(call); });
    session_ = Http2Session::New(methods_, host_, {.connection = 1, .mailbox = mailbox_});
  }

  void Keep(const CallPtr& call) {
    call_ = call;
    events_ = std::make_shared<Events>();
    call->Follow(events_);
  }
  // What the server sends after that.
  bool Say(const std::string& bytes) {
    const bool goes_on = session_->Receive(bytes);
    Listen();
    return goes_on;
  }
  void Listen() {
    std::vector<rpc::CallKey> keys;
    while (!(keys = mailbox_->Take()).empty()) {
      for (const rpc::CallKey& key : keys) session_->Advance(key.stream);
    }
    std::string out;
    do {
      out.clear();
      session_->Fill(&out);
      EXPECT_LT(out.size(), Http2Session::kMostOutput + 16384 + 64);
      heard_.Take(out);
    } while (!out.empty());
  }
  std::string StatusOf(uint32_t stream) { return heard_.answers[stream].headers["grpc-status"]; }

  rpc::LocalMethods methods_;
  Host host_;
  std::shared_ptr<rpc::CallMailbox> mailbox_ = std::make_shared<rpc::CallMailbox>();
  CallPtr call_;
  std::shared_ptr<Events> events_;
  std::unique_ptr<Http2Session> session_;
  Heard heard_;
};

TEST_F(Http2SessionTest, AnswersWithHeadersAMessageAndTrailers) {
  const std::string message = Bytes("hello").SerializeAsString();
  EXPECT_TRUE(Say(Opening() + Call(1, Asking("/t.T/Echo"), Message(message))));
  const Heard::Answer& answer = heard_.answers[1];
  EXPECT_EQ(answer.headers.at(":status"), "200");
  EXPECT_EQ(answer.headers.at("content-type"), "application/grpc");
  EXPECT_EQ(answer.data, Message(message));
  EXPECT_EQ(answer.headers.at("grpc-status"), "0");
  EXPECT_TRUE(answer.ended);
  EXPECT_EQ(answer.reset, -1);
  EXPECT_EQ(session_->calls(), 0u);
  EXPECT_EQ(host_.held, 0u);
}

TEST_F(Http2SessionTest, AMessageMayComeInAnyPieces) {
  const std::string message = Message(Bytes("hello").SerializeAsString());
  std::string bytes = Opening() + Headers(1, Asking("/t.T/Echo"));
  for (const char byte : message) bytes += Frame(kData, 0, 1, std::string(1, byte));
  bytes += Frame(kData, kEndStream, 1, "");
  for (const char byte : bytes) ASSERT_TRUE(Say(std::string(1, byte)));
  EXPECT_EQ(heard_.answers[1].data, message);
}

struct Refused {
  const char* what;
  std::string call;
  std::string http;  // its status
  std::string grpc;
};

TEST_F(Http2SessionTest, WhatIsNoCallIsRefusedByTheRightStatus) {
  HeaderList get = Asking("/t.T/Echo");
  get[0].second = "GET";
  const auto typed = [](const std::string& type) {
    HeaderList headers = Asking("/t.T/Echo");
    headers[4].second = type;
    return headers;
  };
  const std::string compressed = "\1" + Message("").substr(1);
  const HeaderList gzip = Asking("/t.T/Echo", {{"grpc-encoding", "gzip"}});
  const std::string half = Message("12345").substr(0, 7);
  const std::string long_message = rpc::MessageHead(CallTerms::kLong + 1);
  const Refused table[] = {
      {"another method of HTTP", Call(1, get), "405", ""},
      {"no type", Call(1, typed("")), "415", ""},
      {"JSON", Call(1, typed("application/json")), "415", ""},
      {"for browsers", Call(1, typed("application/grpc-web")), "415", ""},
      {"protobuf by name", Call(1, typed("application/grpc+proto")), "200", "0"},
      {"no such method", Call(1, Asking("/t.T/Other")), "200", "12"},
      {"no such service", Call(1, Asking("/t.Other/Echo")), "200", "12"},
      {"no path", Call(1, Asking("")), "200", "12"},
      {"no message", Headers(1, Asking("/t.T/Echo"), kEndStream), "200", "12"},
      {"two messages", Call(1, Asking("/t.T/Echo"), Message("") + Message("")), "200", "12"},
      {"half a message", Call(1, Asking("/t.T/Echo"), half), "200", "13"},
      {"compressed", Call(1, gzip, compressed), "200", "12"},
      {"could have been compressed", Call(1, gzip), "200", "0"},
      {"compressed by nothing", Call(1, Asking("/t.T/Echo"), compressed), "200", "13"},
      {"an unknown flag", Call(1, Asking("/t.T/Echo"), "\2" + compressed.substr(1)), "200", "13"},
      {"too long", Call(1, Asking("/t.T/Echo"), long_message), "200", "8"},
      {"another message", Call(1, Asking("/t.T/Echo"), Message("\xff\xff")), "200", "13"},
      {"no duration", Call(1, Asking("/t.T/Echo", {{"grpc-timeout", "1"}})), "200", "3"},
      {"a long duration", Call(1, Asking("/t.T/Echo", {{"grpc-timeout", "123456789S"}})), "200",
       "3"},
      {"an hour", Call(1, Asking("/t.T/Echo", {{"grpc-timeout", "1H"}})), "200", "0"},
      {"much metadata", Call(1, Asking("/t.T/Echo", {{"x", std::string(8192, 'x')}})), "200", "8"},
  };
  for (const Refused& one : table) {
    SCOPED_TRACE(one.what);
    session_ = Http2Session::New(methods_, host_, {.connection = 1, .mailbox = mailbox_});
    Heard heard;
    EXPECT_TRUE(session_->Receive(Opening() + one.call));
    for (const rpc::CallKey& key : mailbox_->Take()) session_->Advance(key.stream);
    std::string out;
    EXPECT_TRUE(session_->Fill(&out));
    heard.Take(out);
    EXPECT_EQ(heard.answers[1].headers[":status"], one.http);
    EXPECT_EQ(heard.answers[1].headers["grpc-status"], one.grpc);
    EXPECT_TRUE(heard.answers[1].ended);
    EXPECT_FALSE(session_->IsOver()) << "others may follow";
    EXPECT_EQ(host_.held, 0u);
    EXPECT_TRUE(host_.reminders.empty());
  }
}

TEST_F(Http2SessionTest, ACallIsRefusedByItsMetadataBeforeItsMessageIsTaken) {
  int begun = 0;
  CallTerms terms;
  terms.admit = [](const rpc::LocalCall& call) {
    return call.ValuesOf("key").empty() ? absl::PermissionDeniedError("no key") : absl::OkStatus();
  };
  methods_.Add<BytesValue>(
      "/t.T/Closed",
      [&begun](const CallPtr& call, const auto&) {
        ++begun;
        call->Finish(absl::OkStatus());
      },
      terms);
  methods_.AddDialogue(
      "/t.T/ClosedTalk", [&begun](const CallPtr&) { ++begun; }, terms);
  const std::string much(8000, 'x');
  ASSERT_TRUE(Say(Opening() + Headers(1, Asking("/t.T/Closed"))));
  EXPECT_EQ(StatusOf(1), "7");
  EXPECT_TRUE(heard_.answers[1].ended);
  ASSERT_TRUE(Say(Frame(kData, kEndStream, 1, much))) << "which was under way";
  ASSERT_TRUE(Say(Headers(3, Asking("/t.T/ClosedTalk"))));
  EXPECT_EQ(StatusOf(3), "7");
  EXPECT_EQ(begun, 0);
  EXPECT_EQ(host_.held, 0u);
  ASSERT_TRUE(Say(Call(5, Asking("/t.T/Closed", {{"key", "1"}}))));
  EXPECT_EQ(StatusOf(5), "0");
  EXPECT_EQ(begun, 1);
}

TEST_F(Http2SessionTest, AMessageThatIsTooLongForItsMethodIsRefusedByItsHead) {
  constexpr size_t kLong = CallTerms::kLong;
  methods_.Add<BytesValue>("/t.T/Long",
                           [](const CallPtr& call, const auto&) { call->Finish(absl::OkStatus()); },
                           {.most_bytes = kLong});
  const std::string head = rpc::MessageHead(CallTerms::kShort + 1);
  ASSERT_TRUE(Say(Opening() + Headers(1, Asking("/t.T/Echo")) + Frame(kData, 0, 1, head)));
  EXPECT_EQ(StatusOf(1), "8");
  ASSERT_TRUE(Say(Headers(3, Asking("/t.T/Long")) + Frame(kData, 0, 3, head)));
  EXPECT_EQ(StatusOf(3), "") << "the rest is waited for";
  ASSERT_TRUE(
      Say(Headers(5, Asking("/t.T/Long")) + Frame(kData, 0, 5, rpc::MessageHead(kLong + 1))));
  EXPECT_EQ(StatusOf(5), "8");
}

TEST_F(Http2SessionTest, ACompressedMessageIsToldWhatIsTaken) {
  const HeaderList gzip = Asking("/t.T/Echo", {{"grpc-encoding", "gzip"}});
  Say(Opening() + Call(1, gzip, "\1" + Message("").substr(1)));
  EXPECT_EQ(heard_.answers[1].headers["grpc-accept-encoding"], "identity");
}

struct Broken {
  const char* what;
  std::string bytes;
};

TEST_F(Http2SessionTest, WhatIsNoHttp2EndsTheConnection) {
  std::string continued = Frame(kHeaders, 0, 1, Block(Asking("/t.T/Echo")));
  for (int i = 0; i < 100; ++i) continued += Frame(kContinuation, 0, 1, "");
  const Broken table[] = {
      {"HTTP/1", "GET / HTTP/1.1\r\nHost: agent\r\n\r\n"},
      {"another preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"},
      {"no SETTINGS", Opening().substr(0, 24) + Frame(kPing, 0, 0, "12345678")},
      {"a stream of the server's", Opening() + Headers(2, Asking("/t.T/Echo"))},
      {"data of no stream", Opening() + Frame(kData, 0, 0, "x")},
      {"a frame that is too long", Opening() + Number(16385, 3) + std::string(6, '\0')},
      {"a PING of another length", Opening() + Frame(kPing, 0, 0, "1")},
      {"a window that overflows", Opening() + Frame(kWindowUpdate, 0, 0, Number(0x7fffffff, 4))},
      {"no HPACK", Opening() + Frame(kHeaders, kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff")},
      {"a push", Opening() + Frame(kPush, kEndHeaders, 1, Number(2, 4))},
      {"an endless header block", Opening() + continued},
      {"many SETTINGS in one", Opening(std::string(6 * 100, '\0'))},
  };
  for (const Broken& one : table) {
    SCOPED_TRACE(one.what);
    session_ = Http2Session::New(methods_, host_, {.connection = 1, .mailbox = mailbox_});
    const bool heard = session_->Receive(one.bytes);
    std::string out;
    const bool said = session_->Fill(&out);
    EXPECT_TRUE(!heard || !said || session_->IsOver());
  }
}

TEST_F(Http2SessionTest, AStormOfPingsIsNotQueuedForOneWhoDoesNotRead) {
  EXPECT_TRUE(session_->Receive(Opening()));
  std::string pings;
  for (int i = 0; i < 2000; ++i) pings += Frame(kPing, 0, 0, "12345678");
  EXPECT_FALSE(session_->Receive(pings));
}

TEST_F(Http2SessionTest, OfCallsThatAreResetNothingIsLeft) {
  ASSERT_TRUE(Say(Opening()));
  for (uint32_t stream = 1; stream < 2000; stream += 2) {
    ASSERT_TRUE(Say(Call(stream, Asking("/t.T/Wait")) + Frame(kReset, 0, stream, Number(8, 4))));
    EXPECT_EQ(events_->gave_up, true);
  }
  EXPECT_EQ(session_->calls(), 0u);
  EXPECT_EQ(host_.held, 0u);
}

TEST_F(Http2SessionTest, NotMoreCallsRunThanAreAllowed) {
  std::string calls = Opening();
  for (uint32_t i = 0; i <= Http2Session::kMaxCalls; ++i) {
    calls += Call(2 * i + 1, Asking("/t.T/Wait"));
  }
  EXPECT_TRUE(Say(calls));
  EXPECT_EQ(session_->calls(), Http2Session::kMaxCalls);
  EXPECT_EQ(heard_.answers[2 * Http2Session::kMaxCalls + 1].reset, NGHTTP2_REFUSED_STREAM);
}

TEST_F(Http2SessionTest, OneWhoGivesNoWindowHoldsOneMessageAndGetsTheNewestInTheEnd) {
  ASSERT_TRUE(Say(Opening("\0\4\0\0\0\0"s) + Call(1, Asking("/t.T/Wait"))));
  for (int i = 0; i < 100; ++i) {
    call_->Write(Shared(std::to_string(i)));
    Listen();
  }
  EXPECT_EQ(heard_.answers[1].data, "");
  EXPECT_LT(host_.held, Http2Session::kBytesOfCall + 64);
  Say(Frame(kWindowUpdate, 0, 1, Number(1000, 4)));
  EXPECT_EQ(heard_.answers[1].data,
            Message(Bytes("0").SerializeAsString()) + Message(Bytes("99").SerializeAsString()));
  EXPECT_EQ(events_->written, 2);
}

TEST_F(Http2SessionTest, AnEndComesAfterWhatIsBeingWrittenAndInsteadOfWhatWaits) {
  ASSERT_TRUE(Say(Opening("\0\4\0\0\0\0"s) + Call(1, Asking("/t.T/Wait"))));
  call_->Write(Shared("first"));
  Listen();
  call_->Write(Shared("second"));
  call_->Finish(absl::AbortedError("enough: 100 %"));
  call_->Finish(absl::OkStatus());
  Say(Frame(kWindowUpdate, 0, 1, Number(1000, 4)));
  EXPECT_EQ(heard_.answers[1].data, Message(Bytes("first").SerializeAsString()));
  EXPECT_EQ(StatusOf(1), "10");
  EXPECT_EQ(heard_.answers[1].headers["grpc-message"], "enough: 100 %25");
  EXPECT_EQ(events_->gave_up, false);
}

TEST_F(Http2SessionTest, ALongEndIsCutAndSent) {
  ASSERT_TRUE(Say(Opening() + Call(1, Asking("/t.T/Wait"))));
  absl::Status status = absl::AbortedError(std::string(100'000, '%'));
  status.SetPayload(base::kRetryInfoType, absl::Cord(std::string(100'000, 'x')));
  call_->Finish(status);
  Listen();
  EXPECT_EQ(StatusOf(1), "10");
  EXPECT_EQ(heard_.answers[1].headers["grpc-message"].size(), 3u * 1024);
  EXPECT_TRUE(heard_.answers[1].ended);
  EXPECT_EQ(host_.held, 0u);
}

TEST_F(Http2SessionTest, ManyShortMessagesThatCameTogetherAreTakenOneByOne) {
  std::string all;
  for (int i = 0; i < 1000; ++i) all += Message(std::to_string(i));
  ASSERT_TRUE(Say(Opening() + Headers(1, Asking("/t.T/Talk")) + Frame(kData, kEndStream, 1, all)));
  for (int i = 0; i <= 1000; ++i) {
    call_->Read();
    Listen();
  }
  ASSERT_EQ(events_->messages.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(events_->messages[i], std::to_string(i));
  EXPECT_TRUE(events_->silent);
  EXPECT_EQ(host_.held, Http2Session::kBytesOfCall);
  EXPECT_EQ(host_.took, 1000);
}

TEST_F(Http2SessionTest, TheMetadataOfACallAreCountedAsWhatTheyTake) {
  HeaderList many;
  for (int i = 0; i < 200; ++i) many.emplace_back("x", "1");
  ASSERT_TRUE(Say(Opening() + Call(1, Asking("/t.T/Wait", many))));
  EXPECT_GE(host_.held, Http2Session::kBytesOfCall + 200 * 2 * sizeof(std::string));
  host_.most = host_.held + Http2Session::kBytesOfCall + 1000;
  Say(Call(3, Asking("/t.T/Wait", many)));
  EXPECT_EQ(StatusOf(3), "8");
  Say(Frame(kReset, 0, 1, Number(8, 4)));
  EXPECT_EQ(host_.held, 0u);
}

TEST_F(Http2SessionTest, WhatIsSentIsNeverMoved) {
  ASSERT_TRUE(Say(Opening() + Call(1, Asking("/t.T/Wait"))));
  call_->Write(Shared(std::string(60'000, 'x')));
  for (const rpc::CallKey& key : mailbox_->Take()) session_->Advance(key.stream);
  std::string out;
  ASSERT_TRUE(session_->Receive(Frame(kPing, 0, 0, "12345678")));
  ASSERT_TRUE(session_->Fill(&out));
  EXPECT_GT(out.size(), Http2Session::kMostOutput);
  EXPECT_EQ(out.capacity(), Http2Session::kMostOutput + 16384 + 9);
}

TEST(UserBudgetsTest, OneWhoHoldsLittleIsLetInThoughOthersHoldAllThereIs) {
  using rpc::UserBudgets;
  UserBudgets budgets;
  for (uid_t user = 1; user <= 4; ++user) {
    EXPECT_TRUE(budgets.Hold(user, UserBudgets::kMostHeldOfUser));
    EXPECT_FALSE(budgets.Hold(user, 1));
  }
  EXPECT_TRUE(budgets.Hold(5, UserBudgets::kLittle));
  EXPECT_FALSE(budgets.Hold(5, 1));
  budgets.Free(1, UserBudgets::kMostHeldOfUser);
  EXPECT_TRUE(budgets.Hold(5, 1));
}

TEST(CallMailboxTest, IsTakenInPartsInTheOrderOfPosting) {
  rpc::CallMailbox box;
  box.IsOfThisThread();
  for (int32_t i = 1; i <= 3; ++i) box.Post({1, i});
  EXPECT_EQ(box.Take(2).back().stream, 2);
  EXPECT_FALSE(box.empty());
  EXPECT_EQ(box.Take().front().stream, 3);
  EXPECT_TRUE(box.empty());
}

TEST_F(Http2SessionTest, ALongMessageIsSentInPiecesThatTheReaderTakes) {
  ASSERT_TRUE(Say(Opening("\0\4\0\x7f\xff\xff"s) + Frame(kWindowUpdate, 0, 0, Number(1 << 24, 4)) +
                  Call(1, Asking("/t.T/Wait"))));
  const std::string large(1 << 20, 'x');
  call_->Write(Shared(large));
  Listen();
  EXPECT_EQ(heard_.answers[1].data, Message(Bytes(large).SerializeAsString()));
  EXPECT_EQ(host_.held, Http2Session::kBytesOfCall);
}

TEST_F(Http2SessionTest, WhatIsMoreThanAUserMayHoldEndsTheCall) {
  host_.most = Http2Session::kBytesOfCall + 1000;
  Say(Opening() + Headers(1, Asking("/t.T/Echo")) +
      Frame(kData, 0, 1, rpc::MessageHead(2000) + std::string(1000, 'x')));
  EXPECT_EQ(StatusOf(1), "8");
  EXPECT_EQ(heard_.answers[1].reset, NGHTTP2_NO_ERROR) << "the rest need not be sent";
  Say(Call(3, Asking("/t.T/Wait")));
  call_->Write(Shared(std::string(2000, 'x')));
  Listen();
  EXPECT_EQ(StatusOf(3), "8");
  EXPECT_EQ(host_.held, 0u);
}

TEST_F(Http2SessionTest, ACallThatItsUserHasNoRoomForIsRefused) {
  host_.most = 2 * Http2Session::kBytesOfCall + 64;
  ASSERT_TRUE(Say(Opening()));
  for (const uint32_t stream : {1, 3, 5}) Say(Call(stream, Asking("/t.T/Wait")));
  EXPECT_EQ(heard_.answers[5].reset, NGHTTP2_REFUSED_STREAM);
  EXPECT_EQ(session_->calls(), 2u);
}

TEST_F(Http2SessionTest, ADialogueIsReadAsItsServiceAsks) {
  ASSERT_TRUE(Say(Opening() + Headers(1, Asking("/t.T/Talk")) +
                  Frame(kData, 0, 1, Message("one") + Message("two"))));
  EXPECT_TRUE(events_->messages.empty());
  call_->Read();
  Listen();
  EXPECT_THAT(events_->messages, ::testing::ElementsAre("one"));
  call_->Read();
  Listen();
  EXPECT_THAT(events_->messages, ::testing::ElementsAre("one", "two"));
  call_->Read();
  Listen();
  EXPECT_FALSE(events_->silent);
  Say(Frame(kData, kEndStream, 1, ""));
  EXPECT_TRUE(events_->silent);
  call_->Write(Shared("x"));
  call_->Finish(absl::OkStatus());
  Listen();
  EXPECT_EQ(StatusOf(1), "0");
}

TEST_F(Http2SessionTest, OneWhoIsNotReadFillsHisWindowAndNoMore) {
  ASSERT_TRUE(Say(Opening()));
  ASSERT_TRUE(Say(Frame(kSettings, kAck, 0, "") + Headers(1, Asking("/t.T/Talk"))));
  const std::string piece(16384, '\0');
  for (size_t i = 0; i < Http2Session::kWindow / piece.size(); ++i) Say(Frame(kData, 0, 1, piece));
  EXPECT_EQ(host_.held, Http2Session::kBytesOfCall + Http2Session::kWindow);
  EXPECT_EQ(heard_.answers[1].reset, -1);
  Say(Frame(kData, 0, 1, "x"));
  EXPECT_EQ(heard_.answers[1].reset, NGHTTP2_FLOW_CONTROL_ERROR);
  EXPECT_EQ(host_.held, 0u);
}

TEST_F(Http2SessionTest, ADialogueThatEndsWithinAMessageIsAnError) {
  Say(Opening() + Headers(1, Asking("/t.T/Talk")) +
      Frame(kData, kEndStream, 1, Message("12345").substr(0, 7)));
  call_->Read();
  Listen();
  EXPECT_EQ(StatusOf(1), "13");
}

TEST_F(Http2SessionTest, ACallEndsWhenItsDeadlinePasses) {
  ASSERT_TRUE(Say(Opening() + Call(1, Asking("/t.T/Wait", {{"grpc-timeout", "1500m"}}))));
  EXPECT_EQ(host_.reminders.at(1), absl::Milliseconds(1500));
  session_->Overdue(1);
  Listen();
  EXPECT_EQ(StatusOf(1), "4");
  EXPECT_EQ(events_->gave_up, true);
  EXPECT_TRUE(host_.reminders.empty());
}

TEST_F(Http2SessionTest, OneWhoTakesNothingIsResetAtHisDeadline) {
  ASSERT_TRUE(
      Say(Opening("\0\4\0\0\0\0"s) + Call(1, Asking("/t.T/Wait", {{"grpc-timeout", "1S"}}))));
  call_->Write(Shared("x"));
  Listen();
  session_->Overdue(1);
  Listen();
  EXPECT_EQ(heard_.answers[1].reset, NGHTTP2_CANCEL);
  EXPECT_EQ(events_->gave_up, true);
  EXPECT_EQ(host_.held, 0u);
}

TEST_F(Http2SessionTest, AfterGoingAwayWhatRunsIsAnsweredAndNothingElse) {
  ASSERT_TRUE(Say(Opening() + Call(1, Asking("/t.T/Wait"))));
  session_->GoAway();
  Listen();
  EXPECT_EQ(heard_.gone_away, NGHTTP2_NO_ERROR);
  EXPECT_TRUE(Say(Call(3, Asking("/t.T/Echo"))));
  EXPECT_FALSE(heard_.answers.contains(3));
  EXPECT_FALSE(session_->IsOver());
  call_->Finish(absl::UnavailableError("stopping"));
  Listen();
  EXPECT_EQ(StatusOf(1), "14");
  EXPECT_TRUE(session_->IsOver());
}

TEST_F(Http2SessionTest, CallsAreOverWithTheirConnection) {
  ASSERT_TRUE(Say(Opening() + Call(1, Asking("/t.T/Wait"))));
  session_.reset();
  EXPECT_EQ(events_->gave_up, true);
  call_->Write(Shared("x"));
  call_->Finish(absl::OkStatus());
}

TEST_F(Http2SessionTest, AnyTextIsAnAuthorityAndMetadataAreGivenAsTheyCame) {
  HeaderList headers = Asking("/t.T/Wait", {{"a", "1"}, {"b", "2"}, {"a", "3"}});
  headers[3].second = "/run/agent.sock";
  ASSERT_TRUE(Say(Opening() + Call(1, headers)));
  ASSERT_NE(call_, nullptr);
  EXPECT_THAT(call_->ValuesOf("a"), ::testing::ElementsAre("1", "3"));
  EXPECT_TRUE(call_->ValuesOf("te").empty());
}

TEST_F(Http2SessionTest, AFieldWithoutANameIsNothing) {
  ASSERT_TRUE(Say(Opening() + Call(1, Asking("/t.T/Echo", {{"", "x"}, {"", ""}}))));
  EXPECT_EQ(StatusOf(1), "0");
}

TEST_F(Http2SessionTest, HealthIsThatOfTheServicesThatAreThere) {
  rpc::AddHealth(methods_);
  grpc::health::v1::HealthCheckRequest request;
  const auto ask = [&](uint32_t stream, const std::string& method, const std::string& service) {
    request.set_service(service);
    Say(Call(stream, Asking("/grpc.health.v1.Health/" + method),
             Message(request.SerializeAsString())));
    return StatusOf(stream);
  };
  Say(Opening());
  EXPECT_EQ(ask(1, "Check", ""), "0");
  EXPECT_EQ(ask(3, "Check", "t.T"), "0");
  EXPECT_EQ(heard_.answers[3].data, Message("\x08\x01"));
  EXPECT_EQ(ask(5, "Check", "t.Other"), "5");
  EXPECT_EQ(ask(7, "Watch", "t.Other"), "");
  EXPECT_EQ(heard_.answers[7].data, Message("\x08\x03"));
}

}  // namespace
}  // namespace linchpin::test
