// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Operators with certificates, as the core decides about them: roles, keys, ends.

#include "ca/core/operators.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ca/core_world.h"
#include "tests/support/status_matchers.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

x509::PrivateKey NewKey() { return *x509::PrivateKey::Generate(x509::KeyType::kP256); }

class Operators : public ::testing::Test {
 protected:
  absl::StatusOr<ca::v1::OperatorCertificate> Create(const std::string& name,
                                                     const std::string& role,
                                                     const x509::PrivateKey& with,
                                                     bool replace = false, int64_t ttl = 0) {
    ca::v1::CreateOperatorRequest asked;
    asked.set_name(name);
    asked.set_role(role);
    asked.set_replace(replace);
    asked.set_ttl_seconds(ttl);
    return world.Admin<ca::v1::OperatorCertificate>(
        ca::CreateOperator{world.asker.name, asked, CoreWorld::Request(with)});
  }
  void Be(const std::string& name, const x509::PrivateKey& with) {
    world.asker = {.on_socket = false,
                   .name = name,
                   .key_sha256 = with.public_key().pin().bytes(),
                   .from = "ipv4:192.0.2.1:5"};
  }
  void BeRoot() { world.asker = CoreWorld().asker; }
  absl::Status Look() { return world.Admin<ca::v1::NodeList>(ca::v1::ListNodesRequest()).status(); }
  absl::StatusOr<ca::v1::OperatorCertificate> Renew(const std::string& name,
                                                    const x509::PrivateKey& with) {
    return world.Admin<ca::v1::OperatorCertificate>(
        ca::RenewOperator{name, 0, CoreWorld::Request(with)});
  }
  absl::StatusOr<ca::v1::Operator> Delete(const std::string& name) {
    ca::v1::DeleteOperatorRequest asked;
    asked.set_name(name);
    return world.Admin<ca::v1::Operator>(asked);
  }

  CoreWorld world;
  x509::PrivateKey key = NewKey();
};

TEST_F(Operators, HaveACertificateOfTheirNameThatIsLogged) {
  ASSERT_OK_AND_ASSIGN(const auto made, Create("alice", "registrar", key));
  ASSERT_THAT(made.chain(), SizeIs(2));
  ASSERT_OK_AND_ASSIGN(const auto leaf, x509::Certificate::FromDer(made.chain(0)));
  EXPECT_THAT(leaf.fields().uri_sans, testing::ElementsAre(Id("/linchpin/operator/alice")));
  EXPECT_EQ(leaf.public_key(), key.public_key());
  EXPECT_EQ(leaf.fields().not_after, world.now + absl::Hours(8));
  EXPECT_EQ(made.holder().created_by(), "unix:root");
  ASSERT_FALSE(world.log.empty());
  EXPECT_EQ(world.log.back().spiffe_id(), Id("/linchpin/operator/alice"));
  EXPECT_EQ(world.log.back().certificate_sha256(), leaf.sha256());
}

TEST_F(Operators, DoWhatTheirRoleAllowsAndNoMore) {
  const x509::PrivateKey viewer = NewKey();
  const x509::PrivateKey admin = NewKey();
  ASSERT_OK(Create("vic", "viewer", viewer));
  ASSERT_OK(Create("rita", "registrar", key));
  ASSERT_OK(Create("ada", "admin", admin));

  Be("vic", viewer);
  EXPECT_OK(Look());
  EXPECT_THAT(world.Register("/web"),
              StatusIs(StatusCode::kPermissionDenied,
                       "operator vic has role viewer; identity create needs registrar: ask an "
                       "admin for linchpin operator create --name vic --role registrar"));
  Be("rita", key);
  EXPECT_OK(world.Register("/web"));
  EXPECT_THAT(world.Admin<ca::v1::Node>(ca::BanNode{"a"}),
              StatusIs(StatusCode::kPermissionDenied, "node ban needs admin"));
  EXPECT_THAT(Create("eve", "admin", NewKey()),
              StatusIs(StatusCode::kPermissionDenied, "operator create needs admin"));
  EXPECT_THAT(Create("rita", "admin", NewKey(), true), StatusIs(StatusCode::kPermissionDenied))
      << "nobody gives himself a role";
  Be("ada", admin);
  EXPECT_OK(Create("bob", "admin", NewKey()));
  EXPECT_OK(Delete("vic"));
}

TEST_F(Operators, AreRefusedFromTheInstantTheyAreDeleted) {
  ASSERT_OK(Create("alice", "admin", key));
  Be("alice", key);
  ASSERT_OK(Look());
  // What waits for its turn is decided by what is so then.
  BeRoot();
  world.hold_commits = true;
  const ca::CallId deletion = world.Ask([] {
    ca::v1::DeleteOperatorRequest asked;
    asked.set_name("alice");
    return asked;
  }());
  Be("alice", key);
  const ca::CallId waits = world.Ask(ca::CreateIdentity{[] {
    ca::v1::Identity identity;
    identity.set_spiffe_id(Id("/late"));
    identity.add_selectors("unix:uid:1");
    identity.set_any_node(true);
    return identity;
  }()});
  world.hold_commits = false;
  world.CompleteAll();
  EXPECT_OK(world.Answer<ca::v1::Operator>(deletion));
  EXPECT_THAT(world.Answer<ca::v1::Identity>(waits),
              StatusIs(StatusCode::kPermissionDenied, "there is no operator alice"));
  EXPECT_THAT(Look(), StatusIs(StatusCode::kPermissionDenied));
  EXPECT_THAT(world.core->registry().identities(), IsEmpty());
}

TEST_F(Operators, AreNotAnsweredWithACertificateThatWasUnderWayWhenTheyWereDeleted) {
  ASSERT_OK(Create("alice", "admin", key));
  Be("alice", key);
  world.hold_issues = true;
  const ca::CallId renewal = world.Ask(ca::RenewOperator{"alice", 0, CoreWorld::Request(key)});
  BeRoot();
  ASSERT_OK(Delete("alice"));
  world.CompleteAll();
  EXPECT_THAT(world.Answer<ca::v1::OperatorCertificate>(renewal), StatusIs(StatusCode::kAborted));
}

TEST_F(Operators, AreKnownByTheirKeyNotByTheirNameAlone) {
  ASSERT_OK(Create("alice", "admin", key));
  Be("alice", NewKey());
  EXPECT_THAT(Look(), StatusIs(StatusCode::kPermissionDenied, "another key"));
  BeRoot();
  EXPECT_THAT(Create("alice", "viewer", NewKey()),
              StatusIs(StatusCode::kAlreadyExists, "--replace"));
  EXPECT_THAT(Create("bob", "viewer", key), StatusIs(StatusCode::kInvalidArgument, "alice's"));
  const x509::PrivateKey newer = NewKey();
  ASSERT_OK(Create("alice", "viewer", newer, true));
  Be("alice", key);
  EXPECT_THAT(Look(), StatusIs(StatusCode::kPermissionDenied, "use the newer key"));
  Be("alice", newer);
  EXPECT_OK(Look());
  EXPECT_THAT(world.Register("/web"), StatusIs(StatusCode::kPermissionDenied));
}

TEST_F(Operators, RenewTheirOwnCertificateWhileItIsValid) {
  ASSERT_OK(Create("vic", "viewer", key));
  Be("vic", key);
  world.now += absl::Hours(7);
  ASSERT_OK_AND_ASSIGN(const auto renewed, Renew("vic", key));
  EXPECT_EQ(renewed.holder().role(), "viewer");
  EXPECT_EQ(renewed.holder().certificate_expires_at(),
            absl::ToUnixSeconds(world.now + absl::Hours(8)));
  EXPECT_THAT(Renew("vic", NewKey()), StatusIs(StatusCode::kInvalidArgument, "keeps the key"));
  world.now += absl::Hours(8);
  EXPECT_THAT(Renew("vic", key), StatusIs(StatusCode::kPermissionDenied, "expired at"));
  EXPECT_THAT(Look(), StatusIs(StatusCode::kPermissionDenied, "--replace"));
  BeRoot();
  EXPECT_THAT(Renew("unix:root", key), StatusIs(StatusCode::kFailedPrecondition, "admin socket"));
}

TEST_F(Operators, HaveANameARoleAndALifeThatAreAllowed) {
  EXPECT_THAT(Create("a/b", "viewer", key), StatusIs(StatusCode::kInvalidArgument, "letters"));
  EXPECT_THAT(Create("", "viewer", key), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(Create(ca::kItself, "viewer", key), StatusIs(StatusCode::kInvalidArgument, "itself"));
  EXPECT_THAT(Create("a", "root", key), StatusIs(StatusCode::kInvalidArgument, "no role"));
  EXPECT_THAT(Create("a", "viewer", key, false, 25 * 3600),
              StatusIs(StatusCode::kInvalidArgument, "24h"));
  EXPECT_THAT(Create("a", "viewer", key, false, -1), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(world.core->registry().operators(), IsEmpty());
}

TEST_F(Operators, CannotPushOthersOutOfTheLogOfChanges) {
  ASSERT_OK(Create("ada", "admin", key));
  Be("ada", key);
  const size_t before = world.store.List(ca::kChangePrefix)->records.size();
  ASSERT_OK(Renew("ada", key));
  EXPECT_THAT(world.store.List(ca::kChangePrefix)->records, SizeIs(before))
      << "a renewal is in the issuance log";
  const auto ban = [&] { return world.Admin<ca::v1::Node>(ca::BanNode{"nobody"}).status(); };
  for (int i = 1; i < ca::kChangesOfOperator; ++i) {
    ASSERT_THAT(ban(), StatusIs(StatusCode::kNotFound));
  }
  EXPECT_THAT(ban(), StatusIs(StatusCode::kResourceExhausted, "in haste"));
  EXPECT_THAT(Renew("ada", key), StatusIs(StatusCode::kResourceExhausted));
  EXPECT_OK(Look());
  world.now += ca::kBetweenChanges;
  EXPECT_OK(Renew("ada", key));
  BeRoot();
  for (int i = 0; i <= ca::kChangesOfOperator; ++i) {
    ASSERT_THAT(ban(), StatusIs(StatusCode::kNotFound));
  }
}

TEST_F(Operators, AreInTheRecordOfWhatTheyChange) {
  ASSERT_OK(Create("rita", "registrar", key));
  world.Restart();
  Be("rita", key);
  ASSERT_OK(world.Register("/web"));
  const auto changes = world.store.List(ca::kChangePrefix)->records;
  ASSERT_THAT(changes, SizeIs(2));
  ASSERT_OK_AND_ASSIGN(const auto created, ca::ReadChange(changes[0]));
  EXPECT_EQ(created.records(0).object(), "operator rita");
  EXPECT_THAT(created.records(0).after(), HasSubstr("\"role\":\"registrar\""));
  ASSERT_OK_AND_ASSIGN(const auto made, ca::ReadChange(changes[1]));
  EXPECT_EQ(made.who(), "rita");
  EXPECT_EQ(made.role(), "registrar");
  EXPECT_EQ(made.from(), "ipv4:192.0.2.1:5");
}

}  // namespace
}  // namespace linchpin::test
