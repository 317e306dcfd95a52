// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The admin API over mutual TLS, as operators and those who are none meet it.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/server_world.h"
#include "tests/trust/test_authority.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class OperatorPort : public Server {
 protected:
  std::string address() const { return absl::StrCat("127.0.0.1:", server_->admin_port()); }
  // A channel that shows this, and takes the CA for what it is at the node's port.
  std::unique_ptr<ca::v1::AdminService::Stub> As(const x509::Chain& chain,
                                                 const x509::PrivateKey& key) {
    rpc::ChannelParts parts;
    parts.address = address();
    auto shown = trust::MtlsContext::Make({.chain = chain, .key = key, .trust = {}, .policy = {}});
    EXPECT_OK(shown);
    parts.shown = *shown;
    parts.check = [this](const trust::RawChain& sent) {
      return trust::BeginSetZero(trust_domain_, sent, {RootPin()}, Clock().Now(), absl::Seconds(60))
          .status();
    };
    return ca::v1::AdminService::NewStub(rpc::CheckedChannel(std::move(parts)));
  }
  x509::SpkiPin RootPin() { return *x509::SpkiPin::FromBytes(root_pin_); }
  void SetUp() override {
    Server::SetUp();
    auto authorities = Do<ca::v1::Authorities>([&](auto* context, auto* response) {
      return admin_->GetAuthorities(context, {}, response);
    });
    ASSERT_OK(authorities);
    root_pin_ = authorities->authorities(0).spki_sha256();
  }
  absl::StatusOr<x509::Chain> Create(const std::string& name, const std::string& role,
                                     int64_t ttl = 0, bool replace = false) {
    ASSIGN_OR_RETURN(const auto made,
                     Do<ca::v1::OperatorCertificate>([&](auto* context, auto* response) {
                       ca::v1::CreateOperatorRequest request;
                       request.set_name(name);
                       request.set_role(role);
                       request.set_ttl_seconds(ttl);
                       request.set_replace(replace);
                       request.set_certificate_request(*x509::MakeCertificateRequest(key_));
                       return admin_->CreateOperator(context, request, response);
                     }));
    return Parsed(made.chain());
  }
  static absl::Status Look(ca::v1::AdminService::Stub& stub) {
    return Do<ca::v1::NodeList>(
               [&](auto* context, auto* response) { return stub.ListNodes(context, {}, response); })
        .status();
  }
  static absl::Status Change(ca::v1::AdminService::Stub& stub, const std::string& path) {
    return Do<ca::v1::Identity>([&](auto* context, auto* response) {
             ca::v1::Identity request;
             request.set_spiffe_id("spiffe://example.org" + path);
             request.add_selectors("unix:uid:1");
             request.set_any_node(true);
             return stub.CreateIdentity(context, request, response);
           })
        .status();
  }

  std::string root_pin_;
  x509::PrivateKey key_ = *x509::PrivateKey::Generate(x509::KeyType::kP256);
};

TEST_F(OperatorPort, LetsOperatorsInAsFarAsTheirRoleGoes) {
  ASSERT_OK_AND_ASSIGN(const x509::Chain chain, Create("rita", "registrar"));
  auto rita = As(chain, key_);
  EXPECT_OK(Look(*rita));
  EXPECT_OK(Change(*rita, "/web"));
  EXPECT_THAT(Do<ca::v1::Node>([&](auto* context, auto* response) {
                ca::v1::NodeRequest request;
                request.set_node_id("a");
                return rita->BanNode(context, request, response);
              }),
              StatusIs(StatusCode::kPermissionDenied, "node ban needs admin"));
  Context context;
  auto reader = rita->ReadChanges(&context, {});
  std::vector<ca::v1::Change> changes;
  for (ca::v1::Change change; reader->Read(&change);) changes.push_back(change);
  ASSERT_OK(rpc::FromGrpc(reader->Finish()));
  ASSERT_THAT(changes, SizeIs(2));
  EXPECT_EQ(changes[1].who(), "rita");
  EXPECT_THAT(changes[1].from(), HasSubstr("127.0.0.1"));
}

TEST_F(OperatorPort, LetsNobodyElseIn) {
  // Without a certificate.
  auto stranger = ca::v1::AdminService::NewStub(rpc::FirstContactChannel(
      address(), [](const std::vector<std::string>&) { return absl::OkStatus(); }));
  EXPECT_THAT(Look(*stranger), StatusIs(StatusCode::kUnauthenticated, "NO_CERTIFICATE"));
  // A node.
  ASSERT_OK_AND_ASSIGN(const auto identity, Register("/web"));
  auto node = Join("a");
  ASSERT_NE(node, nullptr);
  EXPECT_THAT(Look(*As(node_chain_, node_key_)),
              StatusIs(StatusCode::kPermissionDenied, "UNEXPECTED_PEER"));
  // A workload.
  ASSERT_OK_AND_ASSIGN(const auto issued, Issue(*node, identity.identity_id(),
                                                *x509::MakeCertificateRequest(node_key_)));
  EXPECT_THAT(Look(*As(Parsed(issued.results(0).chain()), node_key_)),
              StatusIs(StatusCode::kPermissionDenied, "UNEXPECTED_PEER"));
  // An operator of another CA of the same name.
  const TestAuthority other("example.org");
  const Certified forged = other.Leaf("/linchpin/operator/rita");
  ASSERT_OK(Create("rita", "admin"));
  EXPECT_THAT(Look(*As({forged.certificate, other.active().certificate}, forged.key)),
              StatusIs(StatusCode::kUnauthenticated));
}

TEST_F(OperatorPort, RefusesAnOperatorThatWasDeletedOrReplacedOnTheConnectionItHas) {
  ASSERT_OK_AND_ASSIGN(const x509::Chain chain, Create("rita", "admin"));
  auto rita = As(chain, key_);
  ASSERT_OK(Look(*rita));
  Context context;
  ca::v1::ReadChangesRequest request;
  request.set_follow(true);
  auto follower = rita->ReadChanges(&context, request);
  ca::v1::Change change;
  ASSERT_TRUE(follower->Read(&change));
  ASSERT_OK(Do<ca::v1::Operator>([&](auto* admin_context, auto* response) {
    ca::v1::DeleteOperatorRequest deletion;
    deletion.set_name("rita");
    return admin_->DeleteOperator(admin_context, deletion, response);
  }));
  EXPECT_THAT(Look(*rita), StatusIs(StatusCode::kPermissionDenied, "there is no operator rita"));
  while (follower->Read(&change)) {
  }
  EXPECT_THAT(rpc::FromGrpc(follower->Finish()), StatusIs(StatusCode::kPermissionDenied));
  const x509::PrivateKey old = key_;
  key_ = *x509::PrivateKey::Generate(x509::KeyType::kP256);
  ASSERT_OK_AND_ASSIGN(const x509::Chain newer, Create("rita", "viewer"));
  EXPECT_THAT(Look(*rita), StatusIs(StatusCode::kPermissionDenied, "another key"));
  EXPECT_OK(Look(*As(newer, key_)));
}

TEST_F(OperatorPort, RefusesACertificateThatHasExpired) {
  ASSERT_OK_AND_ASSIGN(const x509::Chain chain, Create("rita", "admin", 1));
  absl::Status refused;
  const absl::Time deadline = Clock().Now() + absl::Minutes(1);
  while (refused.ok() && Clock().Now() < deadline) refused = Look(*As(chain, key_));
  EXPECT_THAT(std::string(refused.message()), AnyOf(HasSubstr("EXPIRED"), HasSubstr("expired")));
}

TEST_F(OperatorPort, TakesNoNodesCalls) {
  ASSERT_OK_AND_ASSIGN(const x509::Chain chain, Create("rita", "admin"));
  rpc::ChannelParts parts;
  parts.address = address();
  parts.shown = *trust::MtlsContext::Make({.chain = chain, .key = key_, .trust = {}, .policy = {}});
  parts.check = [](const trust::RawChain&) { return absl::OkStatus(); };
  auto node = ca::v1::NodeService::NewStub(rpc::CheckedChannel(std::move(parts)));
  EXPECT_THAT(Issue(*node, "x", *x509::MakeCertificateRequest(key_)),
              StatusIs(StatusCode::kUnauthenticated, "node certificate"));
  EXPECT_OK(Do<ca::v1::GetTrustResponse>([&](auto* context, auto* response) {
    ca::v1::GetTrustRequest request;
    request.set_trust_domain("example.org");
    return node->GetTrust(context, request, response);
  }));
}

}  // namespace
}  // namespace linchpin::test
