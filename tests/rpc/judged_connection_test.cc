// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <grpc/grpc_security.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <memory>

#include "gtest/gtest.h"
#include "rpc/channel.h"
#include "rpc/server_credentials.h"
#include "tests/rpc/node_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/trust/test_authority.h"

namespace linchpin::rpc {
namespace {

using ::linchpin::test::CallGetTrust;
using ::linchpin::test::CallIssue;
using ::linchpin::test::ContextOf;
using ::linchpin::test::FakeClock;
using ::linchpin::test::NodeServer;
using ::linchpin::test::StatusIs;
using ::linchpin::test::TestAuthority;

using Context = std::shared_ptr<const trust::MtlsContext>;

constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
constexpr auto kUnauthenticated = absl::StatusCode::kUnauthenticated;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;

class JudgedConnection : public ::testing::Test {
 protected:
  Context MakeContext(const std::string& path, const TestAuthority& of,
                      const std::vector<trust::v1::PeerRule>& rules = {}) const {
    return ContextOf({authority_.State()}, rules, path, of);
  }
  Context MakeContext(const std::string& path,
                      const std::vector<trust::v1::PeerRule>& rules = {}) const {
    return MakeContext(path, authority_, rules);
  }

  // Judges but shows nothing.
  Context WithoutCertificate() const {
    trust::MtlsContextParts parts;
    parts.trust.emplace(authority_.trust_domain(), authority_.State());
    return *trust::MtlsContext::Make(std::move(parts));
  }

  std::shared_ptr<grpc::Channel> Channel(const Context& context,
                                         trust::Expect expect = trust::Expect::Ca()) const {
    return JudgedChannel(server_->address(), context, std::move(expect), clock_);
  }

  void StartCa(trust::Expect expect = trust::Expect::Node()) {
    identity_->Set(MakeContext("/linchpin/ca"));
    Start(std::move(expect));
  }
  void Start(trust::Expect expect) {
    server_ = std::make_unique<NodeServer>(identity_, std::move(expect), clock_);
  }

  FakeClock clock_{test::kNow};
  TestAuthority authority_;
  TestAuthority rogue_{"example.org", "rogue"};
  std::shared_ptr<OwnIdentity> identity_ = std::make_shared<OwnIdentity>();
  std::unique_ptr<NodeServer> server_;
};

TEST_F(JudgedConnection, ANodeIsKnownToTheServerByItsId) {
  StartCa();
  const Context node = MakeContext("/linchpin/node/n1");
  EXPECT_OK(CallIssue(Channel(node)));
  EXPECT_EQ(server_->last_caller(), "spiffe://example.org/linchpin/node/n1");
  EXPECT_EQ(server_->last_leaf(), node->chain()[0].der());
}

TEST_F(JudgedConnection, ACallerWithoutACertificateReachesOnlyOpenMethods) {
  StartCa();
  const auto channel = Channel(WithoutCertificate());
  EXPECT_OK(CallGetTrust(channel));
  EXPECT_EQ(server_->last_caller(), "");
  EXPECT_EQ(server_->last_leaf(), "");
  EXPECT_THAT(CallIssue(channel),
              StatusIs(kUnauthenticated,
                       "NO_CERTIFICATE: /linchpin.ca.v1.NodeService/Issue needs a client"));
  EXPECT_EQ(server_->calls(), 1);
}

TEST_F(JudgedConnection, ARefusedCallerIsToldTheReason) {
  StartCa();
  EXPECT_THAT(CallIssue(Channel(MakeContext("/web"))), StatusIs(kDenied, "UNEXPECTED_PEER"));
  EXPECT_THAT(CallIssue(Channel(MakeContext("/linchpin/node/n1", rogue_))),
              StatusIs(kUnauthenticated, "NO_PATH"));
  EXPECT_EQ(server_->calls(), 0);
}

TEST_F(JudgedConnection, AShownCertificateIsJudgedOnOpenMethodsToo) {
  StartCa();
  EXPECT_THAT(CallGetTrust(Channel(MakeContext("/linchpin/node/n1", rogue_))),
              StatusIs(kUnauthenticated, "NO_PATH"));
}

TEST_F(JudgedConnection, NothingIsSentToAServerThatIsRefused) {
  identity_->Set(MakeContext("/web"));
  Start(trust::Expect::Node());
  EXPECT_THAT(CallIssue(Channel(MakeContext("/linchpin/node/n1"))),
              StatusIs(kUnavailable, "UNEXPECTED_PEER"));
  identity_->Set(MakeContext("/linchpin/ca", rogue_));
  EXPECT_THAT(CallIssue(Channel(MakeContext("/linchpin/node/n1"))),
              StatusIs(kUnavailable, "NO_PATH"));
  EXPECT_EQ(server_->calls(), 0);
}

TEST_F(JudgedConnection, EachNewConnectionShowsTheCertificateOfTheDay) {
  StartCa();
  const Context node = MakeContext("/linchpin/node/n1");
  const auto old_channel = Channel(node);
  EXPECT_OK(CallIssue(old_channel));
  identity_->Set(MakeContext("/web"));
  EXPECT_OK(CallIssue(old_channel));  // the connection lives on
  EXPECT_THAT(CallIssue(Channel(node)), StatusIs(kUnavailable, "UNEXPECTED_PEER"));
  identity_->Set(MakeContext("/linchpin/ca"));
  EXPECT_OK(CallIssue(Channel(node)));
}

TEST_F(JudgedConnection, EveryPortFollowsTheIdentity) {
  StartCa();
  const std::unique_ptr<NodeServer> first = std::move(server_);
  StartCa();
  const Context node = MakeContext("/linchpin/node/n1");
  EXPECT_OK(CallIssue(JudgedChannel(first->address(), node, trust::Expect::Ca(), clock_)));
  EXPECT_OK(CallIssue(Channel(node)));
}

TEST_F(JudgedConnection, BeforeItsIdentityAServerAnswersNobody) {
  Start(trust::Expect::Node());
  const Context node = MakeContext("/linchpin/node/n1");
  EXPECT_THAT(CallIssue(Channel(node)), StatusIs(kUnavailable, "NO_SPIFFE_ID"));
  const auto anybody = FirstContactChannel(
      server_->address(), [](const std::vector<std::string>&) { return absl::OkStatus(); });
  EXPECT_THAT(CallGetTrust(anybody), StatusIs(kUnavailable, "NO_CONTEXT"));
  EXPECT_EQ(server_->calls(), 0);
  identity_->Set(MakeContext("/linchpin/ca"));
  EXPECT_OK(CallIssue(Channel(node)));
}

TEST_F(JudgedConnection, WithTrustButNoCertificateAServerAnswersNobody) {
  identity_->Set(WithoutCertificate());
  Start(trust::Expect::Node());
  const auto anybody = FirstContactChannel(
      server_->address(), [](const std::vector<std::string>&) { return absl::OkStatus(); });
  EXPECT_THAT(CallGetTrust(anybody), StatusIs(kUnavailable, "NO_CONTEXT"));
  EXPECT_EQ(server_->calls(), 0);
}

TEST_F(JudgedConnection, AChangeOfTrustIsFeltByTheNextCallOfAnOldConnection) {
  StartCa();
  const auto channel = Channel(MakeContext("/linchpin/node/n1"));
  EXPECT_OK(CallIssue(channel));
  trust::TrustStateParts parts = authority_.StateParts();
  trust::v1::Revocation revocation;
  revocation.set_spiffe_id(authority_.Id("/linchpin/node/n1").ToString());
  revocation.set_issued_before(absl::ToUnixSeconds(test::kNow));
  revocation.set_lapses_at(absl::ToUnixSeconds(test::kNow + absl::Hours(9)));
  ASSERT_OK_AND_ASSIGN(parts.revocations, trust::Revocations::FromMessages({revocation}));
  ASSERT_OK_AND_ASSIGN(const auto revoked, trust::TrustState::Make(std::move(parts)));
  identity_->Set(ContextOf({revoked}, {}, "/linchpin/ca", authority_));
  EXPECT_THAT(CallIssue(channel), StatusIs(kDenied, "REVOKED"));
}

TEST_F(JudgedConnection, AnExpiredCallerIsRefusedThoughItWasAllowedBefore) {
  StartCa();
  const auto channel = Channel(MakeContext("/linchpin/node/n1"));
  EXPECT_OK(CallIssue(channel));
  clock_.Advance(absl::Minutes(61));
  EXPECT_THAT(CallIssue(channel), StatusIs(kUnauthenticated, "EXPIRED"));
}

// A client that resumes TLS sessions where it can, which none of ours does.
class ResumingClient {
 public:
  ~ResumingClient() { grpc_ssl_session_cache_destroy(cache_); }

  std::shared_ptr<grpc::Channel> Channel(const std::string& address, const Context& own) const {
    grpc::experimental::TlsChannelCredentialsOptions options;
    options.set_verify_server_certs(false);
    options.set_check_call_host(false);
    options.set_certificate_verifier(
        grpc::experimental::ExternalCertificateVerifier::Create<TakesAnybody>());
    options.set_certificate_provider(
        std::make_shared<grpc::experimental::StaticDataCertificateProvider>(
            std::vector<grpc::experimental::IdentityKeyCertPair>{
                {std::string(own->key()->ToPem().Reveal()), x509::ToPem(own->chain())}}));
    options.watch_identity_key_cert_pairs();
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetSslTargetNameOverride("server");  // sessions are kept by name
    const grpc_arg cache = grpc_ssl_session_cache_create_channel_arg(cache_);
    arguments.SetPointerWithVtable(cache.key, cache.value.pointer.p, cache.value.pointer.vtable);
    return grpc::CreateCustomChannel(address, grpc::experimental::TlsCredentials(options),
                                     arguments);
  }

 private:
  struct TakesAnybody final : grpc::experimental::ExternalCertificateVerifier {
    bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest*,
                std::function<void(grpc::Status)>, grpc::Status*) override {
      return true;
    }
    void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest*) override {}
  };

  grpc_ssl_session_cache* const cache_ = grpc_ssl_session_cache_create_lru(8);
};

TEST_F(JudgedConnection, AResumedSessionIsJudgedLikeAnyOther) {
  StartCa();
  const Context node = MakeContext("/linchpin/node/n1");
  const ResumingClient client;
  EXPECT_OK(CallIssue(client.Channel(server_->address(), node)));
  EXPECT_FALSE(server_->last_resumed());
  EXPECT_OK(CallIssue(client.Channel(server_->address(), node)));
  ASSERT_TRUE(server_->last_resumed());
  EXPECT_EQ(server_->last_caller(), "spiffe://example.org/linchpin/node/n1");
  clock_.Advance(absl::Minutes(61));
  EXPECT_THAT(CallIssue(client.Channel(server_->address(), node)),
              StatusIs(kUnauthenticated, "EXPIRED"));
  EXPECT_EQ(server_->calls(), 2);
}

TEST_F(JudgedConnection, PolicyDecidesWhichServicesMeet) {
  const std::string web = authority_.Id("/web").ToString();
  const std::string pay = authority_.Id("/payments").ToString();
  const std::vector<trust::v1::PeerRule> rules = {test::Rule(web, pay)};
  identity_->Set(MakeContext("/payments", rules));
  Start(trust::Expect::AnyAllowed());
  const trust::Expect payments = trust::Expect::Id(authority_.Id("/payments"));
  EXPECT_OK(CallIssue(Channel(MakeContext("/web", rules), payments)));
  EXPECT_EQ(server_->last_caller(), web);
  const std::string stranger = authority_.Id("/stranger").ToString();
  EXPECT_THAT(CallIssue(Channel(MakeContext("/stranger", {test::Rule(stranger, pay)}), payments)),
              StatusIs(kDenied, "PEER_NOT_ALLOWED"));
  EXPECT_THAT(CallIssue(Channel(MakeContext("/stranger"), payments)),
              StatusIs(kUnavailable, "PEER_NOT_ALLOWED"));
}

TEST_F(JudgedConnection, TheCredentialsMayGoBeforeTheServer) {
  StartCa();
  identity_.reset();
  EXPECT_OK(CallIssue(Channel(MakeContext("/linchpin/node/n1"))));
}

}  // namespace
}  // namespace linchpin::rpc
