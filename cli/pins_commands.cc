// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// pins keygen, sign, publish, show, export.
#include <memory>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/key_files.h"
#include "cli/output.h"
#include "cli/pins_files.h"
#include "trust/freshness.h"
#include "trust/pin_concerns.h"

namespace linchpin::cli {
namespace {

struct PinsOptions {
  std::string file;
  std::string key;
  std::string out;
  std::string before;
  bool only_signers = false;
  bool used_backup = false;
};

absl::Status Keygen(Session& session, const PinsOptions& options) {
  ASSIGN_OR_RETURN(const x509::PublicKey key, MakeKeyFile(options.out));
  session.out << key.pin().ToString() << "\n";
  return absl::OkStatus();
}

absl::Status Sign(Session& session, const PinsOptions& options) {
  ASSIGN_OR_RETURN(AnyDocument any, ReadAnyDocument(options.file));
  ASSIGN_OR_RETURN(const x509::PrivateKey key, ReadPrivateKeyFile(options.key));
  if (auto* relax = std::get_if<RelaxDocument>(&any)) {
    RETURN_IF_ERROR(SignRelaxDocument(key, relax));
    RETURN_IF_ERROR(base::WriteFileDurably(options.file, EncodeRelaxDocument(*relax), 0644));
    if (session.json()) return PrintJson(session, relax->relax);
    session.out << DescribeRelax(*relax, session.clock.Now()) << "signed with "
                << key.public_key().pin().ToString() << "\n";
    return absl::OkStatus();
  }
  auto* document = std::get_if<PinSetDocument>(&any);
  if (document == nullptr) return UsageError("a freshness statement is signed when it is made");
  if (!options.before.empty()) {
    ASSIGN_OR_RETURN(const PinSetDocument own, ReadPinSetDocument(options.before));
    ASSIGN_OR_RETURN(*document, MakePinSetDocument(document->signed_set, own.signed_set));
  }
  if (!options.used_backup) RETURN_IF_ERROR(CheckBackupsAreUnused(*document));
  SignPinSetDocument(key, document);
  RETURN_IF_ERROR(base::WriteFileDurably(options.file, EncodePinSetDocument(*document), 0644));
  if (session.json()) return PrintJson(session, document->set.message);
  session.out << DescribePinSet(*document) << "signed with " << key.public_key().pin().ToString();
  if (!IsSigner(*document, key.public_key())) {
    session.out << ", which is no signer of this set: it counts only if the set before names it";
  }
  session.out << "\n"
              << (IsComplete(*document) ? "next: linchpin pins publish "
                                        : "next, the other signers: linchpin pins sign --key KEY ")
              << options.file << "\n";
  return absl::OkStatus();
}

absl::StatusOr<ca::v1::PinSetPublished> Send(const Session& session, const PinsOptions& options,
                                             const AnyDocument& any) {
  if (const auto* relax = std::get_if<RelaxDocument>(&any)) {
    RETURN_IF_ERROR(CheckRelaxSigned(*relax));
    return CallCa(session, &AdminStub::PlayRelax, relax->document);
  }
  if (const auto* fresh = std::get_if<FreshnessDocument>(&any)) {
    return CallCa(session, &AdminStub::PublishFreshness, fresh->document);
  }
  const auto& document = std::get<PinSetDocument>(any);
  if (!IsComplete(document)) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.file, " has ", CountSignatures(document), " of the ",
                     document.set.signers.threshold,
                     " signatures that it needs, or too few of the set before (linchpin pins show ",
                     options.file, "): linchpin pins sign --key KEY ", options.file));
  }
  return CallCa(session, &AdminStub::PublishPinSet, document.signed_set);
}

absl::Status Publish(Session& session, const PinsOptions& options) {
  ASSIGN_OR_RETURN(const AnyDocument any, ReadAnyDocument(options.file));
  ASSIGN_OR_RETURN(const ca::v1::PinSetPublished published, Send(session, options, any));
  if (session.json()) return PrintJson(session, published);
  session.out << (std::holds_alternative<RelaxDocument>(any)       ? "played the relax of pin set "
                  : std::holds_alternative<FreshnessDocument>(any) ? "published the freshness of "
                                                                     "pin set "
                                                                   : "published pin set ")
              << published.version() << ", trust epoch " << published.trust_epoch()
              << " (linchpin coverage --epoch " << published.trust_epoch() << ")\n";
  return absl::OkStatus();
}

// Of the set in force at the CA.
absl::Status ShowPublished(Session& session) {
  ASSIGN_OR_RETURN(const PinSetDocument document, NamedOrPublished(session, ""));
  if (session.json()) return PrintJson(session, document.set.message);
  ASSIGN_OR_RETURN(const trust::v1::TrustState state, TrustOfCa(session));
  session.out << DescribePinSet(document);
  trust::PinFacts facts{.set = document.set.message};
  const absl::Time now = session.clock.Now();
  if (state.has_freshness()) {
    FreshnessDocument fresh{state.freshness(), {}};
    ASSIGN_OR_RETURN(fresh.statement, trust::ParseFreshness(state.freshness().payload()));
    facts.freshness = fresh.statement;
    session.out << DescribeFreshness(fresh, now);
  }
  if (state.has_relax()) {
    ASSIGN_OR_RETURN(const trust::Relax relax, trust::ParseRelax(state.relax().payload()));
    session.out << "RELAXED: a document was played that relaxes this set on each node for "
                << DurationText(relax.message.max_seconds()) << ", until "
                << TimeText(relax.message.latest())
                << " at the latest (linchpin node list); publish the next set to end it\n";
  }
  for (const trust::PinConcern& concern : trust::PinConcerns(facts, now)) {
    session.out << "warning: " << concern.text << "\n";
  }
  return absl::OkStatus();
}

absl::Status Show(Session& session, const PinsOptions& options) {
  if (options.file.empty()) return ShowPublished(session);
  ASSIGN_OR_RETURN(const AnyDocument any, ReadAnyDocument(options.file));
  const absl::Time now = session.clock.Now();
  if (const auto* relax = std::get_if<RelaxDocument>(&any)) {
    if (session.json()) return PrintJson(session, relax->relax);
    session.out << DescribeRelax(*relax, now);
  } else if (const auto* fresh = std::get_if<FreshnessDocument>(&any)) {
    if (session.json()) return PrintJson(session, fresh->statement);
    session.out << DescribeFreshness(*fresh, now);
  } else {
    const auto& document = std::get<PinSetDocument>(any);
    if (session.json()) return PrintJson(session, document.set.message);
    session.out << DescribePinSet(document);
    const trust::PinFacts facts{.set = document.set.message};
    for (const trust::PinConcern& concern : trust::PinConcerns(facts, now)) {
      if (concern.kind != "withheld") session.out << "warning: " << concern.text << "\n";
    }
  }
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
  trust::v1::PinDocuments exported;
  if (options.file.empty()) {
    ASSIGN_OR_RETURN(trust::v1::TrustState state, TrustOfCa(session));
    exported.set_trust_domain(state.trust_domain());
    exported.mutable_pin_sets()->Swap(state.mutable_pin_sets());
    if (state.has_relax()) *exported.mutable_relax() = state.relax();
    if (state.has_freshness()) *exported.mutable_freshness() = state.freshness();
    return PrintJson(session, exported);
  }
  ASSIGN_OR_RETURN(const AnyDocument any, ReadAnyDocument(options.file));
  if (const auto* relax = std::get_if<RelaxDocument>(&any)) {
    exported.set_trust_domain(relax->relax.trust_domain());
    *exported.mutable_relax() = relax->document;
  } else if (const auto* fresh = std::get_if<FreshnessDocument>(&any)) {
    exported.set_trust_domain(fresh->statement.trust_domain());
    *exported.mutable_freshness() = fresh->document;
  } else {
    const auto& document = std::get<PinSetDocument>(any);
    exported.set_trust_domain(document.set.message.trust_domain());
    *exported.add_pin_sets() = document.signed_set;
  }
  return PrintJson(session, exported);
}

}  // namespace

void AddPinsCommands(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "pins", "Pin sets: which keys may issue, signed apart of the CA");
  auto options = std::make_shared<PinsOptions>();

  CLI::App* keygen = AddCommand(*group, session, "keygen",
                                "Make a signer's key (0600) and FILE.pub; print its pin",
                                [&session, options] { return Keygen(session, *options); });
  keygen->add_option("--out", options->out, "The file to make; keep it away from the CA")
      ->required();
  SetExamples(keygen, "linchpin pins keygen --out alice.key");

  AddDraftCommand(*group, session);

  CLI::App* sign = AddCommand(*group, session, "sign", "Sign a draft; needs no CA",
                              [&session, options] { return Sign(session, *options); });
  sign->add_option("--key", options->key, "The signer's key file")->required();
  sign->add_option("FILE", options->file, "The draft of a set, or a relax document")->required();
  sign->add_option("--before", options->before,
                   "Your own copy of the set before, to see what changes");
  sign->add_flag("--used-backup", options->used_backup,
                 "Although a backup of the set was in use under the set before");
  SetExamples(sign,
              "linchpin pins show pins-1.json\n"
              "linchpin pins sign --key alice.key pins-1.json");

  CLI::App* publish =
      AddCommand(*group, session, "publish", "Put a signed set in force, or play a relax document",
                 [&session, options] { return Publish(session, *options); });
  publish->add_option("FILE", options->file, "The signed document")->required();
  SetExamples(publish, "linchpin pins publish pins-1.json && linchpin coverage");

  AddRelaxCommands(*group, session);

  CLI::App* show = AddCommand(*group, session, "show", "Show what is in force, or a document",
                              [&session, options] { return Show(session, *options); });
  show->add_option("FILE", options->file, "A set, relax document or freshness statement");
  SetExamples(show, "linchpin pins show\nlinchpin pins show pins-1.json");

  CLI::App* export_command =
      AddCommand(*group, session, "export", "Print what agents take by --pin-set-file, as JSON",
                 [&session, options] { return Export(session, *options); });
  export_command->add_option("FILE", options->file,
                             "A signed document; default: what is published");
  export_command->add_flag("--signers", options->only_signers,
                           "Print what linchpin-agent run --signers takes");
  SetExamples(export_command, "linchpin pins export --signers > signers.json");
}

}  // namespace linchpin::cli
