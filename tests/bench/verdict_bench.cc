// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a handshake pays for the verdict, and a change of trust for its pin sets.
#include <cstdlib>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "tests/trust/test_authority.h"
#include "trust/judge.h"
#include "trust/x509_svid.h"
#include "x509/path.h"

namespace linchpin {
namespace {

using test::kNow;

struct Pair {
  test::TestAuthority authority;
  std::vector<trust::v1::PeerRule> rules = {
      test::Rule("spiffe://example.org/web", "spiffe://example.org/payments")};
  std::shared_ptr<const trust::MtlsContext> web =
      test::ContextOf({authority.State()}, rules, "/web", authority);
  trust::RawChain chain =
      test::Ders({authority.Leaf("/payments").certificate, authority.active().certificate});
  trust::Expect expect = trust::Expect::Id(authority.Id("/payments"));
};

void Judge(benchmark::State& state, const trust::RawChain& chain, x509::PathMemo* memo) {
  const Pair pair;
  for (auto _ : state) {
    const trust::Verdict verdict =
        trust::Judge(chain.empty() ? pair.chain : chain, *pair.web, trust::Direction::kOutbound,
                     pair.expect, kNow, memo);
    if (!verdict.allowed) std::abort();
  }
}

void VerdictOnAChainSeenBefore(benchmark::State& state) {
  x509::PathMemo memo;
  Judge(state, {}, &memo);
}
BENCHMARK(VerdictOnAChainSeenBefore)->Unit(benchmark::kMicrosecond);

// The floor of a chain seen before: what any check of a parsed, validated path must do.
void PinNamesAndPolicyAlone(benchmark::State& state) {
  const Pair pair;
  const trust::TrustState& trust = *pair.web->trust().begin()->second;
  const x509::Chain path = {*x509::Certificate::FromDer(pair.chain[0]),
                            *x509::Certificate::FromDer(pair.chain[1])};
  for (auto _ : state) {
    const trust::LeafCheck leaf = trust::CheckLeaf(path[0]);
    if (!leaf.id || !trust.IsIssuerPinned(path[1].public_key().pin()) ||
        pair.web->policy().Ask(trust::Direction::kOutbound, *leaf.id) !=
            trust::PolicyAnswer::kAllowed) {
      std::abort();
    }
  }
}
BENCHMARK(PinNamesAndPolicyAlone)->Unit(benchmark::kMicrosecond);

// The floor of a new chain, twice: leaf and issuer.
void RawVerify(benchmark::State& state) {
  const x509::PrivateKey key = test::KeyNamed("raw");
  const std::string data(600, 'x');
  const std::string signature = *key.Sign(data);
  for (auto _ : state) {
    if (!key.public_key().Verify(data, signature).ok()) std::abort();
  }
}
BENCHMARK(RawVerify)->Unit(benchmark::kMicrosecond);

void VerdictOnANewChain(benchmark::State& state) { Judge(state, {}, nullptr); }
BENCHMARK(VerdictOnANewChain)->Unit(benchmark::kMicrosecond);

void VerdictOnALeafAlone(benchmark::State& state) {
  const Pair pair;
  x509::PathMemo memo;
  Judge(state, {pair.chain.front()}, &memo);
}
BENCHMARK(VerdictOnALeafAlone)->Unit(benchmark::kMicrosecond);

void RefusalOfTooManyCertificates(benchmark::State& state) {
  const Pair pair;
  const trust::RawChain chain(9, pair.chain.front());
  for (auto _ : state) {
    benchmark::DoNotOptimize(trust::Judge(chain, *pair.web, trust::Direction::kInbound,
                                          trust::Expect::AnyAllowed(), kNow, nullptr));
  }
}
BENCHMARK(RefusalOfTooManyCertificates)->Unit(benchmark::kMicrosecond);

void FollowingPinSets(benchmark::State& state) {
  const test::TestAuthority authority;
  std::vector<trust::v1::SignedPinSet> sets;
  for (int version = 1; version <= state.range(0); ++version) {
    sets.push_back(
        test::Sign(authority.PinSetMessage(static_cast<uint64_t>(version), {"alice", "bob"}, 2),
                   {"alice", "bob"}));
  }
  const trust::PinSetCursor cursor{
      authority.trust_domain(), *trust::DecodeSigners(test::SignersOf({"alice", "bob"}, 2)), 0, 0};
  for (auto _ : state) {
    if (!trust::FollowPinSets(cursor, sets, kNow, false).ok()) std::abort();
  }
}
BENCHMARK(FollowingPinSets)->Arg(1)->Arg(16)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace linchpin
