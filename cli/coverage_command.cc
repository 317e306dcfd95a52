// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// coverage: who holds and enforces a trust epoch or the policy, and what became of each epoch.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/rotation_text.h"
#include "cli/table.h"

namespace linchpin::cli {
namespace {

using ca::v1::CoverageCount;
using ca::v1::EpochCoverage;
using ca::v1::NodeCoverage;

struct CoverageOptions {
  uint64_t epoch = 0;
  bool history = false;
  bool policy = false;
  uint64_t revision = 0;
  uint32_t most = 20;
};

constexpr std::pair<int64_t, const char*> kMarks[] = {
    {1, "1 s"}, {60, "1 min"}, {3600, "1 h"}, {86400, "24 h"}};

std::string EvidenceText(ca::v1::Evidence evidence) {
  switch (evidence) {
    case ca::v1::IN_FORCE:
      return "in force";
    case ca::v1::ACCEPTED:
      return "accepted";
    case ca::v1::RELOADED:
      return "reloaded";
    case ca::v1::DELIVERED:
      return "delivered (assumed)";
    default:
      return "none";
  }
}

std::string Of(uint64_t part, uint64_t whole, const char* what) {
  return absl::StrCat(part, " of ", whole, " ", what);
}

std::string ByEvidence(const CoverageCount& count) {
  std::vector<std::string> parts;
  const auto add = [&](uint64_t number, const char* name) {
    if (number > 0) parts.push_back(absl::StrCat(number, " ", name));
  };
  add(count.in_force(), "in force");
  add(count.accepted(), "accepted");
  add(count.reloaded(), "reloaded");
  add(count.assumed(), "assumed");
  return parts.empty() ? "" : absl::StrCat(" (", absl::StrJoin(parts, ", "), ")");
}

std::string SumText(const ca::v1::Coverage& coverage) {
  const CoverageCount& count = coverage.count();
  return absl::StrCat(coverage.complete() ? "complete" : "incomplete", ", ",
                      Of(count.nodes_covered(), count.nodes(), "nodes"), ", ",
                      Of(count.services_covered(), count.services(), "services"), ByEvidence(count),
                      "\n");
}

// "99.9%"; never "100.0%" unless it is all.
std::string Share(uint64_t part, uint64_t whole) {
  if (part >= whole) return "100%";
  return absl::StrFormat(
      "%.1f%%", std::min(99.9, 100.0 * static_cast<double>(part) / static_cast<double>(whole)));
}

std::string ShareOf(const CoverageCount& count) {
  const std::string nodes = Share(count.nodes_covered(), count.nodes());
  const std::string services = Share(count.services_covered(), count.services());
  return nodes == services ? nodes : absl::StrCat(nodes, "/", services);
}

std::string After(const EpochCoverage& epoch) {
  const int64_t ms = epoch.complete_at_ms() - epoch.began_at_ms();
  return absl::FormatDuration(ms < 60'000 ? absl::Milliseconds(ms)
                                          : absl::Trunc(absl::Milliseconds(ms), absl::Seconds(1)));
}

// What share had it by then.
std::string AtMark(const EpochCoverage& epoch, int64_t after_seconds) {
  for (const ca::v1::CoverageMark& mark : epoch.marks()) {
    if (mark.after_seconds() != after_seconds) continue;
    return mark.has_count() ? ShareOf(mark.count()) : "no CA ran";
  }
  return "-";  // that is still to come
}

std::string ChangesOf(const EpochCoverage& epoch) {
  std::string text = absl::StrJoin(epoch.changes(), "; ");
  if (text.empty()) text = "-";
  return epoch.by().empty() ? text : absl::StrCat(text, " (", epoch.by(), ")");
}

absl::Status ShowHistory(Session& session, const CoverageOptions& options) {
  ca::v1::CoverageHistoryRequest request;
  request.set_most(options.most);
  ASSIGN_OR_RETURN(const ca::v1::CoverageHistory history,
                   CallCa(session, &AdminStub::GetCoverageHistory, request));
  const auto& epochs = history.epochs();
  if (!epochs.empty() && ShareOf(epochs[0].now()) != "100%") session.exit_code = 1;
  if (session.json()) return PrintJson(session, history);
  Table table({"EPOCH", "BEGAN", "1 s", "1 min", "1 h", "24 h", "NOW", "COMPLETE AFTER", "CHANGE"});
  for (const EpochCoverage& epoch : epochs) {
    const bool complete = epoch.complete_at_ms() != 0;
    std::vector<std::string> row = {absl::StrCat(epoch.epoch()),
                                    TimeText(epoch.began_at_ms() / 1000)};
    for (const auto& [seconds, name] : kMarks) row.push_back(AtMark(epoch, seconds));
    row.push_back(ShareOf(epoch.now()));
    row.push_back(complete ? After(epoch) : "-");
    row.push_back(ChangesOf(epoch));
    table.Add(std::move(row));
  }
  session.out << (table.empty() ? "the trust state has not changed yet\n" : table.ToString());
  return absl::OkStatus();
}

void ShowPast(const EpochCoverage& epoch, Session& session) {
  session.out << "since " << TimeText(epoch.began_at_ms() / 1000) << ": "
              << Printable(ChangesOf(epoch)) << "\n";
  std::vector<std::string> shares;
  for (const auto& [seconds, name] : kMarks) {
    const std::string share = AtMark(epoch, seconds);
    if (share != "-") shares.push_back(absl::StrCat(share, " after ", name));
  }
  if (!shares.empty()) session.out << absl::StrJoin(shares, ", ") << "\n";
  if (epoch.complete_at_ms() != 0)
    session.out << "in force everywhere after " << After(epoch) << "\n";
}

std::string StateText(const NodeCoverage& node, bool counts) {
  std::string state = node.connected() ? "connected" : "silent";
  if (!node.connected() && node.last_seen() != 0) {
    state = "silent since " + TimeText(node.last_seen());
  }
  if (node.covered()) return state;
  absl::StrAppend(&state, "; ", node.why_late());
  if (node.late_since() != 0) {
    absl::StrAppend(&state, "; late since ", TimeText(node.late_since()));
  }
  if (!node.connected()) {
    absl::StrAppend(&state, counts ? "; counts until " : "; counts no more since ",
                    TimeText(node.leaves_at()));
  }
  return state;
}

void AddNode(const NodeCoverage& node, bool counts, Table* table) {
  const std::string state = StateText(node, counts) + RelaxedText(node.relaxed_until());
  table->Add({node.node_id(), absl::StrCat(node.epoch_held()), YesNo(node.covered()), state});
  for (const ca::v1::Consumer& consumer : node.consumers()) {
    table->Add({"  " + consumer.spiffe_id(), absl::StrCat(consumer.trust_epoch()),
                EvidenceText(consumer.evidence()), consumer.consumer_id()});
  }
}

void AddPolicyOf(const NodeCoverage& node, bool counts, Table* table) {
  table->Add({node.node_id(), absl::StrCat(node.revision_held()), YesNo(node.covered()),
              StateText(node, counts)});
  for (const ca::v1::Consumer& service : node.consumers()) {
    table->Add({"  " + service.spiffe_id(), service.current() ? "now's" : "not shown",
                EvidenceText(service.evidence()), service.consumer_id()});
  }
}

std::string UnknownText(const ca::v1::Coverage& coverage) {
  if (coverage.unknown_until() == 0) return "";
  return absl::StrCat("put back from a copy, ", TimeText(coverage.restored_at()),
                      ": nodes that it does not know are not shown, and nobody is counted out, "
                      "until ",
                      TimeText(coverage.unknown_until()),
                      ", when all that was issued since the copy has expired\n");
}

absl::Status ShowPolicy(Session& session, const CoverageOptions& options) {
  ca::v1::CoverageRequest request;
  request.set_policy(true);
  request.set_revision(options.revision);
  ASSIGN_OR_RETURN(const ca::v1::Coverage coverage,
                   CallCa(session, &AdminStub::GetCoverage, request));
  session.exit_code = coverage.complete() ? 0 : 1;
  if (session.json()) return PrintJson(session, coverage);
  session.out << "policy of revision " << coverage.revision() << ": " << SumText(coverage)
              << UnknownText(coverage);
  Table table({"NODE", "RULES", "COVERED", "STATE"});
  for (const NodeCoverage& node : coverage.nodes()) AddPolicyOf(node, true, &table);
  for (const NodeCoverage& node : coverage.left()) AddPolicyOf(node, false, &table);
  if (!table.empty()) session.out << table.ToString();
  return absl::OkStatus();
}

absl::Status ShowCoverage(Session& session, const CoverageOptions& options) {
  if (options.history) return ShowHistory(session, options);
  if (options.policy) return ShowPolicy(session, options);
  ca::v1::CoverageRequest request;
  request.set_epoch(options.epoch);
  ASSIGN_OR_RETURN(const ca::v1::Coverage coverage,
                   CallCa(session, &AdminStub::GetCoverage, request));
  session.exit_code = coverage.complete() ? 0 : 1;
  if (session.json()) return PrintJson(session, coverage);
  session.out << "trust epoch " << coverage.epoch() << ": " << SumText(coverage)
              << UnknownText(coverage);
  if (coverage.has_history()) ShowPast(coverage.history(), session);
  Table table({"NODE", "EPOCH", "COVERED", "STATE"});
  for (const NodeCoverage& node : coverage.nodes()) AddNode(node, true, &table);
  for (const NodeCoverage& node : coverage.left()) AddNode(node, false, &table);
  if (!table.empty()) session.out << table.ToString();
  session.out << CanaryText(coverage.backups());
  return absl::OkStatus();
}

}  // namespace

void AddCoverageCommand(CLI::App& app, Session& session) {
  auto options = std::make_shared<CoverageOptions>();
  CLI::App* coverage = AddCommand(
      app, session, "coverage",
      "Which nodes hold and which services enforce a trust epoch or the policy; exits 1 while "
      "incomplete",
      [&session, options] { return ShowCoverage(session, *options); });
  CLI::Option* epoch = coverage->add_option("--epoch", options->epoch,
                                            "The trust epoch to ask for; default: the current one");
  CLI::Option* history = coverage->add_flag(
      "--history", options->history,
      "What share of nodes (and services, where it differs) had each change, and when");
  history->excludes(epoch);
  CLI::Option* policy = coverage->add_flag(
      "--policy", options->policy,
      "Instead of a trust epoch: which nodes hold and which services enforce the policy");
  policy->excludes(epoch)->excludes(history);
  coverage
      ->add_option("--revision", options->revision,
                   "Of the policy, as policy allow says it; default: the last that changed it")
      ->needs(policy);
  coverage->add_option("-n,--lines", options->most, "Of the history: how many epochs")
      ->check(CLI::Range(1, 200))
      ->capture_default_str();
  SetExamples(coverage,
              "linchpin coverage\nuntil linchpin coverage --epoch 7; do sleep 1; done\n"
              "linchpin coverage --history\nlinchpin coverage --policy");
}

}  // namespace linchpin::cli
