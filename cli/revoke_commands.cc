// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// revoke, revocations; node ban.
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/hex.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/table.h"
#include "x509/spki_pin.h"

namespace linchpin::cli {
namespace {

struct RevokeOptions {
  std::string id;
  std::string before;
  std::string serial;
  std::string key;
  std::string node;
  std::string reason;
};

// "A1B2…", as the log shows it; with or without colons.
absl::StatusOr<std::string> SerialBytes(const std::string& text) {
  const std::optional<std::string> said = base::BytesOfHex(absl::StrReplaceAll(text, {{":", ""}}));
  std::string bytes = said && said->size() <= 20 ? *said : "";
  bytes.erase(0, bytes.find_first_not_of('\0'));
  if (!bytes.empty()) return bytes;
  return UsageError(absl::StrCat("--serial ", text,
                                 " is no serial of 1 to 20 bytes in hexadecimal; linchpin log tail "
                                 "shows those that were issued"));
}

absl::StatusOr<int64_t> Instant(const std::string& text) {
  absl::Time time;
  std::string error;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return absl::ToUnixSeconds(time);
  return UsageError(
      absl::StrCat("--before ", text, " is no instant like 2026-01-31T12:00:00Z: ", error));
}

absl::StatusOr<ca::v1::RevokeRequest> RequestOf(const Session& session,
                                                const RevokeOptions& options) {
  ca::v1::RevokeRequest request;
  request.set_reason(options.reason);
  if (!options.id.empty()) {
    request.set_spiffe_id(options.id);
    if (options.before.empty()) return request;
    ASSIGN_OR_RETURN(const int64_t before, Instant(options.before));
    request.set_before(before);
  } else if (!options.serial.empty()) {
    ASSIGN_OR_RETURN(*request.mutable_serial(), SerialBytes(options.serial));
  } else if (!options.key.empty()) {
    const absl::StatusOr<x509::SpkiPin> pin = x509::SpkiPin::Parse(options.key);
    if (!pin.ok()) return UsageError(absl::StrCat("--key: ", pin.status().message()));
    request.set_key_sha256(pin->bytes());
  } else {
    ASSIGN_OR_RETURN(*request.mutable_node_id(), NodeIdOf(session, options.node));
  }
  return request;
}

absl::Status BanNode(Session& session, const std::string& node_id) {
  ca::v1::NodeRequest request;
  request.set_node_id(node_id);
  return CallCa(session, &AdminStub::BanNode, request).status();
}

absl::Status Revoke(Session& session, const RevokeOptions& options) {
  ASSIGN_OR_RETURN(const ca::v1::RevokeRequest request, RequestOf(session, options));
  // First, so that nothing more leaves through it.
  if (request.has_node_id()) RETURN_IF_ERROR(BanNode(session, request.node_id()));
  ASSIGN_OR_RETURN(const ca::v1::Revoked revoked, CallCa(session, &AdminStub::Revoke, request));
  if (session.json()) return PrintJson(session, revoked);
  if (request.has_node_id()) session.out << request.node_id() << " is banned\n";
  if (revoked.entries() == 0) {
    session.out << "nothing of it is valid any more: there is nothing to revoke\n";
    return absl::OkStatus();
  }
  session.out << "revoked with trust epoch " << revoked.trust_epoch() << " (" << revoked.entries()
              << (revoked.entries() == 1 ? " entry" : " entries") << ", which lapse"
              << (revoked.entries() == 1 ? "s" : "") << " at " << TimeText(revoked.lapses_at())
              << "); linchpin coverage --epoch " << revoked.trust_epoch()
              << " says where it is in force\n";
  return absl::OkStatus();
}

absl::Status Ban(Session& session, const std::string& node, bool revoke) {
  if (revoke) return Revoke(session, {.node = node});
  ca::v1::NodeRequest request;
  ASSIGN_OR_RETURN(*request.mutable_node_id(), NodeIdOf(session, node));
  ASSIGN_OR_RETURN(const ca::v1::Node banned, CallCa(session, &AdminStub::BanNode, request));
  if (session.json()) return PrintJson(session, banned);
  session.out << banned.node_id() << " is banned\n";
  return absl::OkStatus();
}

absl::Status List(Session& session) {
  ASSIGN_OR_RETURN(const ca::v1::RevocationList list,
                   CallCa(session, &AdminStub::ListRevocations, ca::v1::ListRevocationsRequest()));
  if (session.json()) return PrintJson(session, list);
  Table table({"REVOKED", "AT", "ENTRIES", "LAPSES AT", "REASON"});
  for (const ca::v1::RevocationGroup& group : list.groups()) {
    table.Add({group.what(), TimeText(group.revoked_at()), absl::StrCat(group.entries()),
               TimeText(group.lapses_at()), group.reason().empty() ? "-" : group.reason()});
  }
  session.out << (table.empty() ? "nothing is revoked\n" : table.ToString());
  return absl::OkStatus();
}

}  // namespace

void AddRevokeCommands(CLI::App& app, Session& session) {
  auto options = std::make_shared<RevokeOptions>();
  CLI::App* revoke = AddCommand(app, session, "revoke",
                                "Deny certificates that are still valid, everywhere and at once",
                                [&session, options] { return Revoke(session, *options); });
  CLI::Option_group* what = revoke->add_option_group("what", "One of:");
  CLI::Option* id = what->add_option(
      "--id", options->id, "All of a SPIFFE ID issued until now; its services get new ones");
  what->add_option("--serial", options->serial, "One certificate, by its serial");
  what->add_option("--key", options->key, "All with this key, as a leaf's or as its issuer's");
  what->add_option("--node", options->node, "All issued through a node, which is banned as well");
  what->require_option(1);
  revoke->add_option("--before", options->before, "With --id: what was issued until then only")
      ->needs(id);
  revoke->add_option("--reason", options->reason, "Told to whoever is refused");
  SetExamples(revoke,
              "linchpin revoke --id spiffe://example.org/web --reason 'key in a core dump'\n"
              "linchpin revoke --serial 4A0B...\nlinchpin revoke --node web-1");
  CLI::App* list = AddCommand(app, session, "revocations", "List what is revoked, and how long",
                              [&session] { return List(session); });
  SetExamples(list, "linchpin revocations -o json");
}

void AddBanCommand(CLI::App& group, Session& session) {
  auto node = std::make_shared<std::string>();
  auto revoke = std::make_shared<bool>(false);
  CLI::App* ban =
      AddCommand(group, session, "ban",
                 "Refuse a node from now on; what was issued through it lives until it expires",
                 [&session, node, revoke] { return Ban(session, *node, *revoke); });
  ban->add_option("NODE,--node", *node, "Its name or its SPIFFE ID")->required();
  ban->add_flag("--revoke", *revoke, "Deny what was issued through it as well, everywhere");
  SetExamples(ban, "linchpin node ban web-1\nlinchpin node ban web-1 --revoke");
}

}  // namespace linchpin::cli
