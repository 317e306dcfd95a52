// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What judging adds to a unary call on a connection that is up, both ends. The floor is gRPC's own
// mutual TLS with the same certificates, measured between any two runs of calls.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "examples/echo.grpc.pb.h"
#include "sdk/grpc_credentials.h"
#include "tests/bench/sdk_peer.h"
#include "tests/sdk/world.h"
#include "x509/pem.h"

namespace linchpin {
namespace {

using bench::CpuMicroseconds;
using bench::Require;
using bench::SdkPeer;
using examples::v1::Echo;
using examples::v1::Line;

constexpr int kCalls = 64;  // a run

class EchoService final : public Echo::Service {
  grpc::Status Say(grpc::ServerContext*, const Line* asked, Line* said) override {
    *said = *asked;
    return grpc::Status::OK;
  }
};

// With gRPC's own credentials, over the loopback.
struct PlainPeers {
  explicit PlainPeers(test::World& world) {
    x509::CertificateSpec spec;
    spec.serial = "plain";
    spec.not_before = world.now() - absl::Minutes(1);
    spec.not_after = world.now() + absl::Hours(1);
    spec.digital_signature = spec.server_auth = spec.client_auth = true;
    spec.dns_sans = {"payments"};
    const auto key = x509::PrivateKey::Generate(x509::KeyType::kP256).value();
    const auto leaf = x509::SignCertificate(spec, key.public_key(), world.issuer().certificate,
                                            world.issuer().key);
    const std::string chain = x509::ToPem({leaf.value(), world.issuer().certificate});
    const std::string secret(key.ToPem().Reveal());
    const std::string root = world.root().certificate.ToPem();
    grpc::SslServerCredentialsOptions server_options(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    server_options.pem_root_certs = root;
    server_options.pem_key_cert_pairs = {{secret, chain}};
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(server_options), &port);
    builder.RegisterService(&service);
    server = builder.BuildAndStart();
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride("payments");
    stub = Echo::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", port), grpc::SslCredentials({root, secret, chain}), arguments));
  }
  EchoService service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<Echo::Stub> stub;
};

struct JudgedPeers {
  explicit JudgedPeers(test::World& world)
      : web(world.Contexts(test::kWeb)), payments(world.Contexts(test::kPayments)) {
    int port = 0;
    grpc::ServerBuilder builder;
    Require(tls::AddListeningPort(&builder, "127.0.0.1:0", payments.source, {}, &port).ok());
    builder.RegisterService(&service);
    server = builder.BuildAndStart();
    factory = tls::ChannelFactory::Make(web.source, {}).value();
    address = absl::StrCat("127.0.0.1:", port);
  }
  // As services are told to: asked for at each call.
  std::unique_ptr<Echo::Stub> Stub() {
    return Echo::NewStub(factory->Channel(address, test::kPayments).value());
  }
  EchoService service;
  SdkPeer web;
  SdkPeer payments;
  std::unique_ptr<grpc::Server> server;
  std::shared_ptr<tls::ChannelFactory> factory;
  std::string address;
};

void Call(Echo::Stub* stub) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  Line asked;
  Line said;
  asked.set_text("hello");
  Require(stub->Say(&context, asked, &said).ok());
}

void UnaryCallOfTwoSdkPeers(benchmark::State& state) {
  test::World world;
  PlainPeers plain(world);
  JudgedPeers judged(world);
  Call(plain.stub.get());
  Call(judged.Stub().get());
  double cpu = 0;
  double plain_cpu = 0;
  for (auto _ : state) {
    const double started = CpuMicroseconds();
    for (int i = 0; i < kCalls; ++i) Call(judged.Stub().get());
    const double between = CpuMicroseconds();
    cpu += between - started;
    state.PauseTiming();
    for (int i = 0; i < kCalls; ++i) Call(plain.stub.get());
    plain_cpu += CpuMicroseconds() - between;
    state.ResumeTiming();
  }
  const double count = static_cast<double>(state.iterations()) * kCalls;
  state.SetItemsProcessed(static_cast<int64_t>(count));
  state.counters["here_us"] = cpu / count;
  state.counters["floor_us"] = plain_cpu / count;
  state.counters["times_floor"] = cpu / plain_cpu;
}
BENCHMARK(UnaryCallOfTwoSdkPeers)->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime();

}  // namespace
}  // namespace linchpin
