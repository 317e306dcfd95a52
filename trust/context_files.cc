// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/context_files.h"

#include <google/protobuf/util/json_util.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "linchpin/agent/v1/files.pb.h"
#include "trust/spiffe_id.h"
#include "trust/text.h"
#include "x509/certificate.h"
#include "x509/key.h"

namespace linchpin::trust {
namespace {

using agent::v1::Identity;
using agent::v1::MtlsContexts;

absl::StatusOr<const Identity*> Find(const MtlsContexts& contexts, absl::string_view spiffe_id) {
  for (const Identity& identity : contexts.identities()) {
    if (spiffe_id.empty() || identity.spiffe_id() == spiffe_id) return &identity;
  }
  return absl::NotFoundError(
      spiffe_id.empty()
          ? "there is no identity to write"
          : absl::StrCat("the agent gives this process no identity ", Quoted(spiffe_id)));
}

absl::StatusOr<Bundle> FindBundle(const MtlsContexts& contexts, const Identity& identity,
                                  BundleKind kind, absl::Time now) {
  ASSIGN_OR_RETURN(const SpiffeId id, SpiffeId::Parse(identity.spiffe_id()));
  for (const auto& context : contexts.trust_domains()) {
    if (context.trust_domain() == id.trust_domain().name()) return BundleOf(context, kind, now);
  }
  return absl::DataLossError(
      absl::StrCat("the agent sent no bundle of the trust domain ", id.trust_domain().name()));
}

absl::StatusOr<std::string> JsonOf(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto done = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!done.ok()) return absl::InternalError(absl::StrCat("no JSON: ", done.ToString()));
  return text;
}

agent::v1::PeersFile PeersOf(const Identity& identity) {
  agent::v1::PeersFile peers;
  peers.set_spiffe_id(identity.spiffe_id());
  const auto fill = [](const std::string& id, const v1::PeerRule& rule,
                       agent::v1::PeersFile::Peer* peer) {
    peer->set_spiffe_id(id);
    peer->set_audit(rule.mode() == v1::PeerRule::AUDIT);
  };
  for (const v1::PeerRule& rule : identity.rules()) {
    if (rule.outbound() && rule.from() == identity.spiffe_id()) {
      fill(rule.to(), rule, peers.add_calls());
    }
    if (rule.inbound() && rule.to() == identity.spiffe_id()) {
      fill(rule.from(), rule, peers.add_called_by());
    }
  }
  return peers;
}

// Of this identity alone, and without its key.
MtlsContexts TrustOf(const MtlsContexts& contexts, const Identity& identity) {
  MtlsContexts shown;
  *shown.mutable_trust_domains() = contexts.trust_domains();
  *shown.mutable_selectors() = contexts.selectors();
  shown.set_trust_epoch(contexts.trust_epoch());
  shown.set_trust_digest(contexts.trust_digest());
  Identity& one = *shown.add_identities();
  one.set_spiffe_id(identity.spiffe_id());
  one.set_hint(identity.hint());
  *one.mutable_chain() = identity.chain();
  one.set_expires_at(identity.expires_at());
  one.set_context_digest(identity.context_digest());
  *one.mutable_rules() = identity.rules();
  return shown;
}

}  // namespace

absl::StatusOr<ContextFiles> RenderContextFiles(const MtlsContexts& contexts,
                                                absl::string_view spiffe_id, BundleKind kind,
                                                absl::Time now) {
  ASSIGN_OR_RETURN(const Identity* identity, Find(contexts, spiffe_id));
  ASSIGN_OR_RETURN(const Bundle bundle, FindBundle(contexts, *identity, kind, now));
  const std::vector<std::string> ders(identity->chain().begin(), identity->chain().end());
  ASSIGN_OR_RETURN(const x509::Chain chain, x509::ParseDerChain(absl::MakeConstSpan(ders)));
  ASSIGN_OR_RETURN(const x509::PrivateKey key,
                   x509::PrivateKey::FromPkcs8(x509::SecretBytes(identity->private_key())));
  if (chain.empty() || !(chain.front().public_key() == key.public_key())) {
    return absl::DataLossError("the agent sent a key that is not its certificate's");
  }
  ASSIGN_OR_RETURN(const x509::Chain anchors,
                   x509::ParseDerChain(absl::MakeConstSpan(bundle.certificates)));
  ASSIGN_OR_RETURN(const std::string trust, JsonOf(TrustOf(contexts, *identity)));
  ASSIGN_OR_RETURN(const std::string peers, JsonOf(PeersOf(*identity)));
  const std::string chain_pem = x509::ToPem(chain);
  const x509::SecretBytes key_pem = key.ToPem();
  std::string combined = absl::StrCat(key_pem.Reveal(), chain_pem);

  ContextFiles out{.files = {}, .why_empty = bundle.why_empty};
  const auto add = [&out](const std::string& name, absl::string_view contents) {
    out.files.push_back({.name = name, .contents = x509::SecretBytes(contents)});
  };
  add("chain.pem", chain_pem);
  const std::string why =
      bundle.why_empty.empty() ? "" : absl::StrCat("# ", bundle.why_empty, "\n");
  add("bundle.pem", absl::StrCat(why, x509::ToPem(anchors)));
  add("trust.json", trust);
  add("peers.json", peers);
  out.files.push_back({.name = "key.pem", .contents = key_pem, .secret = true});
  out.files.push_back({.name = "combined.pem",
                       .contents = x509::SecretBytes::TakeAndWipe(&combined),
                       .secret = true});
  return out;
}

MtlsContexts WithoutKeys(const MtlsContexts& contexts) {
  MtlsContexts copy = contexts;
  for (Identity& identity : *copy.mutable_identities()) {
    x509::WipeString(identity.mutable_private_key());
    identity.clear_private_key();
  }
  return copy;
}

}  // namespace linchpin::trust
