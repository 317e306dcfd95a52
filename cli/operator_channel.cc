// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/operator_channel.h"

#include <google/protobuf/util/json_util.h>

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "cli/admin_client.h"
#include "cli/key_files.h"
#include "cli/output.h"
#include "linchpin/ca/v1/node.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/status.h"
#include "trust/trust_acceptance.h"

namespace linchpin::cli {
namespace {

using Check = std::function<absl::Status(const trust::RawChain& chain)>;

constexpr absl::Duration kSkew = absl::Seconds(60);
constexpr size_t kMostCertificates = 8;
constexpr int kMaxAnswer = 64 * 1024 * 1024;  // lists of a large fleet
constexpr size_t kMaxSignersFile = 1024 * 1024;

absl::StatusOr<Check> CheckPins(const Session& session, const trust::TrustDomain& trust_domain) {
  std::vector<x509::SpkiPin> pins;
  for (const std::string& text : session.ca_pins) {
    const absl::StatusOr<x509::SpkiPin> pin = x509::SpkiPin::Parse(text);
    if (!pin.ok()) return UsageError(absl::StrCat("--ca-pin: ", pin.status().message()));
    pins.push_back(*pin);
  }
  return [pins, trust_domain, &clock = session.clock](const trust::RawChain& chain) {
    return trust::BeginSetZero(trust_domain, chain, pins, clock.Now(), kSkew).status();
  };
}

// Pin sets vouch for themselves, so they are asked of whoever answers.
absl::StatusOr<std::vector<trust::v1::SignedPinSet>> AskForPinSets(
    const Session& session, const trust::TrustDomain& trust_domain) {
  const auto stub = ca::v1::NodeService::NewStub(rpc::FirstContactChannel(
      session.ca, [](const trust::RawChain&) { return absl::OkStatus(); }));
  grpc::ClientContext context;
  SetCallDeadline(&context);
  ca::v1::GetTrustRequest request;
  request.set_trust_domain(trust_domain.name());
  ca::v1::GetTrustResponse response;
  RETURN_IF_ERROR(CallStatus(stub->GetTrust(&context, request, &response), "the CA", session.ca));
  if (response.pin_sets().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the CA at ", session.ca,
                     " has no signed pin set to judge it by: use --ca-pin, or publish one"));
  }
  return std::vector<trust::v1::SignedPinSet>(response.pin_sets().begin(),
                                              response.pin_sets().end());
}

absl::StatusOr<Check> CheckSigned(const Session& session, const trust::TrustDomain& trust_domain) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(session.signers, kMaxSignersFile));
  trust::v1::SignersFile signers;
  if (!google::protobuf::util::JsonStringToMessage(text, &signers).ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        session.signers, " is no signers file: make one with linchpin pins export --signers"));
  }
  if (signers.trust_domain() != trust_domain.name()) {
    return absl::InvalidArgumentError(absl::StrCat(session.signers, " is of trust domain ",
                                                   signers.trust_domain(), ", the certificate of ",
                                                   trust_domain.name()));
  }
  ASSIGN_OR_RETURN(auto sets, AskForPinSets(session, trust_domain));
  return [signers = std::move(signers), sets = std::move(sets),
          &clock = session.clock](const trust::RawChain& chain) {
    return trust::BeginSigned(signers, sets, chain, clock.Now(), kSkew).status();
  };
}

}  // namespace

absl::StatusOr<std::shared_ptr<const trust::MtlsContext>> ReadOperator(const Session& session) {
  if (session.operator_cert.empty() || session.operator_key.empty()) {
    return UsageError("--operator-cert and --operator-key are needed with --ca");
  }
  ASSIGN_OR_RETURN(const std::string pem, base::ReadFile(session.operator_cert, kMaxOperatorFile));
  const absl::StatusOr<x509::Chain> chain = x509::ParsePemChain(pem, kMostCertificates);
  if (!chain.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(session.operator_cert, ": ", chain.status().message()));
  }
  ASSIGN_OR_RETURN(x509::PrivateKey key, ReadPrivateKeyFile(session.operator_key));
  const auto context =
      trust::MtlsContext::Make({.chain = *chain, .key = std::move(key), .trust = {}, .policy = {}});
  if (!context.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        session.operator_cert, " with ", session.operator_key, ": ", context.status().message()));
  }
  const std::optional<trust::SpiffeId>& id = (*context)->id();
  if (!id.has_value() || !id->IsOperator()) {
    return absl::InvalidArgumentError(
        absl::StrCat(session.operator_cert, " is no operator's certificate"));
  }
  if (session.clock.Now() >= (*context)->expires_at()) {
    const std::string name = id->path().substr(id->path().rfind('/') + 1);
    return absl::FailedPreconditionError(absl::StrCat(
        "the certificate of operator ", name, " expired at ", TimeText((*context)->expires_at()),
        ": ask an admin for linchpin operator "
        "create --name ",
        name, " --replace"));
  }
  return *context;
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> OperatorChannel(const Session& session) {
  if (const absl::Status address = rpc::CheckAddress(session.ca); !address.ok()) {
    return UsageError(absl::StrCat("--ca: ", address.message()));
  }
  if (session.ca_pins.empty() == session.signers.empty()) {
    return UsageError("give one of --ca-pin and --signers, to know the CA by");
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<const trust::MtlsContext> shown, ReadOperator(session));
  const trust::TrustDomain& trust_domain = shown->id()->trust_domain();
  ASSIGN_OR_RETURN(Check check, session.signers.empty() ? CheckPins(session, trust_domain)
                                                        : CheckSigned(session, trust_domain));
  rpc::ChannelParts parts;
  parts.address = session.ca;
  parts.shown = shown;
  parts.check = std::move(check);
  parts.adjust = [](grpc::ChannelArguments* arguments) {
    arguments->SetMaxReceiveMessageSize(kMaxAnswer);
  };
  return rpc::CheckedChannel(std::move(parts));
}

}  // namespace linchpin::cli
