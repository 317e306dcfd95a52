// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Full mutual TLS 1.3 handshakes, the CPU of both ends and of the SDK's own threads. The floor is
// OpenSSL that verifies for itself, with leaf and issuer sent and the root as anchor, the same keys
// and groups, no tickets; it is measured between any two handshakes of the row it is the floor of.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>

#include "benchmark/benchmark.h"
#include "sdk/context_source.h"
#include "sdk/tls.h"
#include "tests/sdk/fake_agent.h"
#include "tests/sdk/world.h"
#include "tests/support/temp_dir.h"
#include "x509/openssl_ptr.h"

namespace linchpin {
namespace {

using CtxPtr = x509::OpenSslPtr<SSL_CTX, SSL_CTX_free>;
using SslPtr = x509::OpenSslPtr<SSL, SSL_free>;

void Require(bool ok) {
  if (!ok) std::abort();
}

// A source that an agent has served.
struct SdkPeer {
  explicit SdkPeer(const agent::v1::MtlsContexts& contexts) {
    agent.Deliver(contexts);
    tls::ContextSource::Options options;
    options.socket = dir.Join("agent.sock");
    options.observer = [](const tls::Notice&) {};
    source = tls::ContextSource::Open(options).value();
    Require(source->WaitReady(absl::Seconds(60)).ok());
  }
  test::TempDir dir;
  test::FakeAgent agent{dir.Join("agent.sock")};
  std::shared_ptr<tls::ContextSource> source;
};

CtxPtr PlainCtx(const SSL_METHOD* method, const test::Signer& leaf, const test::World& world) {
  CtxPtr ctx(SSL_CTX_new(method));
  Require(SSL_CTX_set_min_proto_version(ctx.get(), TLS1_3_VERSION) == 1 &&
          SSL_CTX_set1_groups_list(ctx.get(), "X25519:P-256:P-384") == 1 &&
          SSL_CTX_set_num_tickets(ctx.get(), 0) == 1 &&
          SSL_CTX_use_certificate(ctx.get(), leaf.certificate.x509()) == 1 &&
          SSL_CTX_use_PrivateKey(ctx.get(), leaf.key.evp()) == 1 &&
          SSL_CTX_add1_chain_cert(ctx.get(), world.issuer().certificate.x509()) == 1 &&
          X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx.get()), world.root().certificate.x509()) ==
              1);
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return ctx;
}

struct Peers {
  test::World world;
  SdkPeer web{world.Contexts(test::kWeb)};
  SdkPeer payments{world.Contexts(test::kPayments)};
  std::shared_ptr<tls::ClientTls> client = tls::ClientTls::Make(web.source, {}).value();
  std::shared_ptr<tls::ServerTls> server = tls::ServerTls::Make(payments.source, {}).value();
  CtxPtr plain_client =
      PlainCtx(TLS_client_method(), world.MakeLeaf(test::kWeb, world.issuer()), world);
  CtxPtr plain_server =
      PlainCtx(TLS_server_method(), world.MakeLeaf(test::kPayments, world.issuer()), world);
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

// Of all threads.
double CpuMicroseconds() { return static_cast<double>(std::clock()) * 1e6 / CLOCKS_PER_SEC; }

void BesideItsFloor(benchmark::State& state, const Peers& peers, SSL_CTX* client, SSL_CTX* server) {
  SSL_CTX* const plain_client = peers.plain_client.get();
  SSL_CTX* const plain_server = peers.plain_server.get();
  const bool client_is_sdk = client == peers.client->ctx();
  uint64_t bytes = Handshake(client, server, client_is_sdk);  // and what is memoised
  uint64_t plain_bytes = Handshake(plain_client, plain_server, false);
  double cpu = 0;
  double plain_cpu = 0;
  for (auto _ : state) {
    const double started = CpuMicroseconds();
    benchmark::DoNotOptimize(bytes = Handshake(client, server, client_is_sdk));
    const double between = CpuMicroseconds();
    cpu += between - started;
    state.PauseTiming();
    benchmark::DoNotOptimize(plain_bytes = Handshake(plain_client, plain_server, false));
    plain_cpu += CpuMicroseconds() - between;
    state.ResumeTiming();
  }
  const auto count = static_cast<double>(state.iterations());
  state.counters["here_us"] = cpu / count;
  state.counters["floor_us"] = plain_cpu / count;
  state.counters["times_floor"] = cpu / plain_cpu;
  state.counters["bytes"] = static_cast<double>(bytes);
  state.counters["floor_bytes"] = static_cast<double>(plain_bytes);
}

const Peers& ThePeers() {
  static const Peers* const peers = new Peers;
  return *peers;
}

void HandshakeOfPlainOpenSsl(benchmark::State& state) {
  const Peers& peers = ThePeers();
  BesideItsFloor(state, peers, peers.plain_client.get(), peers.plain_server.get());
}
BENCHMARK(HandshakeOfPlainOpenSsl)->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime();

void HandshakeOfTwoSdkPeers(benchmark::State& state) {
  const Peers& peers = ThePeers();
  BesideItsFloor(state, peers, peers.client->ctx(), peers.server->ctx());
}
BENCHMARK(HandshakeOfTwoSdkPeers)->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime();

void HandshakeWithAForeignServer(benchmark::State& state) {
  const Peers& peers = ThePeers();
  BesideItsFloor(state, peers, peers.client->ctx(), peers.plain_server.get());
}
BENCHMARK(HandshakeWithAForeignServer)->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime();

void HandshakeWithAForeignClient(benchmark::State& state) {
  const Peers& peers = ThePeers();
  BesideItsFloor(state, peers, peers.plain_client.get(), peers.server->ctx());
}
BENCHMARK(HandshakeWithAForeignClient)->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime();

}  // namespace
}  // namespace linchpin
