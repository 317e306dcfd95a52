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
#include "x509/leaf_template.h"

namespace linchpin {
namespace {

void MakingAKeyAndItsRequest(benchmark::State& state) {
  for (auto _ : state) {
    const auto key = x509::PrivateKey::Generate(x509::KeyType::kP256);
    if (!key.ok() || !x509::MakeCertificateRequest(*key).ok()) std::abort();
  }
}
BENCHMARK(MakingAKeyAndItsRequest)->Unit(benchmark::kMicrosecond);

void MakingARequest(benchmark::State& state) {
  const x509::PrivateKey key = test::KeyNamed("web");
  for (auto _ : state) {
    if (!x509::MakeCertificateRequest(key).ok()) std::abort();
  }
}
BENCHMARK(MakingARequest)->Unit(benchmark::kMicrosecond);

// With RawVerify the floor of a certificate: one possession proved, one leaf signed.
void RawSign(benchmark::State& state) {
  const x509::PrivateKey key = test::KeyNamed("raw");
  const std::string data(600, 'x');
  for (auto _ : state) {
    if (!key.Sign(data).ok()) std::abort();
  }
}
BENCHMARK(RawSign)->Unit(benchmark::kMicrosecond);

x509::CertificateSpec LeafSpec() {
  x509::CertificateSpec spec;
  spec.serial = std::string(16, '\x41');
  spec.not_before = test::kNow;
  spec.not_after = test::kNow + absl::Minutes(30);
  spec.digital_signature = spec.server_auth = spec.client_auth = true;
  spec.uri_sans = {"spiffe://example.org/web"};
  return spec;
}

void CheckingARequest(benchmark::State& state) {
  const std::string request = *x509::MakeCertificateRequest(test::KeyNamed("web"));
  for (auto _ : state) {
    if (!x509::CertificateRequest::FromDer(request).ok()) std::abort();
  }
}
BENCHMARK(CheckingARequest)->Unit(benchmark::kMicrosecond);

struct Issuer {
  test::TestAuthority authority;
  x509::LeafTemplate leaves =
      *x509::LeafTemplate::Make(authority.active().certificate, authority.active().key);
};

void SigningALeaf(benchmark::State& state) {
  const Issuer issuer;
  const x509::CertificateSpec spec = LeafSpec();
  const x509::PublicKey key = test::KeyNamed("web").public_key();
  for (auto _ : state) {
    if (!issuer.leaves.Sign(spec, key).ok()) std::abort();
  }
}
BENCHMARK(SigningALeaf)->Unit(benchmark::kMicrosecond);

void CheckingARequestAndSigningALeaf(benchmark::State& state) {
  const Issuer issuer;
  const std::string request = *x509::MakeCertificateRequest(test::KeyNamed("web"));
  const x509::CertificateSpec spec = LeafSpec();
  for (auto _ : state) {
    const auto checked = x509::CertificateRequest::FromDer(request);
    if (!checked.ok() || !issuer.leaves.Sign(spec, checked->public_key()).ok()) std::abort();
  }
}
BENCHMARK(CheckingARequestAndSigningALeaf)->Unit(benchmark::kMicrosecond);

void MakingALeafTemplate(benchmark::State& state) {
  const test::Certified issuer = test::TestAuthority().active();
  for (auto _ : state) {
    if (!x509::LeafTemplate::Make(issuer.certificate, issuer.key).ok()) std::abort();
  }
}
BENCHMARK(MakingALeafTemplate)->Unit(benchmark::kMicrosecond);

void ReadingAPublicKey(benchmark::State& state) {
  const std::string spki = test::KeyNamed("web").public_key().spki();
  for (auto _ : state) benchmark::DoNotOptimize(x509::PublicKey::FromSpki(spki));
}
BENCHMARK(ReadingAPublicKey)->Unit(benchmark::kMicrosecond);

void ParsingALeaf(benchmark::State& state) {
  const test::TestAuthority authority;
  const std::string der = authority.Leaf("/web").certificate.der();
  for (auto _ : state) benchmark::DoNotOptimize(x509::Certificate::FromDer(der));
}
BENCHMARK(ParsingALeaf)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace linchpin
