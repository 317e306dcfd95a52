// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// pins draft.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/config_file.h"
#include "base/durable_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/key_files.h"
#include "cli/output.h"
#include "cli/pins_draft.h"
#include "cli/pins_files.h"
#include "x509/spki_pin.h"

namespace linchpin::cli {
namespace {

struct DraftOptions {
  std::vector<std::string> signers;
  std::optional<uint32_t> threshold;
  std::string out;
  std::string expires;
  std::optional<trust::v1::PinSet::Mode> mode;
  std::optional<trust::v1::PinSet::OnExpiry> on_expiry;
  std::optional<bool> any_under_anchor = false;  // none: as in the set before
  bool urgent = false;
  std::vector<std::string> backup_keys;
  std::string freshness_key;
  std::string before;
  std::vector<std::string> drop;
};

// None: those of the set before.
absl::StatusOr<std::optional<trust::v1::Signers>> SignersOf(
    const DraftOptions& options, const std::optional<trust::v1::PinSet>& before) {
  if (options.signers.empty() && !before.has_value()) {
    return UsageError("who signs? name each signer's public key with --signer");
  }
  trust::v1::Signers signers;
  if (before.has_value()) signers = before->signers();
  if (!options.signers.empty()) signers.clear_keys();
  for (const std::string& file : options.signers) {
    ASSIGN_OR_RETURN(const x509::PublicKey key, ReadPublicKeyFile(file));
    signers.add_keys(key.spki());
  }
  if (options.threshold.has_value()) signers.set_threshold(*options.threshold);
  if (signers.threshold() == 0) signers.set_threshold(1);
  return signers;
}

// From the key file that was named, else from the CA, else as the set before shows it.
absl::StatusOr<trust::v1::PossessionProof> ProofOf(
    const Session& session, const std::string& pin,
    const std::map<std::string, trust::v1::PossessionProof>& own,
    const std::optional<PinSetDocument>& published) {
  if (const auto found = own.find(pin); found != own.end()) return found->second;
  ca::v1::ProvePossessionRequest request;
  request.set_spki_sha256(pin);
  absl::StatusOr<trust::v1::PossessionProof> proof =
      CallCa(session, &AdminStub::ProvePossession, request);
  if (proof.ok() || !published.has_value()) return proof;
  for (const auto& issuer : published->set.message.issuers()) {
    if (issuer.spki_sha256() == pin && issuer.has_proof()) return issuer.proof();
  }
  return proof;
}

absl::Status AddProofs(const Session& session, const DraftOptions& options,
                       const ca::v1::Authorities& authorities,
                       const std::optional<PinSetDocument>& published, DraftRequest* request) {
  ASSIGN_OR_RETURN(const trust::TrustDomain trust_domain,
                   trust::TrustDomain::FromName(authorities.trust_domain()));
  std::map<std::string, trust::v1::PossessionProof> own;
  for (const std::string& file : options.backup_keys) {
    ASSIGN_OR_RETURN(const x509::PrivateKey key, ReadPrivateKeyFile(file));
    ASSIGN_OR_RETURN(own[key.public_key().pin().bytes()],
                     trust::ProvePossession(trust_domain, key, session.clock.Now()));
  }
  for (const std::string& pin : BackupPins(authorities)) {
    if (!options.before.empty()) {  // the set before has a proof, unless there is a newer one
      if (const auto found = own.find(pin); found != own.end()) request->proofs.insert(*found);
      continue;
    }
    absl::StatusOr<trust::v1::PossessionProof> proof = ProofOf(session, pin, own, published);
    if (!proof.ok()) {
      return absl::Status(
          proof.status().code(),
          absl::StrCat("no proof that the key of the backup issuer ", PinText(pin), " is held (",
                       proof.status().message(), "): name its file with --backup-key"));
    }
    request->proofs[pin] = *std::move(proof);
  }
  return absl::OkStatus();
}

// The keys that the set before pins: a draft without the CA changes signers, times and modes.
ca::v1::Authorities AuthoritiesOf(const trust::v1::PinSet& set) {
  ca::v1::Authorities authorities;
  authorities.set_trust_domain(set.trust_domain());
  for (const trust::v1::AnchorPin& anchor : set.anchors()) {
    ca::v1::Authority* root = authorities.add_authorities();
    root->set_kind("root");
    root->set_state("active");
    root->set_spki_sha256(anchor.spki_sha256());
    root->set_subject(anchor.label());
  }
  for (const trust::v1::IssuerPin& pin : set.issuers()) {
    ca::v1::Authority* issuer = authorities.add_authorities();
    issuer->set_kind("issuer");
    issuer->set_state(pin.role() == trust::v1::IssuerPin::BACKUP ? "backup"
                      : pin.role() == trust::v1::IssuerPin::NEXT ? "prepared"
                                                                 : "active");
    issuer->set_spki_sha256(pin.spki_sha256());
  }
  return authorities;
}

ca::v1::Authority* FindIn(ca::v1::Authorities* all, const std::string& kind,
                          const std::string& state) {
  for (ca::v1::Authority& one : *all->mutable_authorities()) {
    if (one.kind() == kind && one.state() == state) return &one;
  }
  return nullptr;
}

// Without the keys that are not trusted any more. Where the active issuer was one, the backup takes
// its place; what --backup-key names is a backup from now on.
absl::Status DropKeys(const DraftOptions& options, ca::v1::Authorities* keys) {
  auto* all = keys->mutable_authorities();
  for (const std::string& text : options.drop) {
    ASSIGN_OR_RETURN(const x509::SpkiPin pin, x509::SpkiPin::Parse(text));
    const auto found = std::find_if(all->begin(), all->end(), [&](const auto& one) {
      return one.spki_sha256() == pin.bytes();
    });
    if (found == all->end()) {
      return UsageError(absl::StrCat("--drop: ", options.before, " pins no key ", pin.ToString(),
                                     " (linchpin pins show ", options.before, ")"));
    }
    all->erase(found);
  }
  if (!options.drop.empty() && FindIn(keys, "issuer", "active") == nullptr) {
    if (ca::v1::Authority* backup = FindIn(keys, "issuer", "backup")) backup->set_state("active");
  }
  for (const std::string& file : options.backup_keys) {
    ASSIGN_OR_RETURN(const x509::PrivateKey key, ReadPrivateKeyFile(file));
    const std::string pin = key.public_key().pin().bytes();
    const bool known = std::any_of(all->begin(), all->end(),
                                   [&](const auto& one) { return one.spki_sha256() == pin; });
    if (known) continue;
    ca::v1::Authority* backup = all->Add();
    backup->set_kind("issuer");
    backup->set_state("backup");
    backup->set_spki_sha256(pin);
  }
  return absl::OkStatus();
}

absl::Status SetChanges(const DraftOptions& options, DraftRequest* request) {
  ASSIGN_OR_RETURN(request->changes.signers, SignersOf(options, request->before));
  if (!options.expires.empty()) {
    ASSIGN_OR_RETURN(request->changes.life, base::ParseDuration(options.expires, "--expires"));
  }
  if (!options.freshness_key.empty()) {
    ASSIGN_OR_RETURN(const x509::PublicKey key, ReadPublicKeyFile(options.freshness_key));
    request->changes.freshness_key = key.spki();
  }
  request->changes.mode = options.mode;
  request->changes.on_expiry = options.on_expiry;
  request->changes.any_under_anchor = options.any_under_anchor;
  request->changes.urgent = options.urgent;
  return absl::OkStatus();
}

absl::Status Draft(Session& session, const DraftOptions& options) {
  ca::v1::Authorities authorities;
  std::optional<PinSetDocument> before;
  if (options.before.empty()) {
    ASSIGN_OR_RETURN(authorities,
                     CallCa(session, &AdminStub::GetAuthorities, ca::v1::GetAuthoritiesRequest()));
    ASSIGN_OR_RETURN(const trust::v1::TrustState state, TrustOfCa(session));
    ASSIGN_OR_RETURN(before, PublishedOf(state));
  } else {
    ASSIGN_OR_RETURN(before, ReadPinSetDocument(options.before));
    authorities = AuthoritiesOf(before->set.message);
    RETURN_IF_ERROR(DropKeys(options, &authorities));
  }
  DraftRequest request;
  if (before.has_value()) {
    request.before = before->set.message;
    request.signed_before = before->signed_set;
  }
  RETURN_IF_ERROR(SetChanges(options, &request));
  const bool roots_only = options.any_under_anchor.value_or(request.before.has_value() &&
                                                            request.before->any_under_anchor());
  if (!roots_only) {
    RETURN_IF_ERROR(AddProofs(session, options, authorities, before, &request));
  }
  ASSIGN_OR_RETURN(const PinSetDocument document,
                   DraftPinSet(request, authorities, session.clock.Now()));
  RETURN_IF_ERROR(base::WriteFileDurably(options.out, EncodePinSetDocument(document), 0644));
  if (session.json()) return PrintJson(session, document.set.message);
  session.out << DescribePinSet(document) << "written to " << options.out
              << "; next: linchpin pins sign --key KEY " << options.out << "\n";
  return absl::OkStatus();
}

}  // namespace

absl::Status DraftNextPins(Session& session, const std::string& out,
                           const std::vector<std::string>& backup_keys) {
  DraftOptions options;
  options.any_under_anchor = std::nullopt;
  options.out = out;
  options.backup_keys = backup_keys;
  return Draft(session, options);
}

void AddDraftCommand(CLI::App& group, Session& session) {
  auto options = std::make_shared<DraftOptions>();
  CLI::App* draft = AddCommand(group, session, "draft",
                               "Write the next pin set, of the CA's keys, for its signers",
                               [&session, options] { return Draft(session, *options); });
  draft->add_option("--signer", options->signers,
                    "A signer's .pub file; default: the signers of the published set");
  draft->add_option("--threshold", options->threshold,
                    "How many of them must sign; default: as in the published set, else 1");
  draft->add_option("--out", options->out, "The file to write")->required();
  draft
      ->add_option("--expires", options->expires,
                   "Life of the set; default: that of the published set, else 8760h")
      ->check(CheckDuration);
  const std::map<std::string, trust::v1::PinSet::Mode> modes = {
      {"enforce", trust::v1::PinSet::ENFORCE}, {"report_only", trust::v1::PinSet::REPORT_ONLY}};
  draft
      ->add_option("--mode", options->mode,
                   "enforce or report_only; default: as the published set, else enforce")
      ->transform(CLI::CheckedTransformer(modes).description(""));
  const std::map<std::string, trust::v1::PinSet::OnExpiry> ends = {
      {"keep", trust::v1::PinSet::KEEP},
      {"report_only", trust::v1::PinSet::RELAX},
      {"fail_closed", trust::v1::PinSet::FAIL_CLOSED}};
  draft
      ->add_option("--on-expiry", options->on_expiry,
                   "keep, report_only or fail_closed; default: as the published set, else keep")
      ->transform(CLI::CheckedTransformer(ends).description(""));
  draft->add_flag_function(
      "--any-under-anchor", [options](int64_t) { options->any_under_anchor = true; },
      "Pin the roots only: any issuer under them may sign leaves");
  draft->add_flag("--urgent", options->urgent,
                  "Close live connections that no longer pass at once");
  draft->add_option("--backup-key", options->backup_keys,
                    "Key file of a backup issuer that is kept apart from the CA, to prove it");
  draft->add_option("--freshness-key", options->freshness_key,
                    "The .pub file of who will say daily which set is the newest");
  draft->add_option("--before", options->before,
                    "Draft from this signed set alone, without the CA");
  draft
      ->add_option("--drop", options->drop,
                   "Pin of a key that is not trusted any more; of the active issuer's the backup "
                   "takes the place, and --backup-key names the next backup")
      ->needs("--before");
  SetExamples(draft,
              "linchpin pins draft --signer alice.key.pub --signer bob.key.pub --threshold 2 "
              "--out pins-1.json\n"
              "linchpin pins draft --before pins-3.json --drop $PIN --backup-key new.key "
              "--out pins-4.json");
}

}  // namespace linchpin::cli
