// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/pins_files.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/config_file.h"
#include "base/durable_file.h"
#include "cli/admin_client.h"
#include "cli/key_files.h"
#include "cli/output.h"
#include "trust/freshness.h"

namespace linchpin::cli {
namespace {

struct RelaxOptions {
  std::string set;
  std::string key;
  std::string until;
  std::string longest;
  std::string out;
};

// "2027-01-31" (its beginning, UTC) or RFC 3339.
absl::StatusOr<absl::Time> ParseTime(const std::string& text, const std::string& option) {
  absl::Time time;
  std::string error;
  if (absl::ParseTime("%Y-%m-%d", text, absl::UTCTimeZone(), &time, &error) ||
      absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return time;
  }
  return UsageError(
      absl::StrCat(option, ": '", text, "' is no time: write 2027-01-31 or 2027-01-31T03:00:00Z"));
}

absl::Status Relax(Session& session, const RelaxOptions& options) {
  ASSIGN_OR_RETURN(const PinSetDocument set, NamedOrPublished(session, options.set));
  RelaxRequest request;
  ASSIGN_OR_RETURN(request.latest, ParseTime(options.until, "--until"));
  ASSIGN_OR_RETURN(request.longest, base::ParseDuration(options.longest, "--for"));
  const absl::Time now = session.clock.Now();
  ASSIGN_OR_RETURN(const RelaxDocument document, DraftRelax(set.signed_set, request, now));
  RETURN_IF_ERROR(base::WriteFileDurably(options.out, EncodeRelaxDocument(document), 0644));
  if (session.json()) return PrintJson(session, document.relax);
  session.out << DescribeRelax(document, now) << "written to " << options.out
              << "; next: linchpin pins sign --key KEY " << options.out
              << ", then keep it where the CA cannot reach it\n";
  return absl::OkStatus();
}

absl::Status Fresh(Session& session, const RelaxOptions& options) {
  ASSIGN_OR_RETURN(const PinSetDocument set, NamedOrPublished(session, options.set));
  ASSIGN_OR_RETURN(const x509::PrivateKey key, ReadPrivateKeyFile(options.key));
  ASSIGN_OR_RETURN(const absl::Duration life, base::ParseDuration(options.longest, "--for"));
  const absl::Time now = session.clock.Now();
  FreshnessDocument made;
  made.statement.set_trust_domain(set.set.trust_domain.name());
  made.statement.set_version(set.set.message.version());
  made.statement.set_issued_at(absl::ToUnixSeconds(now));
  made.statement.set_expires_at(absl::ToUnixSeconds(now + life));
  made.document = trust::SignFreshness(made.statement, key);
  RETURN_IF_ERROR(trust::VerifyFreshness(set.set.message, made.document).status());
  RETURN_IF_ERROR(base::WriteFileDurably(options.out, EncodeFreshnessDocument(made), 0644));
  if (session.json()) return PrintJson(session, made.statement);
  session.out << DescribeFreshness(made, now) << "written to " << options.out
              << "; next: linchpin pins publish " << options.out << "\n";
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AnyDocument> ReadAnyDocument(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path, kMaxPinSetDocument));
  const absl::StatusOr<Json> json = ParseUnambiguous(text);
  const std::string kind = json.ok() ? DocumentKind(*json) : "";
  if (kind == "linchpin_relax") return DecodeRelaxDocument(text, path);
  if (kind == "linchpin_freshness") return DecodeFreshnessDocument(text, path);
  return DecodePinSetDocument(text, path);
}

absl::StatusOr<PinSetDocument> ReadPinSetDocument(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path, kMaxPinSetDocument));
  return DecodePinSetDocument(text, path);
}

absl::StatusOr<trust::v1::TrustState> TrustOfCa(const Session& session) {
  return CallCa(session, &AdminStub::GetTrust, ca::v1::GetTrustStateRequest());
}

absl::StatusOr<std::optional<PinSetDocument>> PublishedOf(const trust::v1::TrustState& state) {
  if (state.pin_sets().empty()) return std::nullopt;
  return MakePinSetDocument(*state.pin_sets().rbegin());
}

absl::StatusOr<PinSetDocument> NamedOrPublished(const Session& session, const std::string& file) {
  if (!file.empty()) return ReadPinSetDocument(file);
  ASSIGN_OR_RETURN(const trust::v1::TrustState state, TrustOfCa(session));
  ASSIGN_OR_RETURN(std::optional<PinSetDocument> published, PublishedOf(state));
  if (published.has_value()) return *std::move(published);
  return absl::NotFoundError(
      "no pin set is published: agents with --ca-pin enforce set 0, which is unsigned; begin with "
      "linchpin pins keygen and linchpin pins draft");
}

void AddRelaxCommands(CLI::App& group, Session& session) {
  auto options = std::make_shared<RelaxOptions>();
  options->longest = "24h";
  CLI::App* relax = AddCommand(group, session, "relax",
                               "Write a document that, signed and played, relaxes one pin set",
                               [&session, options] { return Relax(session, *options); });
  relax->add_option("--set", options->set, "The signed set's file; default: the published set");
  relax->add_option("--until", options->until, "Never played later, e.g. 2027-01-31")->required();
  relax->add_option("--for", options->longest, "How long a node honours it at most, 1m to 168h")
      ->check(CheckDuration)
      ->required();
  relax->add_option("--out", options->out, "The file to write")->required();
  SetExamples(relax,
              "linchpin pins relax --until 2027-01-31 --for 6h --out relax-3.json\n"
              "linchpin pins sign --key alice.key relax-3.json\n"
              "linchpin pins publish relax-3.json");

  CLI::App* fresh = AddCommand(group, session, "fresh",
                               "Say that the published set is the newest, with the freshness key",
                               [&session, options] { return Fresh(session, *options); });
  fresh->add_option("--key", options->key, "The key file that pins draft --freshness-key named")
      ->required();
  fresh->add_option("--set", options->set, "The newest set's file; default: the published set");
  fresh->add_option("--for", options->longest, "How long it is good, at most 744h")
      ->check(CheckDuration)
      ->capture_default_str();
  fresh->add_option("--out", options->out, "The file to write")->required();
  SetExamples(fresh,
              "linchpin pins fresh --key clerk.key --set pins-3.json --for 24h --out fresh.json\n"
              "linchpin pins publish fresh.json");
}

}  // namespace linchpin::cli
