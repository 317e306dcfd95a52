// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// gRPC services over the SDK, with an agent each.

#include <grpcpp/client_context.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <functional>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "examples/echo.grpc.pb.h"
#include "rpc/status.h"
#include "sdk/grpc_credentials.h"
#include "tests/sdk/service.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using examples::v1::Echo;
using examples::v1::Line;
using Kind = tls::Notice::Kind;
using ChannelOr = absl::StatusOr<std::shared_ptr<grpc::Channel>>;

// Answers with who called; asked for its "peer", with where from.
class Blocking final : public Echo::Service {
  grpc::Status Say(grpc::ServerContext* context, const Line* line, Line* answer) override {
    answer->set_text(line->text() == "peer" ? context->peer() : tls::CallerId(*context));
    return grpc::Status::OK;
  }
  grpc::Status Talk(grpc::ServerContext*, grpc::ServerReaderWriter<Line, Line>* stream) override {
    Line line;
    while (stream->Read(&line) && stream->Write(line)) continue;
    return grpc::Status::OK;
  }
};

// Never answers a call, but sees its end.
class Reacting final : public Echo::CallbackService {
 public:
  void WaitForCall() {
    base::MutexLock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, absl::ToChronoSeconds(kLong), [&] { return called_; }));
  }

 private:
  class Waiter final : public grpc::ServerUnaryReactor {
    void OnCancel() override { Finish(grpc::Status::CANCELLED); }
    void OnDone() override { delete this; }
  };
  class Talker final : public grpc::ServerBidiReactor<Line, Line> {
   public:
    Talker() { StartRead(&line_); }
    void OnReadDone(bool ok) override { ok ? StartWrite(&line_) : Finish(grpc::Status::OK); }
    void OnWriteDone(bool ok) override { ok ? StartRead(&line_) : Finish(grpc::Status::OK); }
    void OnDone() override { delete this; }

   private:
    Line line_;
  };
  grpc::ServerBidiReactor<Line, Line>* Talk(grpc::CallbackServerContext*) override {
    return new Talker;
  }
  grpc::ServerUnaryReactor* Say(grpc::CallbackServerContext*, const Line*, Line*) override {
    {
      base::MutexLock lock(mutex_);
      called_ = true;
    }
    changed_.notify_all();
    return new Waiter;
  }

  base::Mutex mutex_;
  base::CondVar changed_;
  bool called_ = false;
};

// A client's stream that is all callbacks, and that lets go of everything in the last of them.
class TalkingClient final : public grpc::ClientBidiReactor<Line, Line> {
 public:
  struct Outcome {
    base::Mutex mutex;
    base::CondVar changed;
    int echoes = 0;
    std::optional<grpc::Status> status;

    absl::Status Wait(int for_echoes) {
      base::MutexLock lock(mutex);
      const bool came = changed.wait_for(lock, absl::ToChronoSeconds(kLong), [&] {
        return status.has_value() || echoes >= for_echoes;
      });
      EXPECT_TRUE(came);
      return status ? rpc::FromGrpc(*status) : absl::OkStatus();
    }
  };

  TalkingClient(const std::shared_ptr<grpc::Channel>& channel, std::shared_ptr<Outcome> outcome)
      : stub_(Echo::NewStub(channel)), outcome_(std::move(outcome)) {
    stub_->async()->Talk(&context_, this);
    StartWrite(&line_);
    StartCall();
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;
    {
      base::MutexLock lock(outcome_->mutex);
      ++outcome_->echoes;
    }
    outcome_->changed.notify_all();
    StartWrite(&line_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) StartRead(&line_);
  }
  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<Outcome> outcome = outcome_;
    const grpc::Status last = status;
    delete this;
    base::MutexLock lock(outcome->mutex);
    outcome->status = last;
    outcome->changed.notify_all();
  }

  const std::unique_ptr<Echo::Stub> stub_;
  const std::shared_ptr<Outcome> outcome_;
  grpc::ClientContext context_;
  Line line_;
};

class Server {
 public:
  explicit Server(const std::shared_ptr<tls::ContextSource>& source, tls::TlsOptions options = {})
      : Server(source, std::make_unique<Blocking>(), options) {}
  Server(const std::shared_ptr<tls::ContextSource>& source, std::unique_ptr<grpc::Service> service,
         const tls::TlsOptions& options)
      : service_(std::move(service)) {
    grpc::ServerBuilder builder;
    EXPECT_OK(tls::AddListeningPort(&builder, "127.0.0.1:0", source, options, &port_));
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
  }
  ~Server() {
    server_->Shutdown(absl::ToChronoTime(base::SystemClock().Now()));
    server_->Wait();
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  std::unique_ptr<grpc::Service> service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

std::shared_ptr<tls::ChannelFactory> Factory(Service& service,
                                             tls::ChannelFactory::Options options = {}) {
  return tls::ChannelFactory::Make(service.source(), std::move(options)).value();
}

void GiveTime(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(base::SystemClock().Now() + kLong));
}

// The ID that the server saw.
absl::StatusOr<std::string> Say(const ChannelOr& channel, const std::string& what = "") {
  if (!channel.ok()) return channel.status();
  grpc::ClientContext context;
  GiveTime(&context);
  Line line, answer;
  line.set_text(what);
  const grpc::Status status = Echo::NewStub(*channel)->Say(&context, line, &answer);
  if (!status.ok()) return rpc::FromGrpc(status);
  return answer.text();
}

class Stream {
 public:
  explicit Stream(const ChannelOr& channel) {
    EXPECT_OK(channel);
    stream_ = Echo::NewStub(*channel)->Talk(&context_);
  }
  ~Stream() { context_.TryCancel(); }

  bool Echoes() {
    Line line;
    line.set_text("x");
    return stream_->Write(line) && stream_->Read(&line);
  }
  // Waits for its end.
  absl::Status End() {
    Line line;
    while (stream_->Read(&line)) continue;
    return rpc::FromGrpc(stream_->Finish());
  }
  absl::Status Finish() { return rpc::FromGrpc(stream_->Finish()); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<Line, Line>> stream_;
};

class Grpc : public ::testing::Test {
 protected:
  void Renew(Service& service, agent::v1::MtlsContexts* contexts) {
    const std::string id = contexts->identities(0).spiffe_id();
    world_.SetLeaf(contexts, id, world_.issuer(), world_.MakeLeaf(id, world_.issuer()));
    service.Deliver(*contexts);
  }
  // Another policy, which these pairs do not notice.
  void ChangePolicy(Service& service, agent::v1::MtlsContexts* contexts) {
    World::Allow(contexts, contexts->identities(0).spiffe_id(), kStranger);
    World::NextEpoch(contexts);
    service.Deliver(*contexts);
  }
  void Forbid(Service& service, agent::v1::MtlsContexts contexts) {
    contexts.mutable_identities(0)->clear_rules();
    contexts.set_trust_epoch(100);
    contexts.mutable_trust_domains(0)->set_epoch(100);
    service.Deliver(contexts);
  }

  World world_;
  agent::v1::MtlsContexts for_web_ = world_.Contexts(kWeb);
  agent::v1::MtlsContexts for_payments_ = world_.Contexts(kPayments);
};

// Calls and streams without end, each on the channel of the hour, and one stream for all of it.
class Traffic {
 public:
  Traffic(std::shared_ptr<tls::ChannelFactory> channels, std::string address)
      : channels_(std::move(channels)), address_(std::move(address)) {
    for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { Calls(); });
    threads_.emplace_back([this] { ShortStreams(); });
    threads_.emplace_back([this] { LongStream(); });
  }

  // Until each kind has got on by `more`, or one has failed.
  void WaitForMore(int more) {
    base::MutexLock lock(mutex_);
    const int calls = calls_ + more, streams = streams_ + more, echoes = echoes_ + more;
    EXPECT_TRUE(changed_.wait_for(lock, absl::ToChronoSeconds(kLong), [&] {
      return !failures_.empty() || (calls_ >= calls && streams_ >= streams && echoes_ >= echoes);
    })) << "the traffic has stopped";
  }
  std::vector<std::string> Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    return failures_;
  }
  size_t channels_seen() const { return seen_.size(); }  // after Stop()

 private:
  ChannelOr Channel() { return channels_->Channel(address_, kPayments); }
  void Count(int* counter, const absl::Status& status) {
    base::MutexLock lock(mutex_);
    ++*counter;
    if (!status.ok()) failures_.push_back(status.ToString());
    changed_.notify_all();
  }
  void Calls() {
    while (!stop_) {
      const ChannelOr channel = Channel();
      Count(&calls_, Say(channel).status());
      base::MutexLock lock(mutex_);
      if (channel.ok()) seen_.insert(*channel);
    }
  }
  void ShortStreams() {
    while (!stop_) {
      Stream stream(Channel());
      const bool good = stream.Echoes() && stream.Echoes();
      Count(&streams_, good ? absl::OkStatus() : stream.Finish());
    }
  }
  void LongStream() {
    Stream stream(Channel());
    while (!stop_) {
      const bool good = stream.Echoes();
      Count(&echoes_, good ? absl::OkStatus() : stream.Finish());
      if (!good) return;
    }
  }

  const std::shared_ptr<tls::ChannelFactory> channels_;
  const std::string address_;
  std::atomic<bool> stop_ = false;
  base::Mutex mutex_;
  base::CondVar changed_;
  int calls_ = 0, streams_ = 0, echoes_ = 0;
  std::vector<std::string> failures_;
  std::set<std::shared_ptr<grpc::Channel>> seen_;
  std::vector<std::thread> threads_;
};

TEST_F(Grpc, NoCallFailsOverTenRenewalsAndAPolicyChange) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source());
  Traffic traffic(Factory(web), server.address());
  for (int i = 0; i < 10; ++i) {
    traffic.WaitForMore(5);
    Renew(i % 2 == 0 ? web : payments, i % 2 == 0 ? &for_web_ : &for_payments_);
    traffic.WaitForMore(5);
    Renew(i % 2 == 0 ? payments : web, i % 2 == 0 ? &for_payments_ : &for_web_);
    if (i == 4) ChangePolicy(web, &for_web_);
    if (i == 6) ChangePolicy(payments, &for_payments_);
  }
  traffic.WaitForMore(20);
  EXPECT_THAT(traffic.Stop(), ::testing::IsEmpty());
  EXPECT_GE(traffic.channels_seen(), 12u);
}

TEST_F(Grpc, AServerKnowsItsCaller) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source());
  EXPECT_THAT(Say(Factory(web)->Channel(server.address(), kPayments)),
              IsOkAndHolds(std::string(kWeb)));
  EXPECT_TRUE(payments.agent().WaitForReport([](const agent::v1::ReportRequest& report) {
    return report.verdicts_size() == 1 && report.verdicts(0).peer_id() == kWeb &&
           report.verdicts(0).inbound();
  }));
  EXPECT_TRUE(web.agent().WaitForReport([](const agent::v1::ReportRequest& report) {
    return report.verdicts_size() == 1 && report.verdicts(0).peer_id() == kPayments &&
           !report.verdicts(0).inbound();
  }));
}

TEST_F(Grpc, AForbiddenPeerIsRefusedWithItsReason) {
  Service payments(for_payments_);
  Server server(payments.source());
  agent::v1::MtlsContexts contexts = world_.Contexts(kStranger);
  Service stranger(contexts);
  const auto channels = Factory(stranger);
  EXPECT_THAT(Say(channels->Channel(server.address(), kPayments)),
              StatusIs(StatusCode::kUnavailable, "PEER_NOT_ALLOWED"));
  EXPECT_EQ(stranger.notices().WaitFor(Kind::kPeerRefused).verdict.peer_id, kPayments);
  World::Allow(&contexts, kStranger, kPayments);
  World::NextEpoch(&contexts);
  stranger.Deliver(contexts);
  EXPECT_THAT(Say(channels->Channel(server.address(), kPayments)),
              StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
  EXPECT_EQ(payments.notices().WaitFor(Kind::kPeerRefused).verdict.peer_id, kStranger);
  EXPECT_THAT(Say(channels->Channel(server.address(), kWeb)),
              StatusIs(StatusCode::kUnavailable, "UNEXPECTED_PEER"));
}

TEST_F(Grpc, ACallerThatIsNoLongerAllowedLosesItsStreamAndOthersKeepTheirs) {
  agent::v1::MtlsContexts contexts = world_.Contexts(kStranger);
  World::Allow(&contexts, kStranger, kPayments);
  Service stranger(contexts);
  Service web(for_web_);
  agent::v1::MtlsContexts both = for_payments_;
  World::Allow(&both, kStranger, kPayments);
  Service payments(both);
  Server server(payments.source());
  const ChannelOr channel = Factory(stranger)->Channel(server.address(), kPayments);
  Stream ended(channel);
  Stream kept(Factory(web)->Channel(server.address(), kPayments));
  ASSERT_TRUE(ended.Echoes());
  ASSERT_TRUE(kept.Echoes());
  World::NextEpoch(&for_payments_);
  payments.Deliver(for_payments_);
  EXPECT_THAT(ended.End(), StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
  EXPECT_EQ(payments.notices().WaitFor(Kind::kPeerNoLongerAllowed).verdict.peer_id, kStranger);
  EXPECT_THAT(Say(channel), StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
  EXPECT_TRUE(kept.Echoes());
}

TEST_F(Grpc, ARevokedCallerLosesItsStreamFromACallbackService) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source(), std::make_unique<Reacting>(), {});
  Stream stream(Factory(web)->Channel(server.address(), kPayments));
  ASSERT_TRUE(stream.Echoes());
  World::Revoke(&for_payments_, kWeb, world_.now() + absl::Minutes(1));
  payments.Deliver(for_payments_);
  EXPECT_THAT(stream.End(), StatusIs(StatusCode::kPermissionDenied, "REVOKED"));
}

TEST_F(Grpc, AServerThatIsNoLongerAllowedLosesTheStreamsOfItsClients) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source());
  const auto channels = Factory(web);
  const ChannelOr before = channels->Channel(server.address(), kPayments);
  Stream stream(before);
  ASSERT_TRUE(stream.Echoes());
  Forbid(web, for_web_);
  EXPECT_THAT(stream.End(), StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
  // Neither over the connection that is still up nor over a new one.
  EXPECT_THAT(Say(before), StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
  EXPECT_THAT(Say(channels->Channel(server.address(), kPayments)),
              StatusIs(StatusCode::kUnavailable, "PEER_NOT_ALLOWED"));
  for_web_.set_trust_epoch(101);
  Renew(web, &for_web_);
  EXPECT_OK(Say(before));
  EXPECT_OK(Say(channels->Channel(server.address(), kPayments)));
}

TEST_F(Grpc, AStreamOnWhichNothingHasComeYetIsEndedToo) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source());
  const ChannelOr channel = Factory(web)->Channel(server.address(), kPayments);
  ASSERT_OK(Say(channel));
  Stream stream(channel);
  Forbid(web, for_web_);
  EXPECT_THAT(stream.Finish(), StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
}

TEST_F(Grpc, AClientMayLetGoOfEverythingInItsLastCallback) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source());
  for (int i = 0; i < 5; ++i) {
    auto outcome = std::make_shared<TalkingClient::Outcome>();
    new TalkingClient(*Factory(web)->Channel(server.address(), kPayments), outcome);
    EXPECT_OK(outcome->Wait(3));
    agent::v1::MtlsContexts forbidden = for_web_;
    forbidden.mutable_identities(0)->clear_rules();
    World::NextEpoch(&forbidden);
    web.Deliver(forbidden);
    EXPECT_THAT(outcome->Wait(1 << 30),
                StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
    World::NextEpoch(&for_web_);
    World::NextEpoch(&for_web_);
    web.Deliver(for_web_);
  }
}

TEST_F(Grpc, ACallThatWaitsForItsAnswerIsEndedToo) {
  Service web(for_web_);
  Service payments(for_payments_);
  auto service = std::make_unique<Reacting>();
  Reacting& reacting = *service;
  Server server(payments.source(), std::move(service), {});
  std::thread caller([&] {
    EXPECT_THAT(Say(Factory(web)->Channel(server.address(), kPayments)),
                StatusIs(StatusCode::kPermissionDenied, "PEER_NOT_ALLOWED"));
  });
  reacting.WaitForCall();
  Forbid(payments, for_payments_);
  caller.join();
}

TEST_F(Grpc, AnUrgentPinSetWithoutTheirIssuerEndsTheStreamsOfItsPeers) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source());
  Stream stream(Factory(web)->Channel(server.address(), kPayments));
  ASSERT_TRUE(stream.Echoes());
  trust::v1::EffectivePins* pins = for_web_.mutable_trust_domains(0)->mutable_pins();
  pins->set_issuers(0, world_.MakeIssuer("other").pin());
  pins->set_version(2);
  pins->set_urgent(true);
  World::NextEpoch(&for_web_);
  web.Deliver(for_web_);
  EXPECT_THAT(stream.End(), StatusIs(StatusCode::kPermissionDenied, "ISSUER_NOT_PINNED"));
}

TEST_F(Grpc, AChannelIsTheSameUntilTheCertificateOrTrustChanges) {
  Service web(for_web_);
  const auto channels = Factory(web);
  const auto get = [&] { return channels->Channel("127.0.0.1:1", kPayments).value(); };
  const auto first = get();
  EXPECT_EQ(get(), first);
  Renew(web, &for_web_);
  const auto second = get();
  EXPECT_NE(second, first);
  EXPECT_EQ(get(), second);
  ChangePolicy(web, &for_web_);
  EXPECT_NE(get(), second);
  EXPECT_NE(channels->Channel("127.0.0.1:1", kStranger).value(), get());
}

TEST_F(Grpc, ChannelsThatAreUnusedForLongestAreLetGo) {
  Service web(for_web_);
  const auto channels = Factory(web, {.most_channels = 2});
  const auto get = [&](const std::string& address) {
    return channels->Channel(address, kPayments).value();
  };
  const std::weak_ptr<grpc::Channel> one = get("127.0.0.1:1");
  const std::weak_ptr<grpc::Channel> two = get("127.0.0.1:2");
  get("127.0.0.1:1");
  get("127.0.0.1:3");
  EXPECT_FALSE(one.expired());
  EXPECT_TRUE(two.expired());
}

TEST_F(Grpc, AChannelsArgumentsCanBeAdjusted) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source());
  tls::ChannelFactory::Options options;
  options.adjust = [](grpc::ChannelArguments* arguments) {
    arguments->SetMaxReceiveMessageSize(4);
  };
  EXPECT_THAT(Say(Factory(web, options)->Channel(server.address(), kPayments)),
              StatusIs(StatusCode::kResourceExhausted, "larger than max"));
}

TEST_F(Grpc, AConnectionThatHasReachedItsAgeIsReplacedAndNoCallFails) {
  Service web(for_web_);
  Service payments(for_payments_);
  // Far longer than a call takes to begin: gRPC begins one that meets the end again, but only once.
  Server server(payments.source(), {.max_connection_age = absl::Milliseconds(500)});
  const ChannelOr channel = Factory(web)->Channel(server.address(), kPayments);
  Stream kept(channel);
  std::set<std::string> connections;
  while (connections.size() < 3 && !HasFailure()) {
    ASSERT_OK_AND_ASSIGN(const std::string connection, Say(channel, "peer"));
    connections.insert(connection);
    EXPECT_TRUE(kept.Echoes());
  }
}

TEST_F(Grpc, AServerThatIsWithdrawnFromTheRegistryStillEndsStreams) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source());
  Stream stream(Factory(web)->Channel(server.address(), kPayments));
  ASSERT_TRUE(stream.Echoes());
  World::Revoke(&for_payments_, kWeb, world_.now() + absl::Minutes(1));
  for_payments_.clear_identities();
  payments.agent().Deliver(for_payments_);
  EXPECT_THAT(stream.End(), StatusIs(StatusCode::kPermissionDenied, "REVOKED"));
}

TEST_F(Grpc, AServerLeavesMoreIdlePeersThanItKeepsToTheNextCall) {
  Service web(for_web_);
  Service payments(for_payments_);
  Server server(payments.source());
  const auto channels = Factory(web);
  const ChannelOr first = channels->Channel(server.address(), kPayments);
  Stream stream(first);
  ASSERT_TRUE(stream.Echoes());
  for (int i = 0; i < 70; ++i) {  // a leaf each: more than the 64 that are watched without a call
    Renew(web, &for_web_);
    ASSERT_OK(Say(channels->Channel(server.address(), kPayments)));
  }
  ASSERT_OK(Say(first));
  World::Revoke(&for_payments_, kWeb, world_.now() + absl::Minutes(1));
  payments.Deliver(for_payments_);
  EXPECT_THAT(stream.End(), StatusIs(StatusCode::kPermissionDenied, "REVOKED"));
}

TEST_F(Grpc, WithoutAnIdentityNobodyCallsAndNobodyAnswers) {
  Service payments;
  payments.Open();
  Server server(payments.source());
  EXPECT_THAT(Factory(payments)->Channel(server.address(), kWeb),
              StatusIs(StatusCode::kUnavailable, "NO_CONTEXT"));
  Service web(for_web_);
  const auto channels = Factory(web);
  EXPECT_THAT(Say(channels->Channel(server.address(), kPayments)),
              StatusIs(StatusCode::kUnavailable, "NO_SPIFFE_ID"));
  payments.Deliver(for_payments_);
  Renew(web, &for_web_);  // a channel of its own: the first one waits before it tries again
  EXPECT_OK(Say(channels->Channel(server.address(), kPayments)));
  web.clock().Shift(absl::Hours(2));
  EXPECT_THAT(channels->Channel(server.address(), kPayments),
              StatusIs(StatusCode::kUnavailable, "expired"));
}

TEST_F(Grpc, WhatIsNoIdentityAddressOrAgeIsRefused) {
  Service web(for_web_);
  const auto channels = Factory(web);
  const auto kBad = StatusCode::kInvalidArgument;
  EXPECT_THAT(channels->Channel("nowhere", kPayments), StatusIs(kBad, "HOST:PORT"));
  EXPECT_THAT(channels->Channel("127.0.0.1:1", "payments"), StatusIs(kBad));
  EXPECT_THAT(tls::ChannelFactory::Make(web.source(), {.identity = "web"}), StatusIs(kBad));
  EXPECT_THAT(tls::ChannelFactory::Make(web.source(), {.most_channels = 0}), StatusIs(kBad));
  grpc::ServerBuilder builder;
  EXPECT_THAT(tls::AddListeningPort(&builder, "127.0.0.1:0", web.source(), {.identity = "web"}),
              StatusIs(kBad));
  EXPECT_THAT(tls::AddListeningPort(&builder, "127.0.0.1:0", web.source(),
                                    {.max_connection_age = absl::ZeroDuration()}),
              StatusIs(kBad, "max_connection_age"));
}

}  // namespace
}  // namespace linchpin::test
