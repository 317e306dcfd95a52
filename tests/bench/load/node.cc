// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "tests/bench/load/node.h"

#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "rpc/channel.h"
#include "trust/mtls_context.h"
#include "trust/trust_acceptance.h"
#include "x509/certificate_request.h"

namespace linchpin::bench {
namespace {

constexpr absl::Duration kSkew = absl::Seconds(60);

struct Shown {
  base::Mutex mutex;
  std::vector<std::string> chain;
};

// Trust as a first contact with the pin of the root that the CA showed leaves it.
absl::StatusOr<trust::TrustHeld> TrustOf(const ca::v1::AttestResponse& attested,
                                         const std::vector<std::string>& ca_chain) {
  const absl::Time now = base::SystemClock().Now();
  ASSIGN_OR_RETURN(const trust::TrustDomain domain,
                   trust::TrustDomain::FromName(attested.trust().trust_domain()));
  ASSIGN_OR_RETURN(const x509::Chain shown, x509::ParseDerChain(ca_chain));
  if (shown.empty()) return absl::UnauthenticatedError("the CA showed no certificate");
  ASSIGN_OR_RETURN(
      const trust::TrustHeld first,
      trust::BeginSetZero(domain, ca_chain, {shown.back().public_key().pin()}, now, kSkew));
  return trust::AcceptTrust(
      first, attested.trust(),
      {.now = now, .first_contact = true, .incarnation = attested.incarnation(), .skew = kSkew});
}

// With the certificate of `attested`, over a connection that is made when it is first used.
absl::StatusOr<Node> NodeWith(const ca::v1::AttestResponse& attested, trust::TrustHeld held,
                              const x509::PrivateKey& key, const std::string& address) {
  trust::MtlsContextParts parts;
  const std::vector<std::string> chain(attested.chain().begin(), attested.chain().end());
  ASSIGN_OR_RETURN(parts.chain, x509::ParseDerChain(chain));
  parts.key = key;
  parts.trust.emplace(held.state->trust_domain(), held.state);
  ASSIGN_OR_RETURN(std::shared_ptr<const trust::MtlsContext> context,
                   trust::MtlsContext::Make(std::move(parts)));
  return Node{.id = attested.node_id(),
              .trust = std::move(held),
              .stub = ca::v1::NodeService::NewStub(rpc::JudgedChannel(
                  address, std::move(context), trust::Expect::Ca(), base::SystemClock()))};
}

}  // namespace

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(base::SystemClock().Now() + absl::Minutes(1)));
}

std::unique_ptr<AdminStub> ConnectToAdmin(const std::string& socket) {
  return ca::v1::AdminService::NewStub(rpc::UnixChannel(socket));
}

absl::StatusOr<Node> Join(AdminStub& admin, const std::string& address, const std::string& name) {
  ca::v1::CreateJoinTokenRequest invite;
  invite.set_ttl_seconds(600);
  invite.set_node_name(name);
  ASSIGN_OR_RETURN(const ca::v1::JoinToken token, Call(admin, &AdminStub::CreateJoinToken, invite));
  ASSIGN_OR_RETURN(const x509::PrivateKey key, x509::PrivateKey::Generate(x509::KeyType::kP256));
  ca::v1::AttestRequest request;
  request.set_join_token(token.token());
  ASSIGN_OR_RETURN(*request.mutable_certificate_request(), x509::MakeCertificateRequest(key));

  auto shown = std::make_shared<Shown>();
  const auto first = ca::v1::NodeService::NewStub(
      rpc::FirstContactChannel(address, [shown](const std::vector<std::string>& chain) {
        base::MutexLock lock(shown->mutex);
        shown->chain = chain;
        return absl::OkStatus();
      }));
  ASSIGN_OR_RETURN(const ca::v1::AttestResponse attested,
                   Call(*first, &ca::v1::NodeService::Stub::Attest, request));
  base::MutexLock lock(shown->mutex);
  ASSIGN_OR_RETURN(const trust::TrustHeld held, TrustOf(attested, shown->chain));
  lock.unlock();
  return NodeWith(attested, held, key, address);
}

absl::StatusOr<Node> Renewed(const Node& node, const std::string& address) {
  ASSIGN_OR_RETURN(const x509::PrivateKey key, x509::PrivateKey::Generate(x509::KeyType::kP256));
  ca::v1::RenewNodeRequest request;
  ASSIGN_OR_RETURN(*request.mutable_certificate_request(), x509::MakeCertificateRequest(key));
  ASSIGN_OR_RETURN(const ca::v1::AttestResponse attested,
                   Call(*node.stub, &ca::v1::NodeService::Stub::RenewNode, request));
  return NodeWith(attested, node.trust, key, address);
}

}  // namespace linchpin::bench
