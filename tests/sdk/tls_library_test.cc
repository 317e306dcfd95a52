// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// In whichever of OpenSSL's library contexts TLS is (x509/tls_library.h): what a host sets holds,
// and a peer with a key that cannot be decoded there is judged as anywhere.

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "tests/sdk/service.h"
#include "x509/openssl_ptr.h"

namespace linchpin::test {
namespace {

using CtxPtr = x509::OpenSslPtr<SSL_CTX, SSL_CTX_free>;
using SslPtr = x509::OpenSslPtr<SSL, SSL_free>;

struct Ends {
  SslPtr client;
  SslPtr server;
};

// In memory, as far as it goes.
Ends Shake(SSL_CTX* client_ctx, SSL_CTX* server_ctx) {
  Ends ends{SslPtr(SSL_new(client_ctx)), SslPtr(SSL_new(server_ctx))};
  BIO* at_client = nullptr;
  BIO* at_server = nullptr;
  EXPECT_EQ(BIO_new_bio_pair(&at_client, 0, &at_server, 0), 1);
  SSL_set_bio(ends.client.get(), at_client, at_client);
  SSL_set_bio(ends.server.get(), at_server, at_server);
  (void)tls::SetExpectedPeer(ends.client.get(), kPayments);  // of ours
  for (int turn = 0; turn < 8; ++turn) {
    SSL_connect(ends.client.get());
    SSL_accept(ends.server.get());
  }
  ERR_clear_error();
  return ends;
}

// A handshake of two services in a process of its own, whose OpenSSL has read this openssl.cnf.
// Prints what was chosen.
[[noreturn]] void MeetAndSay() {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments(world.Contexts(kPayments));
  const auto client = web.Client();
  const auto server = payments.Server();
  const Ends ends = Shake(client->ctx(), server->ctx());
  std::fprintf(stderr, "%s; %s; %s\n", tls::VerdictOf(ends.server.get()).ToString().c_str(),
               SSL_get_cipher_name(ends.client.get()), tls::DescribeTlsLibrary().c_str());
  std::_Exit(0);
}

class TlsLibraryOfAService : public ::testing::Test {
 protected:
  TlsLibraryOfAService() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  ~TlsLibraryOfAService() override { unsetenv("OPENSSL_CONF"); }
  static void Says(const std::string& config, const std::string& said) {
    const std::string folder = LINCHPIN_SOURCE_DIR "/tests/x509/openssl_cnf/";
    setenv("OPENSSL_CONF", (folder + config).c_str(), 1);
    EXPECT_EXIT(MeetAndSay(), ::testing::ExitedWithCode(0), said);
  }
};

TEST_F(TlsLibraryOfAService, KeepsToTheCipherSuitesOfTheHost) {
  Says("tls_settings.cnf", "allowed .*/web; TLS_CHACHA20_POLY1305_SHA256; ");
}

TEST_F(TlsLibraryOfAService, IsTheHostsWhereItHasSetAnotherProvider) {
  Says("another_provider.cnf", "allowed .*/web; TLS_AES_256_GCM_SHA384; .*default context");
}

struct StatedKey {
  int type;
  int size;
  const char* reason;  // for which it is refused
};

// A peer whose certificate states such a key, though it signs with another: what it states is read
// before what it signs.
CtxPtr PeerThatStates(const StatedKey& stated, const World& world, const Signer& leaf,
                      const SSL_METHOD* method) {
  CtxPtr ctx(SSL_CTX_new(method));
  EXPECT_EQ(SSL_CTX_use_PrivateKey(ctx.get(), leaf.key.evp()), 1);
  x509::X509Ptr altered(X509_dup(leaf.certificate.x509()));
  auto* bytes = static_cast<unsigned char*>(OPENSSL_malloc(static_cast<size_t>(stated.size)));
  std::fill_n(bytes, stated.size, 7);
  EXPECT_NE(X509_get0_pubkey(altered.get()), nullptr);  // which is kept decoded
  EXPECT_EQ(X509_PUBKEY_set0_param(X509_get_X509_PUBKEY(altered.get()), OBJ_nid2obj(stated.type),
                                   V_ASN1_UNDEF, nullptr, bytes, stated.size),
            1);
  EXPECT_GT(X509_sign(altered.get(), world.issuer().key.evp(), EVP_sha256()), 0);
  EXPECT_EQ(SSL_CTX_use_certificate(ctx.get(), altered.get()), 1);
  EXPECT_EQ(SSL_CTX_add1_chain_cert(ctx.get(), world.issuer().certificate.x509()), 1);
  return ctx;
}

class KeysThatNoLeafMayHave : public ::testing::TestWithParam<StatedKey> {
 protected:
  World world_;
  Service web_{world_.Contexts(kWeb)};
  Service payments_{world_.Contexts(kPayments)};
};

TEST_P(KeysThatNoLeafMayHave, OfAClientAreRefusedByTheVerdict) {
  const Signer leaf = world_.MakeLeaf(kWeb, world_.issuer());
  const CtxPtr peer = PeerThatStates(GetParam(), world_, leaf, TLS_client_method());
  const auto server = payments_.Server();
  const Ends ends = Shake(peer.get(), server->ctx());
  EXPECT_EQ(SSL_is_init_finished(ends.server.get()), 0);
  EXPECT_EQ(tls::VerdictOf(ends.server.get()).reason, GetParam().reason);
}

TEST_P(KeysThatNoLeafMayHave, OfAServerAreRefusedByTheVerdict) {
  const Signer leaf = world_.MakeLeaf(kPayments, world_.issuer());
  const CtxPtr peer = PeerThatStates(GetParam(), world_, leaf, TLS_server_method());
  const auto client = web_.Client();
  const Ends ends = Shake(client->ctx(), peer.get());
  EXPECT_EQ(SSL_is_init_finished(ends.client.get()), 0);
  EXPECT_EQ(tls::VerdictOf(ends.client.get()).reason, GetParam().reason);
}

INSTANTIATE_TEST_SUITE_P(
    OfTypes, KeysThatNoLeafMayHave,
    ::testing::Values(StatedKey{NID_ED448, 57, "WEAK_KEY"}, StatedKey{NID_X25519, 32, "WEAK_KEY"},
                      StatedKey{NID_dsa, 32, "MALFORMED_CERTIFICATE"},
                      StatedKey{NID_sm2, 65, "MALFORMED_CERTIFICATE"},
                      StatedKey{NID_X9_62_id_ecPublicKey, 65, "MALFORMED_CERTIFICATE"}),
    [](const auto& stated) {
      std::string name = OBJ_nid2sn(stated.param.type);
      std::erase_if(name, [](char c) { return !absl::ascii_isalnum(c); });
      return name;
    });

}  // namespace
}  // namespace linchpin::test
