// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The targets of targets.h, one function each, and what they share.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "linchpin/ca/v1/node.pb.h"
#include "linchpin/state/v1/agent_state.pb.h"
#include "tests/fuzz/cases.pb.h"
#include "tests/trust/test_authority.h"

namespace linchpin::fuzz {

inline void Require(bool held, const char* promise) {
  if (held) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

// What we send, the other end can read (a string that is no UTF-8 is written and not read).
template <typename Message>
void RequireReadable(const Message& message, const char* promise) {
  Message read;
  Require(read.ParseFromString(message.SerializeAsString()), promise);
}

// x509_targets.cc
void CertificateRequest(absl::string_view bytes);
void SignedRequest(absl::string_view bytes);
void Der(absl::string_view bytes);
void Leaf(absl::string_view bytes);

// trust_targets.cc
const test::TestAuthority& Authority();
trust::v1::SignedPinSet Make(const PinSetOffer& offer);
void PinSet(absl::string_view bytes);
void PinSets(const PinSetCase& offered);
void Relax(absl::string_view bytes);
void Freshness(absl::string_view bytes);
void Trust(const TrustCase& offered);
void Chain(absl::string_view bytes);
void Judged(const ChainCase& sent);
void Contexts(const agent::v1::MtlsContexts& message);

// text_targets.cc
void Config(absl::string_view bytes);
void Settings(absl::string_view bytes);
void SignersFile(absl::string_view bytes);
void PinSetDocument(absl::string_view bytes);
void RelaxDocument(absl::string_view bytes);
void PinFiles(absl::string_view bytes);
void LocalTexts(absl::string_view bytes);
void Http2Preface(absl::string_view bytes);
void MetricsRequest(absl::string_view bytes);

// kubernetes_targets.cc
void ClusterTexts(absl::string_view bytes);

// http2_targets.cc
void Http2Connection(absl::string_view bytes);

// state_targets.cc
void Sealed(absl::string_view bytes);
void AgentState(const state::v1::AgentState& state);
void LogSegment(absl::string_view bytes);
void Log(const LogCase& written);
void StoreRecords(const StoreCase& stored);

// sync_targets.cc
void SecretDialogue(const DialogueCase& said);
void SyncMessages(const SyncCase& sent);
void AgentSync(const SyncCase& sent);
void NodeMessages(const NodeCase& said);
void AttestRequest(const ca::v1::AttestRequest& request);

}  // namespace linchpin::fuzz
