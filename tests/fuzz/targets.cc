// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/fuzz/targets.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/config_file.h"
#include "ca/log/log_format.h"
#include "google/protobuf/stubs/logging.h"
#include "linchpin/agent/v1/mtls_context.pb.h"
#include "linchpin/ca/v1/node.pb.h"
#include "linchpin/config/v1/config.pb.h"
#include "sync/projection.h"
#include "trust/judge.h"
#include "trust/pin_set.h"
#include "trust/spiffe_id.h"
#include "trust/trust_codec.h"
#include "trust/x509_svid.h"
#include "x509/certificate.h"
#include "x509/certificate_request.h"
#include "x509/key.h"
#include "x509/pem.h"
#include "x509/sealing.h"
#include "x509/spki_pin.h"

namespace linchpin::fuzz {
namespace {

void Require(bool held, const char* promise) {
  if (held) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

void Certificate(absl::string_view bytes) {
  const auto certificate = x509::Certificate::FromDer(bytes);
  if (!certificate.ok()) return;
  Require(certificate->der() == bytes, "a certificate keeps its bytes");
  Require(x509::Certificate::FromPem(certificate->ToPem()).ok(), "its PEM parses");
  const trust::LeafCheck check = trust::CheckLeaf(*certificate);
  Require(check.id.has_value() || !check.findings.empty(), "a leaf without an ID does not conform");
  (void)certificate->public_key().CheckStrength();
}

void CertificateRequest(absl::string_view bytes) {
  const auto request = x509::CertificateRequest::FromDer(bytes);
  if (request.ok()) Require(request->public_key().CheckLeafKey().ok(), "its key is one we certify");
}

void Keys(absl::string_view bytes) {
  if (const auto key = x509::PublicKey::FromSpki(bytes); key.ok()) {
    (void)key->CheckStrength();
    Require(!key->Verify("data", bytes).ok(), "no key is its own signature");
  }
  const auto key = x509::PrivateKey::FromPkcs8(x509::SecretBytes(bytes));
  if (key.ok()) Require(x509::PrivateKey::FromPkcs8(key->ToPkcs8()).ok(), "a key survives PKCS#8");
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

void PinSet(absl::string_view bytes) {
  const auto set = trust::ParsePinSet(bytes);
  if (!set.ok()) return;
  Require(set->message.version() > 0, "a pin set has a version");
  Require(set->signers.threshold > 0, "a pin set has signers");
  trust::v1::SignedPinSet unsigned_set;
  unsigned_set.set_payload(std::string(bytes));
  const trust::PinSetCursor cursor{set->trust_domain, set->signers, 0, 0};
  Require(!trust::FollowPinSets(cursor, {unsigned_set}, absl::UnixEpoch(), false).ok(),
          "an unsigned set is not followed");
}

// A context that trusts nobody: nothing may pass, whatever is sent. Certificates are separated by
// their own length: two bytes, big-endian.
void Chain(absl::string_view bytes) {
  trust::RawChain chain;
  while (bytes.size() >= 2 && chain.size() < 16) {
    const size_t length =
        static_cast<unsigned char>(bytes[0]) << 8 | static_cast<unsigned char>(bytes[1]);
    bytes.remove_prefix(2);
    chain.emplace_back(bytes.substr(0, length));
    bytes.remove_prefix(chain.back().size());
  }
  static const auto context = trust::MtlsContext::Make({});
  Require(context.ok(), "an empty context can be made");
  const trust::Verdict verdict =
      trust::Judge(chain, **context, trust::Direction::kInbound, trust::Expect::AnyAllowed(),
                   absl::FromUnixSeconds(1'800'000'000), nullptr);
  Require(!verdict.allowed, "nobody is allowed where nobody is trusted");
  Require(verdict.reason() != trust::v1::VERDICT_REASON_UNSPECIFIED, "a refusal has a reason");
  Require(!verdict.peer.has_value(), "an unauthenticated peer has no name");
}

void Contexts(absl::string_view bytes) {
  agent::v1::MtlsContexts message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  const auto decoded = trust::DecodeContexts(message);
  if (!decoded.ok()) return;
  Require(decoded->contexts.size() == static_cast<size_t>(message.identities_size()),
          "every identity or none");
}

void SyncMessage(absl::string_view bytes) {
  ca::v1::CaMessage message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  sync::Receiver receiver({});
  const auto complete = receiver.Add(message);
  if (!complete.ok() || !*complete) return;
  const sync::Receiver::Change change = receiver.Take();
  Require(change.projection.identities.size() <= sync::kMaxIdentities, "limits hold");
}

void Config(absl::string_view bytes) {
  config::v1::CaConfig ca;
  (void)base::LoadConfigText(bytes, "fuzz", &ca);
  config::v1::AgentConfig agent;
  (void)base::LoadConfigText(bytes, "fuzz", &agent);
}

void LogSegment(absl::string_view bytes) {
  const auto scan = ca::ScanLogSegment(bytes, [](size_t, uint64_t) {});
  if (scan.ok()) Require(scan->whole_bytes <= bytes.size(), "a scan stays within its bytes");
}

void Sealed(absl::string_view bytes) {
  const x509::SecretBytes key(std::string(x509::kSealingKeySize, 'k'));
  Require(!x509::Unseal(key, bytes, "fuzz").ok(), "nothing opens that was not sealed");
}

}  // namespace

const std::map<std::string, Target>& Targets() {
  google::protobuf::SetLogHandler(nullptr);  // it reports each malformed string on stderr
  static const auto* const targets = new std::map<std::string, Target>{
      {"certificate", Certificate},
      {"certificate_request", CertificateRequest},
      {"chain", Chain},
      {"config", Config},
      {"contexts", Contexts},
      {"keys", Keys},
      {"log_segment", LogSegment},
      {"names", Names},
      {"pem", Pem},
      {"pin_set", PinSet},
      {"sealed", Sealed},
      {"sync_message", SyncMessage},
  };
  return *targets;
}

}  // namespace linchpin::fuzz
