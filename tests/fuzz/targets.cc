// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/fuzz/targets.h"

#include <openssl/x509.h>

#include "base/config_file.h"
#include "google/protobuf/stubs/logging.h"
#include "tests/fuzz/parsers.h"
#include "trust/spiffe_id.h"
#include "trust/x509_svid.h"
#include "x509/certificate.h"
#include "x509/encoding.h"
#include "x509/key.h"
#include "x509/openssl_ptr.h"
#include "x509/pem.h"
#include "x509/spki_pin.h"

namespace linchpin::fuzz {
namespace {

void Certificate(absl::string_view bytes) {
  const auto certificate = x509::Certificate::FromDer(bytes);
  if (!certificate.ok()) return;
  Require(certificate->der() == bytes, "a certificate keeps its bytes");
  Require(x509::Certificate::FromPem(certificate->ToPem()).ok(), "its PEM parses");
  const trust::LeafCheck check = trust::CheckLeaf(*certificate);
  Require(check.id.has_value() || !check.findings.empty(), "a leaf without an ID does not conform");
  (void)certificate->public_key().CheckStrength();
}

void Keys(absl::string_view bytes) {
  if (const auto key = x509::PublicKey::FromSpki(bytes); key.ok()) {
    (void)key->CheckStrength();
    Require(!key->Verify("data", bytes).ok(), "no key is its own signature");
    const unsigned char* at = x509::AsBytes(bytes);
    const x509::EvpPkeyPtr theirs(d2i_PUBKEY(nullptr, &at, static_cast<long>(bytes.size())));
    Require(theirs != nullptr && EVP_PKEY_eq(theirs.get(), key->evp()) == 1,
            "OpenSSL reads the same key");
  }
  const auto key = x509::PrivateKey::FromPkcs8(x509::SecretBytes(bytes));
  if (key.ok()) Require(x509::PrivateKey::FromPkcs8(key->ToPkcs8()).ok(), "a key survives PKCS#8");
  const auto of_pem = x509::PrivateKey::FromPem(x509::SecretBytes(bytes));
  if (of_pem.ok()) Require(x509::PrivateKey::FromPem(of_pem->ToPem()).ok(), "a key survives PEM");
}

void Pem(absl::string_view bytes) {
  const auto blocks = x509::ReadPem(bytes, 8);
  Require(!blocks.ok() || (!blocks->empty() && blocks->size() <= 8), "as many blocks as asked for");
  (void)x509::ParsePemChain(bytes, 8);
}

void Names(absl::string_view bytes) {
  if (const auto id = trust::SpiffeId::Parse(bytes); id.ok()) {
    Require(id->ToString() == bytes, "an ID is written as it was read");
    Require(id->path().size() > 1 && id->path()[0] == '/', "an ID has a path");
  }
  if (const auto pin = x509::SpkiPin::Parse(bytes); pin.ok()) {
    Require(pin->ToString() == bytes, "a pin is written as it was read");
  }
  (void)base::ParseDuration(bytes, "field");
}

}  // namespace

const std::map<std::string, Target>& Targets() {
  google::protobuf::SetLogHandler(nullptr);  // it reports each malformed string on stderr
  static const auto* const targets = new std::map<std::string, Target>{
      {"agent_state", Of(AgentState)},
      {"agent_sync", Of(AgentSync)},
      {"attest_request", Of(AttestRequest)},
      {"certificate", Certificate},
      {"certificate_request", CertificateRequest},
      {"chain", Chain},
      {"cluster_texts", ClusterTexts},
      {"config", Config},
      {"contexts", Of(Contexts)},
      {"der", Der},
      {"freshness", {Freshness, trust::v1::Freshness::default_instance()}},
      {"http2_connection", Http2Connection},
      {"http2_preface", Http2Preface},
      {"judge", Of(Judged)},
      {"keys", Keys},
      {"leaf", Leaf},
      {"local_texts", LocalTexts},
      {"log", Of(Log)},
      {"log_segment", LogSegment},
      {"metrics_request", MetricsRequest},
      {"names", Names},
      {"node_messages", Of(NodeMessages)},
      {"pem", Pem},
      {"pin_files", PinFiles},
      {"pin_set", {PinSet, trust::v1::PinSet::default_instance()}},
      {"pin_set_document", PinSetDocument},
      {"pin_sets", Of(PinSets)},
      {"relax", {Relax, trust::v1::Relax::default_instance()}},
      {"relax_document", RelaxDocument},
      {"sealed", Sealed},
      {"secret_dialogue", Of(SecretDialogue)},
      {"settings", Settings},
      {"signed_request", SignedRequest},
      {"signers_file", SignersFile},
      {"store_records", Of(StoreRecords)},
      {"sync_messages", Of(SyncMessages)},
      {"trust_state", Of(Trust)},
  };
  return *targets;
}

}  // namespace linchpin::fuzz
