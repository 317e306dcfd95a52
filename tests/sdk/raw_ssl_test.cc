// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// For users with an SSL of their own: only the SSL_CTX is ours.

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "tests/sdk/service.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;

// Two SSLs over a socket pair, each with a thread for its handshake.
class RawPair {
 public:
  RawPair(SSL_CTX* client_ctx, SSL_CTX* server_ctx) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    client_fd = fds[0];
    server_fd = fds[1];
    client = SSL_new(client_ctx);
    server = SSL_new(server_ctx);
    SSL_set_fd(client, client_fd);
    SSL_set_fd(server, server_fd);
  }
  ~RawPair() {
    SSL_free(client);
    SSL_free(server);
    close(client_fd);
    close(server_fd);
  }
  void Handshake() {
    std::thread serving([this] {
      server_ok = SSL_accept(server) == 1;
      if (!server_ok) shutdown(server_fd, SHUT_RDWR);
    });
    client_ok = SSL_connect(client) == 1;
    if (!client_ok) shutdown(client_fd, SHUT_RDWR);
    serving.join();
    ERR_clear_error();
  }

  SSL* client;
  SSL* server;
  int client_fd;
  int server_fd;
  bool client_ok = false;
  bool server_ok = false;
};

class RawSslTest : public ::testing::Test {
 protected:
  World world_;
  Service web_{world_.Contexts(kWeb)};
  Service payments_{world_.Contexts(kPayments)};
};

TEST_F(RawSslTest, AContextIsAllThatIsNeeded) {
  auto client = web_.Client();
  auto server = payments_.Server();
  RawPair pair(client->ctx(), server->ctx());
  EXPECT_OK(tls::SetExpectedPeer(pair.client, kPayments));
  EXPECT_FALSE(tls::VerdictOf(pair.client).allowed);
  pair.Handshake();
  EXPECT_TRUE(pair.client_ok);
  EXPECT_TRUE(pair.server_ok);
  EXPECT_EQ(tls::VerdictOf(pair.client).peer_id, kPayments);
  EXPECT_TRUE(tls::VerdictOf(pair.server).allowed);
  EXPECT_EQ(SSL_version(pair.client), TLS1_3_VERSION);
  EXPECT_EQ(SSL_session_reused(pair.client), 0);
  // The issuers that the peer trusts were named to each side, so a leaf alone was enough.
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(pair.client)), 1);
  EXPECT_EQ(sk_X509_NAME_num(SSL_get0_peer_CA_list(pair.client)), 1);
  EXPECT_EQ(sk_X509_NAME_num(SSL_get0_peer_CA_list(pair.server)), 1);
}

TEST_F(RawSslTest, AClientMustSayWhomItExpects) {
  RawPair pair(web_.Client()->ctx(), payments_.Server()->ctx());
  pair.Handshake();
  EXPECT_FALSE(pair.client_ok);
  EXPECT_EQ(tls::VerdictOf(pair.client).reason, "UNEXPECTED_PEER");
}

TEST_F(RawSslTest, AClientMayAskForAnyAllowedPeer) {
  RawPair pair(web_.Client()->ctx(), payments_.Server()->ctx());
  EXPECT_OK(tls::ExpectAnyAllowedPeer(pair.client));
  pair.Handshake();
  EXPECT_TRUE(tls::VerdictOf(pair.client).allowed);
}

TEST_F(RawSslTest, APeerThatNamesNoAuthorityIsSentTheIssuerToo) {
  SSL_CTX* plain = SSL_CTX_new(TLS_client_method());
  RawPair pair(plain, payments_.Server()->ctx());
  SSL_CTX_free(plain);
  pair.Handshake();
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(pair.client)), 2);
}

// What `world` delivers to `id` once a new issuer is trusted beside the old one: the leaf is of the
// new one.
agent::v1::MtlsContexts AfterActivation(World& world, const std::string& id, const Signer& next) {
  agent::v1::MtlsContexts contexts = world.ContextsOf(id, next);
  contexts.mutable_trust_domains(0)->add_issuers(next.certificate.der());
  contexts.mutable_trust_domains(0)->mutable_pins()->add_issuers(next.pin());
  World::NextEpoch(&contexts);
  return contexts;
}

TEST_F(RawSslTest, WhileIssuersChangeBothAreNamedAndALeafOfEitherIsEnough) {
  const Signer next = world_.MakeIssuer("two");
  payments_.Deliver(AfterActivation(world_, kPayments, next));
  agent::v1::MtlsContexts contexts = AfterActivation(world_, kWeb, next);
  world_.SetLeaf(&contexts, kWeb, world_.issuer(), world_.MakeLeaf(kWeb, world_.issuer()));
  web_.Deliver(contexts);  // trusts both, its own leaf is still of the old one
  RawPair pair(web_.Client()->ctx(), payments_.Server()->ctx());
  EXPECT_OK(tls::SetExpectedPeer(pair.client, kPayments));
  pair.Handshake();
  EXPECT_TRUE(tls::VerdictOf(pair.client).allowed) << tls::VerdictOf(pair.client).ToString();
  EXPECT_TRUE(tls::VerdictOf(pair.server).allowed) << tls::VerdictOf(pair.server).ToString();
  EXPECT_EQ(sk_X509_NAME_num(SSL_get0_peer_CA_list(pair.client)), 2);
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(pair.client)), 1);
}

TEST_F(RawSslTest, APeerWhoseTrustDoesNotHoldOurIssuerYetIsSentTheWholeChain) {
  const Signer next = world_.MakeIssuer("two");
  payments_.Deliver(AfterActivation(world_, kPayments, next));
  // It pins the new key, and the certificate has not come to it.
  agent::v1::MtlsContexts older = world_.Contexts(kWeb);
  older.mutable_trust_domains(0)->mutable_pins()->add_issuers(next.pin());
  World::NextEpoch(&older);
  web_.Deliver(older);
  RawPair pair(web_.Client()->ctx(), payments_.Server()->ctx());
  EXPECT_OK(tls::SetExpectedPeer(pair.client, kPayments));
  pair.Handshake();
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(pair.client)), 2);
  EXPECT_TRUE(tls::VerdictOf(pair.client).allowed) << tls::VerdictOf(pair.client).ToString();
}

TEST_F(RawSslTest, APeerThatDoesNotTrustOurIssuerRefusesTheWholeChainByItsPins) {
  const Signer next = world_.MakeIssuer("two");
  payments_.Deliver(AfterActivation(world_, kPayments, next));
  RawPair pair(web_.Client()->ctx(), payments_.Server()->ctx());
  EXPECT_OK(tls::SetExpectedPeer(pair.client, kPayments));
  pair.Handshake();
  EXPECT_FALSE(pair.client_ok);
  EXPECT_EQ(tls::VerdictOf(pair.client).reason, "ISSUER_NOT_PINNED");
}

TEST_F(RawSslTest, APeerThatNamesAnIssuerItDoesNotHoldHarmsOnlyItself) {
  auto server = payments_.Server();
  SSL_CTX* liar = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(liar, SSL_VERIFY_PEER, nullptr);
  ASSERT_EQ(X509_STORE_add_cert(SSL_CTX_get_cert_store(liar), world_.root().certificate.x509()), 1);
  ASSERT_EQ(SSL_CTX_add1_to_CA_list(liar, world_.issuer().certificate.x509()), 1);
  RawPair pair(liar, server->ctx());
  SSL_CTX_free(liar);
  pair.Handshake();
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(pair.client)), 1);
  EXPECT_FALSE(pair.client_ok);
  EXPECT_FALSE(tls::VerdictOf(pair.server).allowed);
}

TEST_F(RawSslTest, AClientWithoutACertificateIsRefusedByThatName) {
  SSL_CTX* plain = SSL_CTX_new(TLS_client_method());
  RawPair pair(plain, payments_.Server()->ctx());
  SSL_CTX_free(plain);
  pair.Handshake();
  EXPECT_FALSE(pair.server_ok);
  EXPECT_EQ(tls::VerdictOf(pair.server).reason, "NO_CERTIFICATE");
}

TEST_F(RawSslTest, OlderTlsIsRefused) {
  SSL_CTX* old = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
  RawPair pair(old, payments_.Server()->ctx());
  SSL_CTX_free(old);
  pair.Handshake();
  EXPECT_FALSE(pair.client_ok);
  EXPECT_FALSE(pair.server_ok);
}

TEST_F(RawSslTest, NoSessionCanBeResumed) {
  auto client = web_.Client();
  auto server = payments_.Server();
  RawPair first(client->ctx(), server->ctx());
  EXPECT_OK(tls::SetExpectedPeer(first.client, kPayments));
  first.Handshake();
  SSL_SESSION* session = SSL_get1_session(first.client);
  EXPECT_EQ(SSL_SESSION_is_resumable(session), 0);
  SSL_SESSION_free(session);
}

// A server of another make, with a certificate of ours, that hands out tickets.
SSL_CTX* ForeignServer(const agent::v1::MtlsContexts& contexts) {
  const agent::v1::Identity& identity = contexts.identities(0);
  SSL_CTX* ctx = SSL_CTX_new(TLS_server_method());
  const auto key = x509::PrivateKey::FromPkcs8(x509::SecretBytes(identity.private_key())).value();
  const auto leaf = x509::Certificate::FromDer(identity.chain(0)).value();
  const auto issuer = x509::Certificate::FromDer(identity.chain(1)).value();
  EXPECT_EQ(SSL_CTX_use_certificate(ctx, leaf.x509()), 1);
  EXPECT_EQ(SSL_CTX_use_PrivateKey(ctx, key.evp()), 1);
  EXPECT_EQ(SSL_CTX_add1_chain_cert(ctx, issuer.x509()), 1);
  return ctx;
}

// Reads the tickets, which come before the first byte.
SSL_SESSION* SessionOf(RawPair& pair) {
  char byte = 'x';
  EXPECT_EQ(SSL_write(pair.server, &byte, 1), 1);
  EXPECT_EQ(SSL_read(pair.client, &byte, 1), 1);
  return SSL_get1_session(pair.client);
}

TEST_F(RawSslTest, ASessionThatTheUserSetsIsNotResumedSoThatThePeerIsJudged) {
  auto client = web_.Client();
  SSL_CTX* foreign = ForeignServer(world_.Contexts(kPayments));
  RawPair first(client->ctx(), foreign);
  EXPECT_OK(tls::SetExpectedPeer(first.client, kPayments));
  first.Handshake();
  SSL_SESSION* session = SessionOf(first);
  ASSERT_EQ(SSL_SESSION_is_resumable(session), 1);
  agent::v1::MtlsContexts contexts = world_.Contexts(kWeb);
  World::Revoke(&contexts, kPayments, world_.now() + absl::Minutes(1));
  web_.Deliver(contexts);
  RawPair second(client->ctx(), foreign);
  EXPECT_OK(tls::SetExpectedPeer(second.client, kPayments));
  EXPECT_EQ(SSL_set_session(second.client, session), 1);
  second.Handshake();
  EXPECT_FALSE(second.client_ok);
  EXPECT_EQ(tls::VerdictOf(second.client).reason, "REVOKED");
  SSL_SESSION_free(session);
  SSL_CTX_free(foreign);
}

TEST_F(RawSslTest, AnSslThatIsUsedAgainIsJudgedByTheTrustOfNow) {
  auto client = web_.Client();
  auto server = payments_.Server();
  RawPair first(client->ctx(), server->ctx());
  EXPECT_OK(tls::SetExpectedPeer(first.client, kPayments));
  first.Handshake();
  ASSERT_TRUE(tls::VerdictOf(first.client).allowed);
  agent::v1::MtlsContexts contexts = world_.Contexts(kWeb);
  World::Revoke(&contexts, kPayments, world_.now() + absl::Minutes(1));
  web_.Deliver(contexts);
  RawPair second(client->ctx(), server->ctx());
  SSL_shutdown(first.client);
  ASSERT_EQ(SSL_clear(first.client), 1);
  std::swap(first.client, second.client);
  SSL_set_fd(second.client, second.client_fd);
  second.Handshake();
  EXPECT_FALSE(second.client_ok);
  EXPECT_EQ(tls::VerdictOf(second.client).reason, "REVOKED");
}

TEST_F(RawSslTest, ACallbackTellsWhenThePeerIsNoLongerAllowed) {
  auto server = payments_.Server();
  RawPair pair(web_.Client()->ctx(), server->ctx());
  EXPECT_OK(tls::SetExpectedPeer(pair.client, kPayments));
  EXPECT_THAT(tls::OnPeerNoLongerAllowed(pair.server, [](const tls::PeerVerdict&) {}),
              StatusIs(StatusCode::kFailedPrecondition));
  pair.Handshake();
  base::Mutex mutex;
  base::CondVar called;
  std::string reason;
  ASSERT_OK_AND_ASSIGN(
      auto watch, tls::OnPeerNoLongerAllowed(pair.server, [&](const tls::PeerVerdict& verdict) {
        base::MutexLock lock(mutex);
        reason = verdict.reason;
        called.notify_all();
      }));
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  contexts.mutable_identities(0)->clear_rules();
  World::NextEpoch(&contexts);
  payments_.Deliver(contexts);
  base::MutexLock lock(mutex);
  EXPECT_TRUE(called.wait_for(lock, std::chrono::seconds(30), [&] { return !reason.empty(); }));
  EXPECT_EQ(reason, "PEER_NOT_ALLOWED");
}

TEST_F(RawSslTest, AWatchThatIsGoneIsNotCalled) {
  auto server = payments_.Server();
  RawPair pair(web_.Client()->ctx(), server->ctx());
  EXPECT_OK(tls::SetExpectedPeer(pair.client, kPayments));
  pair.Handshake();
  std::atomic<bool> called = false;
  ASSERT_OK_AND_ASSIGN(
      auto watch,
      tls::OnPeerNoLongerAllowed(pair.server, [&](const tls::PeerVerdict&) { called = true; }));
  watch.reset();
  agent::v1::MtlsContexts contexts = world_.Contexts(kPayments);
  contexts.mutable_identities(0)->clear_rules();
  World::NextEpoch(&contexts);
  payments_.Deliver(contexts);
  EXPECT_TRUE(payments_.agent().WaitForReport(
      [](const agent::v1::ReportRequest& report) { return report.trust_epoch() == 2; }));
  EXPECT_FALSE(called);
}

TEST_F(RawSslTest, AnSslOfAnotherLibraryIsNotJudged) {
  SSL_CTX* plain = SSL_CTX_new(TLS_client_method());
  SSL* ssl = SSL_new(plain);
  EXPECT_THAT(tls::SetExpectedPeer(ssl, kWeb), StatusIs(StatusCode::kFailedPrecondition));
  EXPECT_FALSE(tls::VerdictOf(ssl).allowed);
  SSL_free(ssl);
  SSL_CTX_free(plain);
}

}  // namespace
}  // namespace linchpin::test
