// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// pins keygen, draft, sign, publish, show, export.
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
#include "cli/pins_document.h"
#include "cli/pins_draft.h"

namespace linchpin::cli {
namespace {

struct PinsOptions {
  std::string file;
  std::string key;
  std::vector<std::string> signers;
  std::optional<uint32_t> threshold;
  std::string out;
  std::string expires;
  std::optional<trust::v1::PinSet::Mode> mode;
  std::optional<trust::v1::PinSet::OnExpiry> on_expiry;
  bool any_under_anchor = false;
  bool urgent = false;
  std::vector<std::string> backup_keys;
  bool only_signers = false;
};

absl::StatusOr<trust::v1::TrustState> GetTrust(const Session& session) {
  return CallCa(session, &AdminStub::GetTrust, ca::v1::GetTrustStateRequest());
}

absl::StatusOr<std::optional<PinSetDocument>> Published(const trust::v1::TrustState& state) {
  if (state.pin_sets().empty()) return std::nullopt;
  return MakePinSetDocument(*state.pin_sets().rbegin());
}

absl::StatusOr<PinSetDocument> ReadDocument(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path, kMaxPinSetDocument));
  return DecodePinSetDocument(text, path);
}

// The file's set, or the published one where no file is named.
absl::StatusOr<PinSetDocument> NamedOrPublished(const Session& session, const std::string& file) {
  if (!file.empty()) return ReadDocument(file);
  ASSIGN_OR_RETURN(const trust::v1::TrustState state, GetTrust(session));
  ASSIGN_OR_RETURN(std::optional<PinSetDocument> published, Published(state));
  if (published.has_value()) return *std::move(published);
  return absl::NotFoundError(
      "no pin set is published: agents with --ca-pin enforce set 0, which is unsigned; begin with "
      "linchpin pins keygen and linchpin pins draft");
}

absl::Status Keygen(Session& session, const PinsOptions& options) {
  ASSIGN_OR_RETURN(const x509::PublicKey key, MakeKeyFile(options.out));
  session.out << key.pin().ToString() << "\n";
  return absl::OkStatus();
}

// None: those of the set before.
absl::StatusOr<std::optional<trust::v1::Signers>> SignersOf(
    const PinsOptions& options, const std::optional<trust::v1::PinSet>& before) {
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

absl::Status AddProofs(const Session& session, const PinsOptions& options,
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

absl::Status Draft(Session& session, const PinsOptions& options) {
  ASSIGN_OR_RETURN(const ca::v1::Authorities authorities,
                   CallCa(session, &AdminStub::GetAuthorities, ca::v1::GetAuthoritiesRequest()));
  ASSIGN_OR_RETURN(const trust::v1::TrustState state, GetTrust(session));
  ASSIGN_OR_RETURN(const std::optional<PinSetDocument> published, Published(state));
  DraftRequest request;
  if (published.has_value()) request.before = published->set.message;
  ASSIGN_OR_RETURN(request.changes.signers, SignersOf(options, request.before));
  if (!options.expires.empty()) {
    ASSIGN_OR_RETURN(request.changes.life, base::ParseDuration(options.expires, "--expires"));
  }
  request.changes.mode = options.mode;
  request.changes.on_expiry = options.on_expiry;
  request.changes.any_under_anchor = options.any_under_anchor;
  request.changes.urgent = options.urgent;
  if (!options.any_under_anchor) {
    RETURN_IF_ERROR(AddProofs(session, options, authorities, published, &request));
  }
  ASSIGN_OR_RETURN(const PinSetDocument document,
                   DraftPinSet(request, authorities, session.clock.Now()));
  RETURN_IF_ERROR(base::WriteFileDurably(options.out, EncodePinSetDocument(document), 0644));
  if (session.json()) return PrintJson(session, document.set.message);
  session.out << DescribePinSet(document) << "written to " << options.out
              << "; next: linchpin pins sign --key KEY " << options.out << "\n";
  return absl::OkStatus();
}

absl::Status Sign(Session& session, const PinsOptions& options) {
  ASSIGN_OR_RETURN(PinSetDocument document, ReadDocument(options.file));
  ASSIGN_OR_RETURN(const x509::PrivateKey key, ReadPrivateKeyFile(options.key));
  SignPinSetDocument(key, &document);
  RETURN_IF_ERROR(base::WriteFileDurably(options.file, EncodePinSetDocument(document), 0644));
  if (session.json()) return PrintJson(session, document.set.message);
  session.out << DescribePinSet(document) << "signed with " << key.public_key().pin().ToString();
  if (!IsSigner(document, key.public_key())) {
    session.out << ", which is no signer of this set: it counts only if the set before names it";
  }
  session.out << "\n";
  return absl::OkStatus();
}

absl::Status Publish(Session& session, const PinsOptions& options) {
  ASSIGN_OR_RETURN(const PinSetDocument document, ReadDocument(options.file));
  const size_t have = CountSignatures(document);
  if (have < document.set.signers.threshold) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.file, " has ", have, " of the ", document.set.signers.threshold,
                     " signatures that it needs: linchpin pins sign --key KEY ", options.file));
  }
  ASSIGN_OR_RETURN(const ca::v1::PinSetPublished published,
                   CallCa(session, &AdminStub::PublishPinSet, document.signed_set));
  if (session.json()) return PrintJson(session, published);
  session.out << "published pin set " << published.version() << ", trust epoch "
              << published.trust_epoch() << " (linchpin coverage --epoch "
              << published.trust_epoch() << ")\n";
  return absl::OkStatus();
}

absl::Status Show(Session& session, const PinsOptions& options) {
  ASSIGN_OR_RETURN(const PinSetDocument document, NamedOrPublished(session, options.file));
  if (session.json()) return PrintJson(session, document.set.message);
  session.out << DescribePinSet(document);
  return absl::OkStatus();
}

absl::Status Export(Session& session, const PinsOptions& options) {
  if (options.only_signers) {
    ASSIGN_OR_RETURN(const PinSetDocument document, NamedOrPublished(session, options.file));
    trust::v1::SignersFile file;
    file.set_trust_domain(document.set.message.trust_domain());
    *file.mutable_signers() = document.set.message.signers();
    file.set_minimum_version(document.set.message.version());
    return PrintJson(session, file);
  }
  trust::v1::TrustState exported;
  if (!options.file.empty()) {
    ASSIGN_OR_RETURN(const PinSetDocument document, ReadDocument(options.file));
    exported.set_trust_domain(document.set.message.trust_domain());
    *exported.add_pin_sets() = document.signed_set;
  } else {
    ASSIGN_OR_RETURN(trust::v1::TrustState state, GetTrust(session));
    exported.set_trust_domain(state.trust_domain());
    exported.mutable_pin_sets()->Swap(state.mutable_pin_sets());
  }
  return PrintJson(session, exported);
}

void AddDraft(CLI::App& group, Session& session, const std::shared_ptr<PinsOptions>& options) {
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
  draft->add_flag("--any-under-anchor", options->any_under_anchor,
                  "Pin the roots only: any issuer under them may sign leaves");
  draft->add_flag("--urgent", options->urgent,
                  "Close live connections that no longer pass at once");
  draft->add_option("--backup-key", options->backup_keys,
                    "Key file of a backup issuer that is kept apart from the CA, to prove it");
  SetExamples(draft,
              "linchpin pins draft --signer alice.key.pub --signer bob.key.pub --threshold 2 "
              "--out pins-1.json");
}

}  // namespace

absl::Status DraftNextPins(Session& session, const std::string& out,
                           const std::vector<std::string>& backup_keys) {
  PinsOptions options;
  options.out = out;
  options.backup_keys = backup_keys;
  return Draft(session, options);
}

void AddPinsCommands(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "pins", "Pin sets: which keys may issue, signed apart of the CA");
  auto options = std::make_shared<PinsOptions>();

  CLI::App* keygen = AddCommand(*group, session, "keygen",
                                "Make a signer's key (0600) and FILE.pub; print its pin",
                                [&session, options] { return Keygen(session, *options); });
  keygen->add_option("--out", options->out, "The file to make; keep it away from the CA")
      ->required();
  SetExamples(keygen, "linchpin pins keygen --out alice.key");

  AddDraft(*group, session, options);

  CLI::App* sign = AddCommand(*group, session, "sign", "Sign a draft; needs no CA",
                              [&session, options] { return Sign(session, *options); });
  sign->add_option("--key", options->key, "The signer's key file")->required();
  sign->add_option("FILE", options->file, "The draft")->required();
  SetExamples(sign,
              "linchpin pins show pins-1.json\n"
              "linchpin pins sign --key alice.key pins-1.json");

  CLI::App* publish = AddCommand(*group, session, "publish", "Put a signed set in force",
                                 [&session, options] { return Publish(session, *options); });
  publish->add_option("FILE", options->file, "The signed draft")->required();
  SetExamples(publish, "linchpin pins publish pins-1.json && linchpin coverage");

  CLI::App* show = AddCommand(*group, session, "show", "Show the published set, or a file's",
                              [&session, options] { return Show(session, *options); });
  show->add_option("FILE", options->file, "A draft");
  SetExamples(show, "linchpin pins show\nlinchpin pins show pins-1.json");

  CLI::App* export_command =
      AddCommand(*group, session, "export", "Print the published sets, or a file's, as JSON",
                 [&session, options] { return Export(session, *options); });
  export_command->add_option("FILE", options->file, "A signed draft");
  export_command->add_flag("--signers", options->only_signers,
                           "Print what linchpin-agent run --signers takes");
  SetExamples(export_command, "linchpin pins export --signers > signers.json");
}

}  // namespace linchpin::cli
