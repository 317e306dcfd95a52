// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a certificate costs the node and the CA, without disk and network.
#include <cstdlib>
#include <string>

#include "benchmark/benchmark.h"
#include "tests/trust/test_authority.h"
#include "x509/certificate_builder.h"
#include "x509/certificate_request.h"
#include "x509/key.h"

namespace linchpin {
namespace {

void MakingAKeyAndItsRequest(benchmark::State& state) {
  for (auto _ : state) {
    const auto key = x509::PrivateKey::Generate(x509::KeyType::kP256);
    if (!key.ok() || !x509::MakeCertificateRequest(*key).ok()) std::abort();
  }
}
BENCHMARK(MakingAKeyAndItsRequest)->Unit(benchmark::kMicrosecond);

void CheckingARequestAndSigningALeaf(benchmark::State& state) {
  const test::TestAuthority authority;
  const std::string request = *x509::MakeCertificateRequest(test::KeyNamed("web"));
  x509::CertificateSpec spec;
  spec.serial = std::string(16, '\x41');
  spec.not_before = test::kNow;
  spec.not_after = test::kNow + absl::Minutes(30);
  spec.digital_signature = spec.server_auth = spec.client_auth = true;
  spec.uri_sans = {"spiffe://example.org/web"};
  for (auto _ : state) {
    const auto checked = x509::CertificateRequest::FromDer(request);
    if (!checked.ok()) std::abort();
    const auto leaf = x509::SignCertificate(spec, checked->public_key(),
                                            authority.active().certificate, authority.active().key);
    if (!leaf.ok()) std::abort();
  }
}
BENCHMARK(CheckingARequestAndSigningALeaf)->Unit(benchmark::kMicrosecond);

void ParsingALeaf(benchmark::State& state) {
  const test::TestAuthority authority;
  const std::string der = authority.Leaf("/web").certificate.der();
  for (auto _ : state) benchmark::DoNotOptimize(x509::Certificate::FromDer(der));
}
BENCHMARK(ParsingALeaf)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace linchpin
