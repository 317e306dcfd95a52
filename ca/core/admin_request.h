// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Who asks what of the CA's admin API, as plain values. What is decided about it: admin.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ca/core/issued_matches.h"
#include "ca/store/store.h"
#include "linchpin/ca/v1/admin.pb.h"
#include "x509/certificate_request.h"
#include "x509/key.h"

namespace linchpin::ca {

// Who asks, as the adaptor knows it. As it is made here, nobody: nothing is answered.
struct Asker {
  bool on_socket = false;  // at the admin socket, where the kernel said who it is: may do all
  std::string name;        // of the user there, as unix:USER; else of the operator
  std::string key_sha256;  // pin of the operator's certificate, which was judged
  std::string from;        // the process there; else the address
};

// What an operator may ask, where the request's type alone does not say it.
struct BanNode {
  std::string node_id;
};
struct ForgetNode {
  std::string node_id;
};
struct CreateIdentity {
  v1::Identity identity;
};
struct UpdateIdentity {
  v1::Identity identity;  // found by identity_id; replaces everything but order and ID
};
struct AllowPeer {
  trust::v1::PeerRule rule;
};
struct DeletePolicy {
  trust::v1::PeerRule rule;  // from and to
};
struct Revoke {
  v1::RevokeRequest asked;
  IssuedMatches found;  // in the log
};
struct PublishPinSet {
  trust::v1::SignedPinSet set;
};
struct PlayRelax {
  trust::v1::SignedRelax document;
};
struct PublishFreshness {
  trust::v1::SignedFreshness statement;
};
struct BeginRotation {
  v1::RotateRequest request;
  std::vector<Write> made;  // records of its new authorities
};
struct CertifyBackup {
  x509::CertificateRequest request;
  std::string der = {};  // of it
};
struct AddBackup {
  CertifyBackup asked;
  std::vector<Write> made;  // its record
};
struct Failover {
  v1::FailoverRequest asked;            // without the key
  std::optional<x509::PrivateKey> key;  // none: it is beside the CA
};
struct ImportMade {
  v1::ImportCertificatesRequest asked;
  std::vector<Write> made;  // records of what was certified
};
// What needs keys or certificates made before it is decided.
using Planned =
    std::variant<v1::RotateRequest, CertifyBackup, Failover, v1::ImportCertificatesRequest>;

struct CreateOperator {
  std::string by;
  v1::CreateOperatorRequest asked;
  x509::CertificateRequest request;  // of `asked`
};
struct RenewOperator {
  std::string name;  // of whoever asks
  int64_t ttl_seconds = 0;
  x509::CertificateRequest request;
};
// What the objects of a cluster come to.
struct KubernetesWishes {
  struct Rule {
    trust::v1::PeerRule rule;
    std::string source;  // the object that it is of
  };
  std::string source;  // begins that of everything here
  bool whole = false;  // what is stored of that source and not named here goes
  // By identity id, and by caller and callee; nothing: none is wished for (any more).
  std::map<std::string, std::optional<v1::Identity>> identities;
  std::map<std::pair<std::string, std::string>, std::optional<Rule>> rules;
};
// What of it was refused: of which object, and why.
struct KubernetesRefusals {
  struct Refusal {
    std::string source;
    std::string why;
  };
  std::map<std::string, Refusal> identities;
  std::map<std::pair<std::string, std::string>, Refusal> rules;
};
struct ApplyKubernetes {
  std::shared_ptr<const KubernetesWishes> wishes;
  std::shared_ptr<KubernetesRefusals> refusals;  // filled in before the answer
};
// The answers are the messages that admin.proto names for the method.
using AdminRequest = std::variant<
    v1::GetAuthoritiesRequest, v1::DeclareRestoredRequest, v1::CreateJoinTokenRequest,
    v1::ListNodesRequest, BanNode, ForgetNode, CreateIdentity, v1::ListIdentitiesRequest,
    UpdateIdentity, v1::DeleteIdentityRequest, AllowPeer, v1::ListPolicyRequest, DeletePolicy,
    v1::GetTrustStateRequest, PublishPinSet, PlayRelax, PublishFreshness,
    v1::ProvePossessionRequest, v1::CoverageRequest, v1::CoverageHistoryRequest, v1::RevokeRequest,
    Revoke, v1::ListRevocationsRequest, v1::ReadLogRequest, v1::VerifyLogRequest,
    v1::ReadChangesRequest, v1::GetRotationRequest, v1::RotateRequest, BeginRotation, CertifyBackup,
    AddBackup, v1::FinishBackupRequest, Failover, v1::GetFailoverRequest, CreateOperator,
    RenewOperator, v1::ListOperatorsRequest, v1::DeleteOperatorRequest, ApplyKubernetes,
    v1::ListAwaitedRequest, v1::ImportCertificatesRequest, ImportMade>;

}  // namespace linchpin::ca
