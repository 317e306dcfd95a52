// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Full mutual TLS 1.3 handshakes, the CPU of both ends, which one thread plays. (What the SDK's own
// thread does for a handshake is not in it: it is handed the counts of all of them, ten times a
// second.) The floor is OpenSSL that verifies for itself, with leaf and issuer sent and the root as
// anchor, the same keys and groups, no tickets; it is measured between any two handshakes of the
// row it is the floor of.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/cpu_time.h"
#include "benchmark/benchmark.h"
#include "sdk/tls.h"
#include "tests/bench/sdk_peer.h"
#include "tests/sdk/world.h"
#include "x509/certificate_builder.h"
#include "x509/openssl_ptr.h"

namespace linchpin {
namespace {

using bench::Require;
using bench::SdkPeer;
using CtxPtr = x509::OpenSslPtr<SSL_CTX, SSL_CTX_free>;
using SslPtr = x509::OpenSslPtr<SSL, SSL_free>;

// `anchor` is what it trusts, and what it names to its peer if `names_it`.
CtxPtr PlainCtx(const SSL_METHOD* method, const test::Signer& leaf, const test::World& world,
                const x509::Certificate& anchor, bool names_it) {
  CtxPtr ctx(SSL_CTX_new(method));
  Require(SSL_CTX_set_min_proto_version(ctx.get(), TLS1_3_VERSION) == 1 &&
          SSL_CTX_set1_groups_list(ctx.get(), "X25519:P-256:P-384") == 1 &&
          SSL_CTX_set_num_tickets(ctx.get(), 0) == 1 &&
          SSL_CTX_use_certificate(ctx.get(), leaf.certificate.x509()) == 1 &&
          SSL_CTX_use_PrivateKey(ctx.get(), leaf.key.evp()) == 1 &&
          SSL_CTX_add1_chain_cert(ctx.get(), world.issuer().certificate.x509()) == 1 &&
          X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx.get()), anchor.x509()) == 1 &&
          (!names_it || SSL_CTX_add1_to_CA_list(ctx.get(), anchor.x509()) == 1));
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return ctx;
}

x509::Certificate Twin(const test::World& world) {
  return x509::MakeTwin(world.issuer().certificate, world.issuer().key, "twin serial").value();
}

struct Peers {
  test::World world;
  SdkPeer web{world.Contexts(test::kWeb)};
  SdkPeer payments{world.Contexts(test::kPayments)};
  std::shared_ptr<tls::ClientTls> client = tls::ClientTls::Make(web.source, {}).value();
  std::shared_ptr<tls::ServerTls> server = tls::ServerTls::Make(payments.source, {}).value();

  test::Signer web_leaf = world.MakeLeaf(test::kWeb, world.issuer());
  test::Signer payments_leaf = world.MakeLeaf(test::kPayments, world.issuer());
  x509::Certificate twin = Twin(world);
  CtxPtr plain_client = Client(world.root().certificate, false);
  CtxPtr plain_server = Server(world.root().certificate, false);
  // A server that asks for a certificate names whom it trusts; a client seldom does.
  CtxPtr foreign_server = Server(world.root().certificate, true);
  CtxPtr twin_server = Server(twin, true);
  CtxPtr twin_client = Client(twin, false);
  CtxPtr naming_client = Client(twin, true);
  std::vector<CtxPtr> many_clients = ManyClients();

  CtxPtr Client(const x509::Certificate& anchor, bool names_it) {
    return PlainCtx(TLS_client_method(), web_leaf, world, anchor, names_it);
  }
  // Each has a leaf of its own, and there are more of them than a PathMemo remembers.
  std::vector<CtxPtr> ManyClients() {
    std::vector<CtxPtr> clients(1100);
    for (CtxPtr& made : clients) {
      const test::Signer leaf = world.MakeLeaf(test::kWeb, world.issuer());
      made = PlainCtx(TLS_client_method(), leaf, world, world.root().certificate, false);
    }
    return clients;
  }
  CtxPtr Server(const x509::Certificate& anchor, bool names_it) {
    return PlainCtx(TLS_server_method(), payments_leaf, world, anchor, names_it);
  }
};

// Returns the bytes that the client and the server have sent.
uint64_t Handshake(SSL_CTX* client_ctx, SSL_CTX* server_ctx, bool client_is_sdk) {
  SslPtr client(SSL_new(client_ctx));
  SslPtr server(SSL_new(server_ctx));
  BIO* at_client = nullptr;
  BIO* at_server = nullptr;
  Require(BIO_new_bio_pair(&at_client, 32 * 1024, &at_server, 32 * 1024) == 1);
  SSL_set_bio(client.get(), at_client, at_client);
  SSL_set_bio(server.get(), at_server, at_server);
  if (client_is_sdk) Require(tls::SetExpectedPeer(client.get(), test::kPayments).ok());
  bool client_done = false;
  bool server_done = false;
  for (int turn = 0; !client_done || !server_done; ++turn) {
    Require(turn < 8);
    client_done = SSL_connect(client.get()) == 1;
    server_done = SSL_accept(server.get()) == 1;
  }
  return BIO_number_written(at_client) + BIO_number_written(at_server);
}

double CpuMicroseconds() { return absl::ToDoubleMicroseconds(base::ThreadCpuTime()); }

double Undisturbed(std::vector<double>* all) {
  const auto tenth = all->begin() + static_cast<std::ptrdiff_t>(all->size() / 10);
  std::nth_element(all->begin(), tenth, all->end());
  return *tenth;
}

// Counters are first deciles, of the floor too: other programs can only add to a handshake, which
// then finds its caches cold. The clients take turns.
void BesideItsFloor(benchmark::State& state, const Peers& peers,
                    const std::vector<SSL_CTX*>& clients, SSL_CTX* server) {
  SSL_CTX* const plain_client = peers.plain_client.get();
  SSL_CTX* const plain_server = peers.plain_server.get();
  const bool client_is_sdk = clients.front() == peers.client->ctx();
  uint64_t bytes = Handshake(clients.front(), server, client_is_sdk);  // and what is memoised
  uint64_t plain_bytes = Handshake(plain_client, plain_server, false);
  std::vector<double> cpu;
  std::vector<double> plain_cpu;
  static size_t turn = 0;
  for (auto _ : state) {
    SSL_CTX* const client = clients[++turn % clients.size()];
    const double started = CpuMicroseconds();
    benchmark::DoNotOptimize(bytes = Handshake(client, server, client_is_sdk));
    const double between = CpuMicroseconds();
    cpu.push_back(between - started);
    state.PauseTiming();
    benchmark::DoNotOptimize(plain_bytes = Handshake(plain_client, plain_server, false));
    plain_cpu.push_back(CpuMicroseconds() - between);
    state.ResumeTiming();
  }
  state.counters["here_us"] = Undisturbed(&cpu);
  state.counters["floor_us"] = Undisturbed(&plain_cpu);
  state.counters["times_floor"] = Undisturbed(&cpu) / Undisturbed(&plain_cpu);
  state.counters["bytes"] = static_cast<double>(bytes);
  state.counters["floor_bytes"] = static_cast<double>(plain_bytes);
}

const Peers& ThePeers() {
  static const Peers* const peers = new Peers;
  return *peers;
}

void HandshakeOfPlainOpenSsl(benchmark::State& state) {
  const Peers& peers = ThePeers();
  BesideItsFloor(state, peers, {peers.plain_client.get()}, peers.plain_server.get());
}
BENCHMARK(HandshakeOfPlainOpenSsl)->Unit(benchmark::kMicrosecond);

void HandshakeOfTwoSdkPeers(benchmark::State& state) {
  const Peers& peers = ThePeers();
  BesideItsFloor(state, peers, {peers.client->ctx()}, peers.server->ctx());
}
BENCHMARK(HandshakeOfTwoSdkPeers)->Unit(benchmark::kMicrosecond);

void Foreign(benchmark::State& state, CtxPtr Peers::*foreign, bool foreign_is_client) {
  const Peers& peers = ThePeers();
  SSL_CTX* const other = (peers.*foreign).get();
  BesideItsFloor(state, peers, {foreign_is_client ? other : peers.client->ctx()},
                 foreign_is_client ? peers.server->ctx() : other);
}

void HandshakeWithAForeignServer(benchmark::State& state) {
  Foreign(state, &Peers::foreign_server, false);
}
BENCHMARK(HandshakeWithAForeignServer)->Unit(benchmark::kMicrosecond);

void HandshakeWithAForeignClient(benchmark::State& state) {
  Foreign(state, &Peers::plain_client, true);
}
BENCHMARK(HandshakeWithAForeignClient)->Unit(benchmark::kMicrosecond);

void HandshakeWithClientsThatAreNotRemembered(benchmark::State& state) {
  const Peers& peers = ThePeers();
  std::vector<SSL_CTX*> clients;
  for (const CtxPtr& client : peers.many_clients) clients.push_back(client.get());
  BesideItsFloor(state, peers, clients, peers.server->ctx());
}
BENCHMARK(HandshakeWithClientsThatAreNotRemembered)->Unit(benchmark::kMicrosecond);

// Anchored at the twin of the issuer, as clients that cannot pin are.
void HandshakeWithATwinAnchoredServer(benchmark::State& state) {
  Foreign(state, &Peers::twin_server, false);
}
BENCHMARK(HandshakeWithATwinAnchoredServer)->Unit(benchmark::kMicrosecond);

void HandshakeWithATwinAnchoredClient(benchmark::State& state) {
  Foreign(state, &Peers::twin_client, true);
}
BENCHMARK(HandshakeWithATwinAnchoredClient)->Unit(benchmark::kMicrosecond);

void HandshakeWithATwinAnchoredClientThatNamesIt(benchmark::State& state) {
  Foreign(state, &Peers::naming_client, true);
}
BENCHMARK(HandshakeWithATwinAnchoredClientThatNamesIt)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace linchpin
