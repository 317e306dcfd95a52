// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/support/channel_arguments.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "rpc/sent_chain.h"
#include "rpc/status.h"

namespace linchpin::rpc {
namespace {

using ChainCheck = std::function<absl::Status(const trust::RawChain& chain)>;
using grpc::experimental::CertificateVerifier;
using grpc::experimental::ExternalCertificateVerifier;
using grpc::experimental::IdentityKeyCertPair;
using grpc::experimental::StaticDataCertificateProvider;
using grpc::experimental::TlsChannelCredentialsOptions;
using grpc::experimental::TlsCustomVerificationCheckRequest;

constexpr int kMaxMessageBytes = 4 * 1024 * 1024;
constexpr int kMaxLocalAnswer = 64 * 1024 * 1024;

// Also where nothing is verified gRPC wants roots; without any it reads the system's, and fails
// where there are none, as in a container. This one ended on its first day, in the year 2000;
// nobody has its key.
constexpr char kNobody[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBUjCB+aADAgECAhRYmoa5TbYGix3LNAmFNauudNGPKjAKBggqhkjOPQQDAjAR\n"
    "MQ8wDQYDVQQDDAZub2JvZHkwHhcNMDAwMTAxMDAwMDAwWhcNMDAwMTAyMDAwMDAw\n"
    "WjARMQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATe\n"
    "qexnN75jcNmALiBEES6wnA908/5JX0khteQXsZWzJa1Qs4WAhGGJzFBCcSCigG9l\n"
    "nILLEPB3XJsMHQ34Aysboy8wLTAMBgNVHRMBAf8EAjAAMB0GA1UdDgQWBBSbYay7\n"
    "oCrIHzn2REFZAvj7uSzk8DAKBggqhkjOPQQDAgNIADBFAiBt1u9AU8U6GFG5MhoD\n"
    "mHZ927HKnEkAIhFqMyCCj7ni/gIhANBpCOqPqglJ8wNnBpXdZcTV6QrUY9l0mweP\n"
    "6Eb5MA5K\n"
    "-----END CERTIFICATE-----\n";

// gRPC verifies nothing itself (the server's certificate is not for its host name): the chain as it
// was sent is judged here.
class ChainVerifier final : public ExternalCertificateVerifier {
 public:
  explicit ChainVerifier(ChainCheck check) : check_(std::move(check)) {}

  bool Verify(TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    *status = ToGrpc(Check(*request));
    return true;
  }

  void Cancel(TlsCustomVerificationCheckRequest*) override {}

 private:
  absl::Status Check(const TlsCustomVerificationCheckRequest& request) const {
    // A resumed session has the leaf alone.
    const grpc::string_ref all = request.peer_cert_full_chain();
    const grpc::string_ref leaf = request.peer_cert();
    const grpc::string_ref& sent = all.empty() ? leaf : all;
    trust::RawChain chain;
    const absl::Status status =
        AppendSentChain(absl::string_view(sent.data(), sent.size()), &chain);
    if (!status.ok()) return status;
    return check_(chain);
  }

  const ChainCheck check_;
};

// Of arguments of one name gRPC takes the first: these, then the caller's, then ours.
grpc::ChannelArguments Arguments(const std::function<void(grpc::ChannelArguments*)>& adjust) {
  grpc::ChannelArguments arguments;
  // A connection that was made with another certificate is not to be shared.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  if (adjust != nullptr) adjust(&arguments);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  // How long one attempt may take, in spite of its name.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  return arguments;
}

}  // namespace

std::shared_ptr<grpc::Channel> CheckedChannel(ChannelParts parts) {
  TlsChannelCredentialsOptions options;
  options.set_verify_server_certs(false);
  options.set_check_call_host(false);
  options.set_certificate_verifier(
      ExternalCertificateVerifier::Create<ChainVerifier>(std::move(parts.check)));
  std::vector<IdentityKeyCertPair> pairs;
  if (parts.shown != nullptr && parts.shown->has_certificate()) {
    const x509::SecretBytes key = parts.shown->key()->ToPem();
    pairs.resize(1);
    pairs[0].private_key = std::string(key.Reveal());
    pairs[0].certificate_chain = x509::ToPem(parts.shown->chain());
    options.watch_identity_key_cert_pairs();
  }
  options.set_certificate_provider(std::make_shared<StaticDataCertificateProvider>(kNobody, pairs));
  options.watch_root_certs();
  for (IdentityKeyCertPair& pair : pairs) x509::WipeString(&pair.private_key);
  const bool is_unix = absl::StartsWith(parts.address, "unix:");
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      is_unix ? parts.address : absl::StrCat("dns:///", parts.address),
      grpc::experimental::TlsCredentials(options), Arguments(parts.adjust),
      std::move(parts.interceptors));
}

std::shared_ptr<grpc::Channel> JudgedChannel(const std::string& address,
                                             std::shared_ptr<const trust::MtlsContext> context,
                                             trust::Expect expect, const base::Clock& clock) {
  ChannelParts parts;
  parts.address = address;
  parts.shown = context;
  parts.check = [context = std::move(context), expect = std::move(expect),
                 &clock](const trust::RawChain& chain) -> absl::Status {
    const trust::Verdict verdict =
        trust::Judge(chain, *context, trust::Direction::kOutbound, expect, clock.Now(), nullptr);
    if (verdict.allowed) return absl::OkStatus();
    return absl::UnauthenticatedError(verdict.ToString());
  };
  return CheckedChannel(std::move(parts));
}

std::shared_ptr<grpc::Channel> FirstContactChannel(
    const std::string& address,
    std::function<absl::Status(const std::vector<std::string>& chain)> seen) {
  ChannelParts parts;
  parts.address = address;
  parts.check = std::move(seen);
  return CheckedChannel(std::move(parts));
}

std::shared_ptr<grpc::Channel> UnixChannel(const std::string& socket) {
  const std::string target = absl::StartsWith(socket, "unix:") ? socket : "unix://" + socket;
  grpc::ChannelArguments arguments = Arguments(nullptr);
  arguments.SetMaxReceiveMessageSize(kMaxLocalAnswer);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status CheckAddress(absl::string_view address) {
  const absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat("the address '", absl::CHexEscape(address.substr(0, 200)),
                   "' is neither HOST:PORT nor unix:///abs/path"));
  for (const char c : address) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) return wrong;
  }
  if (absl::StartsWith(address, "unix:")) {
    const bool absolute = absl::StartsWith(address, "unix:///") && address.size() > 8;
    return absolute ? absl::OkStatus() : wrong;
  }
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return wrong;
  const absl::string_view host = address.substr(0, colon);
  const absl::string_view digits = address.substr(colon + 1);
  int port = 0;
  if (digits.find_first_not_of("0123456789") != absl::string_view::npos ||
      !absl::SimpleAtoi(digits, &port) || port > 65535) {
    return wrong;
  }
  const bool bracketed = host.front() == '[' && host.back() == ']' && host.size() > 2;
  if (!bracketed && host.find_first_of(":[]/@") != absl::string_view::npos) return wrong;
  return absl::OkStatus();
}

}  // namespace linchpin::rpc
