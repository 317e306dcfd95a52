// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/server_credentials.h"

#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpcpp/server_context.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "rpc/sent_chain.h"
#include "rpc/status.h"
#include "rpc/verdict_memo.h"
#include "trust/x509_svid.h"
#include "x509/certificate_builder.h"
#include "x509/digest.h"
#include "x509/pem.h"

namespace linchpin::rpc {
namespace {

// Until there is an identity, gRPC needs some certificate to listen at all; nobody's Judge allows
// this one and no call is let through.
absl::StatusOr<std::pair<std::string, x509::SecretBytes>> Placeholder(absl::Time now) {
  ASSIGN_OR_RETURN(const x509::PrivateKey key, x509::PrivateKey::Generate(x509::KeyType::kP256));
  x509::CertificateSpec spec;
  spec.common_name = "no identity yet";
  spec.serial = std::string(1, '\1');
  spec.not_before = absl::FromUnixSeconds(absl::ToUnixSeconds(now));
  spec.not_after = spec.not_before + absl::Hours(24);
  spec.digital_signature = true;
  ASSIGN_OR_RETURN(const x509::Certificate certificate, x509::SelfSign(spec, key));
  return std::make_pair(certificate.ToPem(), key.ToPem());
}

absl::string_view Text(const grpc_slice& slice) {
  return absl::string_view(reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)),
                           GRPC_SLICE_LENGTH(slice));
}

absl::string_view Path(const grpc_metadata* metadata, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (Text(metadata[i].key) == ":path") return Text(metadata[i].value);
  }
  return {};
}

// Everything that the ports of one JudgedServerCredentials share.
class Judgement {
 public:
  Judgement(CurrentContext current, ServerPolicy policy, const base::Clock& clock)
      : current_(std::move(current)),
        open_methods_(policy.open_methods.begin(), policy.open_methods.end()),
        expect_(std::move(policy.expect)),
        judged_(std::move(policy.judged)),
        clock_(clock) {}

  std::shared_ptr<const trust::MtlsContext> context() const { return current_(); }
  absl::Time Now() const { return clock_.Now(); }

  absl::Status Check(const grpc_auth_context* peer, absl::string_view path) {
    const std::shared_ptr<const trust::MtlsContext> context = current_();
    if (context == nullptr || !context->has_certificate()) {
      return absl::UnavailableError("NO_CONTEXT: this server has no identity yet: try again");
    }
    // On the server's side the leaf is not part of the chain property.
    const absl::string_view leaf = Property(peer, GRPC_X509_PEM_CERT_PROPERTY_NAME);
    const absl::string_view rest = Property(peer, GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME);
    if (leaf.empty()) {
      if (open_methods_.count(std::string(path)) > 0) return absl::OkStatus();
      return absl::UnauthenticatedError(
          absl::StrCat("NO_CERTIFICATE: ", path, " needs a client certificate and none was shown"));
    }
    return CheckChain(leaf, rest, *context);
  }

 private:
  absl::Status CheckChain(absl::string_view leaf, absl::string_view rest,
                          const trust::MtlsContext& context) {
    const absl::Time now = clock_.Now();
    const std::string key = x509::FieldHasher("linchpin judged caller v1")
                                .Add(leaf)
                                .Add(rest)
                                .Add(context.trust_digest())
                                .Finish();
    if (verdicts_.IsAllowed(key, now)) return absl::OkStatus();
    trust::RawChain chain;
    RETURN_IF_ERROR(AppendSentChain(leaf, &chain));
    if (!rest.empty()) RETURN_IF_ERROR(AppendSentChain(rest, &chain));
    const trust::Verdict verdict =
        trust::Judge(chain, context, trust::Direction::kInbound, expect_, now, &paths_);
    if (judged_ != nullptr) judged_(verdict, context);
    if (verdict.allowed) {
      verdicts_.Allow(key, now, AllowedUntil(verdict, context));
      return absl::OkStatus();
    }
    if (judged_ == nullptr) LogRefusal(verdict);
    const std::string why = verdict.ToString();
    return verdict.peer ? absl::PermissionDeniedError(why) : absl::UnauthenticatedError(why);
  }

  // The ID of a peer that failed authentication is an attacker's text: only the reason is logged.
  void LogRefusal(const trust::Verdict& verdict) {
    const auto unsaid = log_limit_.Take(clock_.Uptime());
    if (!unsaid) return;
    base::LogWarning("a caller is refused",
                     {{"reason", trust::ReasonName(verdict.reason())},
                      {"peer", verdict.peer ? verdict.peer->ToString() : "unauthenticated"},
                      {"unsaid_before", absl::StrCat(*unsaid)}});
  }

  // The instant at which the same chain and trust might be judged otherwise.
  static absl::Time AllowedUntil(const trust::Verdict& verdict, const trust::MtlsContext& context) {
    absl::Time until = absl::InfiniteFuture();
    for (const x509::Certificate& certificate : verdict.path) {
      until = std::min(until, certificate.fields().not_after);
    }
    for (const auto& [trust_domain, state] : context.trust()) {
      const int64_t expires_at = state->pins().expires_at();
      if (expires_at != 0) until = std::min(until, absl::FromUnixSeconds(expires_at));
    }
    return until;
  }

  const CurrentContext current_;
  const std::set<std::string> open_methods_;
  const trust::Expect expect_;
  const JudgedCaller judged_;
  const base::Clock& clock_;
  base::LogLimit log_limit_;
  VerdictMemo verdicts_;
  x509::PathMemo paths_;
};

// One listening port: gRPC asks it for the certificate at each handshake. Owned by the C
// credentials, which outlive the C++ ones.
class Port {
 public:
  explicit Port(std::shared_ptr<Judgement> judgement) : judgement_(std::move(judgement)) {}

  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<Port*>(self)->FetchNew(config);
  }

  static void Process(void* self, grpc_auth_context* peer, const grpc_metadata* metadata,
                      size_t count, grpc_process_auth_metadata_done_cb done, void* user_data) {
    const grpc::Status status =
        ToGrpc(static_cast<Port*>(self)->judgement_->Check(peer, Path(metadata, count)));
    done(user_data, nullptr, 0, nullptr, 0, static_cast<grpc_status_code>(status.error_code()),
         status.ok() ? nullptr : status.error_message().c_str());
  }

  static void Destroy(void* self) { delete static_cast<Port*>(self); }

 private:
  grpc_ssl_certificate_config_reload_status FetchNew(grpc_ssl_server_certificate_config** config) {
    base::MutexLock lock(mutex_);
    std::shared_ptr<const trust::MtlsContext> context = judgement_->context();
    if (context != nullptr && !context->has_certificate()) context = nullptr;
    if (shown_ && (context == nullptr || context == last_)) {
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    }
    std::string chain;
    std::string anchors;
    x509::SecretBytes key;
    if (context == nullptr) {
      auto placeholder = Placeholder(judgement_->Now());
      if (!placeholder.ok()) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
      chain = placeholder->first;
      anchors = chain;
      key = placeholder->second;
    } else {
      chain = x509::ToPem(context->chain());
      for (const auto& [trust_domain, state] : context->trust()) {
        anchors += x509::ToPem(state->anchors());
      }
      key = context->key()->ToPem();
    }
    std::string pem(key.Reveal());  // the C API wants an end that it can find
    const grpc_ssl_pem_key_cert_pair pair{pem.c_str(), chain.c_str()};
    // The anchors only name, to the client, the authorities that may have certified it.
    *config = grpc_ssl_server_certificate_config_create(anchors.c_str(), &pair, 1);
    x509::WipeString(&pem);
    shown_ = true;
    last_ = std::move(context);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const std::shared_ptr<Judgement> judgement_;
  base::Mutex mutex_;
  bool shown_ = false;
  std::shared_ptr<const trust::MtlsContext> last_;
};

class Credentials final : public grpc::ServerCredentials {
 public:
  explicit Credentials(std::shared_ptr<Judgement> judgement) : judgement_(std::move(judgement)) {}

  // Judging is not to be replaced.
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  // Each port has C credentials of its own, because each keeps its own TLS state and must be told
  // of every change.
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    auto* const port = new Port(judgement_);
    // Whatever the certificate is, its key's possession is proved by TLS; the rest is for Judge.
    grpc_server_credentials* const credentials = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY, Port::Fetch, port));
    grpc_server_credentials_set_auth_metadata_processor(credentials,
                                                        {Port::Process, Port::Destroy, port});
    const int bound = grpc_server_add_http2_port(server, address.c_str(), credentials);
    grpc_server_credentials_release(credentials);
    return bound;
  }

  const std::shared_ptr<Judgement> judgement_;
};

// The peers of late. Bounded by beginning anew: what is forgotten is decoded again.
class PeersSeen {
 public:
  std::shared_ptr<const JudgedPeer> Find(absl::string_view pem) {
    {
      base::MutexLock lock(mutex_);
      const auto it = peers_.find(pem);
      if (it != peers_.end()) return it->second;
    }
    const absl::StatusOr<x509::Certificate> leaf = x509::Certificate::FromPem(pem);
    if (!leaf.ok()) return nullptr;
    const std::optional<trust::SpiffeId> id = trust::CheckLeaf(*leaf).id;
    if (!id.has_value()) return nullptr;
    auto peer =
        std::make_shared<const JudgedPeer>(JudgedPeer{*id, leaf->der(), leaf->public_key().pin()});
    base::MutexLock lock(mutex_);
    if (peers_.size() >= kMost) peers_.clear();
    peers_.emplace(pem, peer);
    return peer;
  }

 private:
  static constexpr size_t kMost = 4096;
  base::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<const JudgedPeer>> peers_;  // by leaf, PEM
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> JudgedServerCredentials(CurrentContext current,
                                                                 ServerPolicy policy,
                                                                 const base::Clock& clock) {
  return std::make_shared<Credentials>(
      std::make_shared<Judgement>(std::move(current), std::move(policy), clock));
}

std::shared_ptr<grpc::ServerCredentials> JudgedServerCredentials(
    std::shared_ptr<const OwnIdentity> identity, ServerPolicy policy, const base::Clock& clock) {
  return JudgedServerCredentials([identity = std::move(identity)] { return identity->Get(); },
                                 std::move(policy), clock);
}

std::shared_ptr<const JudgedPeer> PeerOf(const grpc::ServerContextBase& context) {
  static auto& seen = *new PeersSeen;
  const std::vector<grpc::string_ref> values =
      context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (values.size() != 1) return nullptr;
  return seen.Find(absl::string_view(values[0].data(), values[0].size()));
}

std::optional<trust::SpiffeId> PeerId(const grpc::ServerContextBase& context) {
  const std::shared_ptr<const JudgedPeer> peer = PeerOf(context);
  if (peer == nullptr) return std::nullopt;
  return peer->id;
}

std::optional<std::string> PeerLeaf(const grpc::ServerContextBase& context) {
  const std::shared_ptr<const JudgedPeer> peer = PeerOf(context);
  if (peer == nullptr) return std::nullopt;
  return peer->leaf;
}

}  // namespace linchpin::rpc
