// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/workload_api_service.h"

#include <utility>

#include "gmock/gmock.h"
#include "rpc/channel.h"
#include "spiffe/workloadapi.grpc.pb.h"
#include "tests/agent/streams_fixture.h"
#include "tests/rpc/callers.h"

namespace linchpin::test {
namespace {

namespace v1 = agent::v1;
using grpc::StatusCode;
using Headers = std::vector<std::pair<std::string, std::string>>;

const Headers kHeaders = {{"workload.spiffe.io", "true"}};

class WorkloadApiTest : public StreamsTest {
 protected:
  WorkloadApiTest() : service_(streams_, clock_, {.trust_domain = "example.org"}) {
    Serve(&service_);
    stub_ = SpiffeWorkloadAPI::NewStub(rpc::UnixChannel(path()));
  }
  ~WorkloadApiTest() override { Stop(); }

  static void Add(grpc::ClientContext* context, const Headers& headers) {
    for (const auto& [name, value] : headers) context->AddMetadata(name, value);
  }
  std::shared_ptr<v1::MtlsContexts> Contexts(const std::string& leaf) {
    auto contexts = Message({"s"}, 1);
    v1::Identity& identity = *contexts->add_identities();
    identity.set_spiffe_id("spiffe://example.org/web");
    identity.add_chain(leaf);
    identity.set_private_key("key");
    v1::TrustDomainContext& domain = *contexts->add_trust_domains();
    domain.set_trust_domain("example.org");
    domain.add_twins("twin");
    domain.mutable_pins()->set_mode(trust::v1::PinSet::ENFORCE);
    return contexts;
  }

  agent::WorkloadApiService service_;
  std::unique_ptr<SpiffeWorkloadAPI::Stub> stub_;
};

TEST_F(WorkloadApiTest, TellsTheCallerItsCertificatesNowAndAtEveryChange) {
  grpc::ClientContext context;
  Add(&context, kHeaders);
  auto reader = stub_->FetchX509SVID(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  EXPECT_EQ(opened->evidence, ca::v1::DELIVERED);
  streams_.Deliver(opened->consumer, Contexts("first"));
  X509SVIDResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.svids(0).x509_svid(), "first");
  EXPECT_EQ(response.svids(0).bundle(), "twin");
  streams_.Deliver(opened->consumer, Contexts("first"));
  streams_.Deliver(opened->consumer, Contexts("second"));
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.svids(0).x509_svid(), "second");
  streams_.Deliver(opened->consumer, Message({"s"}, 2));
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Await<agent::event::ConsumerClosed>()->consumer, opened->consumer);
}

TEST_F(WorkloadApiTest, TellsBundlesAlone) {
  grpc::ClientContext context;
  Add(&context, kHeaders);
  auto reader = stub_->FetchX509Bundles(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  streams_.Deliver(opened->consumer, Contexts("first"));
  X509BundlesResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.bundles().at("spiffe://example.org"), "twin");
  context.TryCancel();
  EXPECT_EQ(Await<agent::event::ConsumerClosed>()->consumer, opened->consumer);
}

TEST_F(WorkloadApiTest, WhoIsAnotherProgramByNowIsSentNothingOfTheFormer) {
  grpc::ClientContext context;
  Add(&context, kHeaders);
  auto reader = stub_->FetchX509SVID(&context, {});
  const auto opened = Await<agent::event::ConsumerOpened>();
  attestor_.Say({"t"});
  clock_.Advance(agent::ConsumerStreams::kFresh);
  streams_.Deliver(opened->consumer, Contexts("first"));
  EXPECT_EQ(Await<agent::event::ConsumerChanged>()->selectors, std::vector<std::string>{"t"});
  streams_.Deliver(opened->consumer, Message({"t"}, 1));
  X509SVIDResponse response;
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::PERMISSION_DENIED);
}

TEST_F(WorkloadApiTest, EveryMethodAsksForTheSecurityHeaderOnceAndExactly) {
  const std::vector<Headers> wrong = {
      {},
      {{"workload.spiffe.io", "True"}},
      {{"workload.spiffe.io", "true"}, {"workload.spiffe.io", "true"}},
      {{"workload.spiffe.io", "true"}, {"workload.spiffe.io", "false"}},
      {{"workload.spiffe.io", ""}},
      {{"workload.spiffe.io", "true "}, {"workload.spiffe.io", "x"}},
      {{"x-workload.spiffe.io", "true"}}};
  const auto code = [&](const Headers& headers, const auto& call) {
    grpc::ClientContext context;
    Add(&context, headers);
    return call(&context).error_code();
  };
  const auto svids = [&](auto* context) { return stub_->FetchX509SVID(context, {})->Finish(); };
  const auto bundles = [&](auto* c) { return stub_->FetchX509Bundles(c, {})->Finish(); };
  const auto jwt_bundles = [&](auto* c) { return stub_->FetchJWTBundles(c, {})->Finish(); };
  const auto jwt = [&](auto* context) {
    JWTSVIDResponse response;
    return stub_->FetchJWTSVID(context, {}, &response);
  };
  const auto validate = [&](auto* context) {
    ValidateJWTSVIDResponse response;
    return stub_->ValidateJWTSVID(context, {}, &response);
  };
  for (const Headers& headers : wrong) {
    EXPECT_EQ(code(headers, svids), StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(code(headers, bundles), StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(code(headers, jwt_bundles), StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(code(headers, jwt), StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(code(headers, validate), StatusCode::INVALID_ARGUMENT);
  }
  EXPECT_EQ(attestor_.looks(), 0) << "such a call costs nothing";
  EXPECT_EQ(code(kHeaders, jwt_bundles), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(code(kHeaders, jwt), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(code(kHeaders, validate), StatusCode::UNIMPLEMENTED);
}

TEST_F(WorkloadApiTest, PlacesAreThoseOfAllApis) {
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<X509SVIDResponse>>> readers;
  for (size_t i = 0; i < agent::ConsumerStreams::kMaxStreamsOfUser; ++i) {
    if (i % rpc::Http2Session::kMaxCalls == 0) {
      const int connection = rpc::Socket();
      ASSERT_TRUE(rpc::Connect(connection, path()));
      stub_ = SpiffeWorkloadAPI::NewStub(rpc::ChannelOver(connection));
    }
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    Add(contexts.back().get(), kHeaders);
    readers.push_back(stub_->FetchX509SVID(contexts.back().get(), {}));
    Await<agent::event::ConsumerOpened>();
  }
  stub_ = SpiffeWorkloadAPI::NewStub(rpc::UnixChannel(path()));
  grpc::ClientContext context;
  Add(&context, kHeaders);
  EXPECT_EQ(stub_->FetchX509Bundles(&context, {})->Finish().error_code(),
            StatusCode::RESOURCE_EXHAUSTED);
  for (const auto& open : contexts) open->TryCancel();
  for (const auto& reader : readers) reader->Finish();
}

}  // namespace
}  // namespace linchpin::test
