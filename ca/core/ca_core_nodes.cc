// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Certificates of nodes.

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ca/core/ca_core.h"
#include "ca/core/change_log.h"
#include "ca/core/issuing.h"
#include "ca/core/kubernetes_nodes.h"
#include "ca/core/reply.h"
#include "ca/core/restored.h"
#include "ca/core/rotation.h"
#include "trust/text.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMaxTaking = 64;  // at once: what operators ask must find room beside them

absl::Status TooManyIssuing(size_t most) {
  return absl::ResourceExhaustedError(
      absl::StrCat(most, " calls wait for certificates already; try again later"));
}

bool IsKeyOf(const state::v1::NodeRecord& node, const std::string& key_sha256) {
  return key_sha256.size() == 32 &&
         (node.key_sha256() == key_sha256 || node.previous_key_sha256() == key_sha256);
}

absl::Status CheckKey(const state::v1::NodeRecord& node, const std::string& key_sha256) {
  if (IsKeyOf(node, key_sha256)) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("the node ", node.node_id(),
                   " has attested with another key since; give its agent a new join token"));
}

absl::StatusOr<std::string> OnlyOne(absl::StatusOr<MadeCertificates> made) {
  if (!made.ok()) return made.status();
  return std::move(made->front());
}

// `key` is the node's from here on. The one that it `holds` stays good: the answer may be lost.
void TakeKey(const std::string& holds, const std::string& key, state::v1::NodeRecord* node) {
  if (node->key_sha256() == key) return;
  node->set_previous_key_sha256(holds == key ? node->key_sha256() : holds);
  node->set_key_sha256(key);
}

absl::Status CheckNode(const Registry& registry, const std::string& node_id) {
  const auto* row = registry.FindNode(node_id);
  if (row == nullptr || row->record.state() == "invited") {
    return absl::PermissionDeniedError(
        absl::StrCat("the node ", trust::Quoted(node_id),
                     " is not known; it was forgotten: give its agent a new join token"));
  }
  if (row->record.state() == "banned") {
    return absl::PermissionDeniedError(absl::StrCat("the node ", node_id, " is banned"));
  }
  return absl::OkStatus();
}

// That it goes by another key from here on is told as a change, since it is in no log.
void AddTaken(const Registry& registry, const std::string& node_id, absl::Time now,
              std::vector<Write>* batch) {
  AddChangeRecord(registry, {kItself, "", node_id, "take"}, now, batch);
}

}  // namespace

// The name alone is not enough: after another key has attested for the node, the certificates of
// the one before it may still be valid.
absl::Status CaCore::CheckCaller(const NodeCaller& caller) const {
  RETURN_IF_ERROR(CheckNode(registry_, caller.node_id));
  return CheckKey(registry_.FindNode(caller.node_id)->record, caller.key_sha256);
}

// The same, but who is to be taken by its certificate is, and asks again when that is stored.
absl::Status CaCore::CheckOrTake(absl::Time now, const NodeCaller& caller, Actions* out) {
  const absl::Status status = CheckCaller(caller);
  if (status.ok() || caller.leaf.empty()) return status;
  const bool takes = now < absl::FromUnixSeconds(registry_.meta().take_renewed_until());
  if (takes && (taking_.count(caller.node_id) > 0 || taking_.size() >= kMaxTaking ||
                queue_.size() >= kMaxQueued || draining_)) {
    return absl::UnavailableError(
        "nodes are being taken by the certificates that they show; ask again");
  }
  if (!TakenByCertificate(TablesNow(), own_trust_, caller.leaf, now).ok()) {
    return absl::Status(status.code(),
                        absl::StrCat(std::string(status.message()),
                                     HelpForRenewed(registry_, caller.node_id, now)));
  }
  taking_.insert(caller.node_id);
  absl::Cleanup leave = [this, node_id = caller.node_id] { taking_.erase(node_id); };
  Enqueue(
      now, std::nullopt,
      [this, caller, leave = std::move(leave)](absl::Time then) mutable -> absl::StatusOr<Change> {
        ASSIGN_OR_RETURN(const state::v1::NodeRecord node,
                         TakenByCertificate(TablesNow(), own_trust_, caller.leaf, then));
        const auto* row = registry_.FindNode(node.node_id());
        Change change;
        change.batch.push_back({.key = NodeKey(node.node_id()),
                                .value = node.SerializeAsString(),
                                .expected = row == nullptr ? 0 : row->revision});
        AddTaken(registry_, node.node_id(), then, &change.batch);
        change.then = [this, caller, leave = std::move(leave)](absl::Time, Actions* after) {
          CloseSessionOf(caller.node_id, absl::AbortedError("a later key of this node was shown"),
                         false, after);
          after->push_back(action::Note{
              .warning = true,
              .message = "a node was taken by a certificate that this store does not know of",
              .fields = {{"node", caller.node_id},
                         {"key", absl::BytesToHexString(caller.key_sha256)}},
              .counter = "linchpin_ca_nodes_taken_total",
              .labels = {}});
        };
        return change;
      },
      out);
  return absl::UnavailableError(
      absl::StrCat(caller.node_id, " is taken by the certificate that it shows; ask again"));
}

absl::StatusOr<state::v1::TokenRecord> CaCore::CheckToken(absl::Time now,
                                                          const TokenEvidence& evidence,
                                                          const x509::PublicKey& key) const {
  const auto* row = registry_.FindToken(evidence.token_sha256);
  if (row == nullptr) {
    return absl::PermissionDeniedError(
        "the join token is not known here; make a new one (linchpin node token)");
  }
  const state::v1::TokenRecord& token = row->record;
  const absl::Time expires = absl::FromUnixSeconds(token.expires_at());
  if (now >= expires) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the join token for ", token.node_id(), " expired at ", trust::TimeText(expires),
        " and it is ", trust::TimeText(now), " here; make a new one (linchpin node token)"));
  }
  if (!token.bound_key_sha256().empty() && token.bound_key_sha256() != key.pin().bytes()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the join token for ", token.node_id(),
                     " was already redeemed by another key; if that was not you, ban the node"));
  }
  const auto* node = registry_.FindNode(token.node_id());
  if (node == nullptr) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the node ", token.node_id(), " of the join token was forgotten; make a new token"));
  }
  if (node->record.state() == "banned") {
    return absl::PermissionDeniedError(absl::StrCat("the node ", token.node_id(), " is banned"));
  }
  // Redeemed already: good for the same key only as long as that is the node's.
  if (!token.bound_key_sha256().empty()) {
    RETURN_IF_ERROR(CheckKey(node->record, token.bound_key_sha256()));
  }
  return token;
}

absl::StatusOr<std::string> CaCore::CheckExpired(absl::Time now,
                                                 const ExpiredCertificateEvidence& evidence,
                                                 const x509::PublicKey& key) const {
  const x509::Certificate& certificate = evidence.certificate;
  const x509::CertificateFields& fields = certificate.fields();
  const bool ours = std::any_of(
      authorities_.all().begin(), authorities_.all().end(), [&](const Authority& authority) {
        return !authority.is_root && certificate.IsSignedBy(authority.certificate.public_key());
      });
  const absl::Status not_ours =
      absl::PermissionDeniedError("the node certificate shown was not issued by this CA");
  if (fields.is_ca || fields.uri_sans.size() != 1) return not_ours;
  // Its issuer may have been dropped while the node was away. Then it is the record that says what
  // was issued last, and when that expired; nothing else of such a certificate is believed.
  const auto* row = registry_.FindNode(fields.uri_sans[0]);
  const bool recorded = !ours && row != nullptr && row->record.serial() == fields.serial &&
                        IsKeyOf(row->record, certificate.public_key().pin().bytes());
  if (!ours && !recorded) return not_ours;
  const absl::Time expired =
      recorded ? absl::FromUnixSeconds(row->record.certificate_expires_at()) : fields.not_after;
  ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::SpiffeId::Parse(fields.uri_sans[0]));
  const std::string node_id = id.ToString();
  if (!id.IsNode()) {
    return absl::PermissionDeniedError(absl::StrCat(node_id, " is no node"));
  }
  if (!(certificate.public_key() == key)) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the request of ", node_id, " is not signed with the key of the certificate it shows"));
  }
  if (TakenByCertificate(TablesNow(), own_trust_, certificate.der(), now).ok()) return node_id;
  RETURN_IF_ERROR(CheckNode(registry_, node_id));
  const state::v1::NodeRecord& node = registry_.FindNode(node_id)->record;
  RETURN_IF_ERROR(CheckKey(node, key.pin().bytes()));
  if (const auto why = own_trust_->revocations().Denies(id, {certificate}); why.has_value()) {
    return absl::PermissionDeniedError(absl::StrCat("the certificate shown by ", node_id,
                                                    " is revoked (", *why,
                                                    "): give its agent a join token"));
  }
  if (recorded && registry_.DeniedUntil(node_id) > absl::InfinitePast()) {
    return absl::PermissionDeniedError(
        absl::StrCat("certificates of ", node_id,
                     " were revoked, and the issuer of the one shown is not known "
                     "here any more: give its agent a join token"));
  }
  if (now > expired + options_.reattest_grace) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the certificate of ", node_id, " expired at ", trust::TimeText(expired),
        ", longer ago than the grace of ", absl::FormatDuration(options_.reattest_grace),
        "; it is ", trust::TimeText(now), " here: give its agent a join token"));
  }
  return node_id;
}

// The node that the evidence is for.
absl::StatusOr<std::string> CaCore::CheckEvidence(absl::Time now,
                                                  const event::AttestAsked& asked) const {
  const x509::PublicKey& key = asked.request.public_key();
  if (const auto* expired = std::get_if<ExpiredCertificateEvidence>(&asked.evidence)) {
    return CheckExpired(now, *expired, key);
  }
  if (const auto* kubernetes = std::get_if<KubernetesEvidence>(&asked.evidence)) {
    ASSIGN_OR_RETURN(
        const state::v1::NodeRecord node,
        AttestedByKubernetes(registry_, options_.profile.trust_domain, *kubernetes, key));
    return node.node_id();
  }
  ASSIGN_OR_RETURN(const state::v1::TokenRecord token,
                   CheckToken(now, std::get<TokenEvidence>(asked.evidence), key));
  return token.node_id();
}

void CaCore::On(absl::Time now, event::AttestAsked event, Actions* out) {
  const CallId call = event.call;
  // Looked at before it waits, so that strangers cannot fill the queue.
  const absl::StatusOr<std::string> node_id = CheckEvidence(now, event);
  const absl::Status status = node_id.ok() ? Admit(call, *node_id) : node_id.status();
  if (!status.ok()) return ReplyError(call, status, out);
  Enqueue(
      now, call,
      [this, event = std::move(event)](absl::Time then) { return PrepareAttest(then, event); },
      out);
}

absl::StatusOr<CaCore::Change> CaCore::PrepareAttest(absl::Time now,
                                                     const event::AttestAsked& asked) {
  const x509::PublicKey& key = asked.request.public_key();
  const std::string pin = key.pin().bytes();
  // Again: it may have waited.
  ASSIGN_OR_RETURN(const std::string node_id, CheckEvidence(now, asked));
  state::v1::NodeRecord node;
  std::optional<Write> token_write;
  if (const auto* kubernetes = std::get_if<KubernetesEvidence>(&asked.evidence)) {
    ASSIGN_OR_RETURN(
        node, AttestedByKubernetes(registry_, options_.profile.trust_domain, *kubernetes, key));
  } else if (const auto* row = registry_.FindNode(node_id); row != nullptr) {
    node = row->record;
  }
  bool taken = false;
  bool attested_anew = std::holds_alternative<KubernetesEvidence>(asked.evidence);
  if (const auto* evidence = std::get_if<TokenEvidence>(&asked.evidence)) {
    ASSIGN_OR_RETURN(state::v1::TokenRecord token, CheckToken(now, *evidence, key));
    node.set_attested_by("join_token");
    if (token.bound_key_sha256().empty()) {
      attested_anew = true;
      node.set_key_sha256(pin);
      node.clear_previous_key_sha256();
      token.set_bound_key_sha256(key.pin().bytes());
      token_write = Write{.key = TokenKey(evidence->token_sha256),
                          .value = token.SerializeAsString(),
                          .expected = registry_.FindToken(evidence->token_sha256)->revision};
    }
  } else if (const auto* shown = std::get_if<ExpiredCertificateEvidence>(&asked.evidence)) {
    auto later = TakenByCertificate(TablesNow(), own_trust_, shown->certificate.der(), now);
    taken = later.ok();
    if (taken) node = *std::move(later);
    node.set_attested_by("expired_certificate");
  }
  TakeKey(pin, pin, &node);
  node.set_state("attested");
  node.set_attested_at(absl::ToUnixSeconds(now));
  if (attested_anew) {
    node.clear_renewed_from_not_before();
  } else {
    KeepOrigin(TablesNow(), now, &node);
  }
  ASSIGN_OR_RETURN(Change change, CertifyNode(now, asked.call, std::move(node), asked.request));
  if (token_write.has_value()) change.batch.push_back(*std::move(token_write));
  if (taken) AddTaken(registry_, node_id, now, &change.batch);
  return change;
}

void CaCore::On(absl::Time now, event::RenewAsked event, Actions* out) {
  const CallId call = event.call;
  absl::Status status = CheckOrTake(now, event.caller, out);
  if (status.ok()) status = Admit(call, event.caller.node_id);
  if (!status.ok()) return ReplyError(call, std::move(status), out);
  Enqueue(
      now, call,
      [this, event = std::move(event)](absl::Time then) -> absl::StatusOr<Change> {
        RETURN_IF_ERROR(CheckCaller(event.caller));  // again: it may have waited
        state::v1::NodeRecord node = registry_.FindNode(event.caller.node_id)->record;
        TakeKey(event.caller.key_sha256, event.request.public_key().pin().bytes(), &node);
        KeepOrigin(TablesNow(), then, &node);
        return CertifyNode(then, event.call, std::move(node), event.request);
      },
      out);
}

// The record first, then the certificate, then the log, then the answer.
absl::StatusOr<CaCore::Change> CaCore::CertifyNode(absl::Time now, CallId call,
                                                   state::v1::NodeRecord node,
                                                   const x509::CertificateRequest& request) {
  if (issuing_.size() >= kMaxIssuing) return TooManyIssuing(kMaxIssuing);
  ASSIGN_OR_RETURN(const trust::SpiffeId id, trust::SpiffeId::Parse(node.node_id()));
  RETURN_IF_ERROR(CheckAsks(request, id, {}));
  ASSIGN_OR_RETURN(
      x509::CertificateSpec spec,
      SpecFor({.spiffe_id = node.node_id(), .dns_names = {}}, options_.profile.node_ttl, now));
  node.set_serial(spec.serial);
  node.set_certificate_not_before(absl::ToUnixSeconds(spec.not_before));
  node.set_certificate_expires_at(absl::ToUnixSeconds(spec.not_after));
  CertificateOrder order{.spec = std::move(spec),
                         .spiffe_id = node.node_id(),
                         .node_id = node.node_id(),
                         .key = request.public_key(),
                         .request = {}};
  const auto* row = registry_.FindNode(node.node_id());
  Change change;
  change.batch.push_back({.key = NodeKey(node.node_id()),
                          .value = node.SerializeAsString(),
                          .expected = row == nullptr ? 0 : row->revision});
  change.then = [this, call, order = std::move(order)](absl::Time, Actions* then) mutable {
    const NodeCaller caller{order.node_id, order.key->pin().bytes()};
    const auto session = session_of_.find(caller.node_id);
    if (session != session_of_.end()) {
      const absl::Status still = CheckCaller(sessions_.at(session->second).node);
      if (!still.ok()) CloseSessionOf(caller.node_id, still, false, then);
    }
    SignAndLog(
        authorities_.active(), {std::move(order)},
        [this, call, caller, issuer = authorities_.active().certificate](
            absl::Time later, absl::StatusOr<MadeCertificates> made, Actions* answers) {
          const absl::StatusOr<std::string> leaf = OnlyOne(std::move(made));
          answers->push_back(CountIssued("node", leaf.status(), 1));
          // A ban is not answered with a certificate that was under way.
          const absl::Status status = leaf.ok() ? CheckCaller(caller) : leaf.status();
          if (!status.ok()) return ReplyError(call, status, answers);
          v1::AttestResponse response;
          response.set_node_id(caller.node_id);
          response.add_chain(*leaf);
          response.add_chain(issuer.der());
          *response.mutable_trust() = TrustMessage(registry_, authorities_, 0);
          response.set_ca_time(absl::ToUnixSeconds(later));
          response.set_incarnation(registry_.meta().incarnation());
          ReplyWith(call, std::move(response), answers);
        },
        then);
  };
  return change;
}

}  // namespace linchpin::ca
