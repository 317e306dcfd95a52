// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// rotate prepare, distribute, draft, activate, drain, drop, abort, status.
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/config_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/pause.h"
#include "cli/rotation_text.h"

namespace linchpin::cli {
namespace {

using ca::v1::RotateRequest;
using ca::v1::Rotation;

struct RotateOptions {
  std::string what;
  std::string on_deadline;
  std::vector<std::string> except;
  bool wait = false;
  std::string timeout = "24h";
};

absl::StatusOr<Rotation> GetRotation(const Session& session) {
  return CallCa(session, &AdminStub::GetRotation, ca::v1::GetRotationRequest());
}

absl::Status Show(Session& session, const Rotation& rotation) {
  if (session.json()) return PrintJson(session, rotation);
  session.out << RotationText(rotation, session.clock.Now());
  return absl::OkStatus();
}

absl::Status Status(Session& session) {
  ASSIGN_OR_RETURN(const Rotation rotation, GetRotation(session));
  RETURN_IF_ERROR(Show(session, rotation));
  if (!session.json()) session.out << CanaryText(rotation.backups());
  return absl::OkStatus();
}

// Says what is waited for, once each; DEADLINE_EXCEEDED when the time is over.
class Patience {
 public:
  static absl::StatusOr<Patience> Of(const RotateOptions& options, const Session& session) {
    ASSIGN_OR_RETURN(const absl::Duration timeout,
                     base::ParseDuration(options.timeout, "--timeout"));
    return Patience(options.timeout, session.clock.Uptime() + timeout);
  }
  absl::Status Wait(Session& session, const std::string& what) {
    if (what != said_) session.err << "linchpin: waits: " << what << std::endl;
    said_ = what;
    if (session.clock.Uptime() >= deadline_) {
      return absl::DeadlineExceededError(absl::StrCat("after ", timeout_, " still waiting: ", what,
                                                      "; see linchpin rotate status"));
    }
    Pause(absl::Milliseconds(200));
    return absl::OkStatus();
  }

 private:
  Patience(std::string timeout, absl::Duration deadline)
      : timeout_(std::move(timeout)), deadline_(deadline) {}
  std::string timeout_;
  absl::Duration deadline_;
  std::string said_;
};

// Asks again while the gate is closed, of which only the CA knows what it waits for.
absl::StatusOr<Rotation> AskUntilOpen(Session& session, const RotateRequest& request,
                                      const RotateOptions& options) {
  ASSIGN_OR_RETURN(Patience patience, Patience::Of(options, session));
  while (true) {
    absl::StatusOr<Rotation> rotation = CallCa(session, &AdminStub::Rotate, request);
    if (rotation.ok() || !absl::StrContains(rotation.status().message(), "the gate is closed")) {
      return rotation;
    }
    RETURN_IF_ERROR(patience.Wait(session, std::string(rotation.status().message())));
  }
}

// Until the step that was asked for is in force; signatures may be waited for first.
absl::StatusOr<Rotation> WaitUntilInForce(Session& session, RotateRequest::Action action,
                                          const RotateOptions& options) {
  const bool drop = action == RotateRequest::DROP;
  ASSIGN_OR_RETURN(Patience patience, Patience::Of(options, session));
  while (true) {
    ASSIGN_OR_RETURN(const Rotation rotation, GetRotation(session));
    const ca::v1::RotationStep step = rotation.step();
    const bool under_way =
        drop ? step == ca::v1::AWAITING_SIGNATURES_TO_DROP || step == ca::v1::DROPPED
             : step == ca::v1::AWAITING_SIGNATURES_TO_DISTRIBUTE || step == ca::v1::DISTRIBUTED;
    if (!under_way || rotation.waits_for().empty()) return rotation;
    RETURN_IF_ERROR(patience.Wait(session, rotation.waits_for()));
  }
}

absl::StatusOr<RotateRequest> RequestOf(const Session& session, RotateRequest::Action action,
                                        const RotateOptions& options) {
  RotateRequest request;
  request.set_action(action);
  request.set_what(options.what);
  request.set_on_deadline(options.on_deadline);
  for (const std::string& node : options.except) {
    ASSIGN_OR_RETURN(*request.add_except(), NodeIdOf(session, node));
  }
  return request;
}

// Gates are before activate and drain, and after distribute and drop.
bool WaitsFirst(RotateRequest::Action action) {
  return action == RotateRequest::ACTIVATE || action == RotateRequest::DRAIN;
}

absl::Status Rotate(Session& session, RotateRequest::Action action, const RotateOptions& options) {
  ASSIGN_OR_RETURN(const RotateRequest request, RequestOf(session, action, options));
  if (options.wait && WaitsFirst(action)) {
    ASSIGN_OR_RETURN(const Rotation rotation, AskUntilOpen(session, request, options));
    return Show(session, rotation);
  }
  ASSIGN_OR_RETURN(Rotation rotation, CallCa(session, &AdminStub::Rotate, request));
  if (options.wait) {
    ASSIGN_OR_RETURN(rotation, WaitUntilInForce(session, action, options));
  }
  return Show(session, rotation);
}

// A file for the signers; publishing it is what moves the rotation on.
absl::Status DraftSet(Session& session, const std::string& out,
                      const std::vector<std::string>& backup_keys) {
  ASSIGN_OR_RETURN(const Rotation rotation, GetRotation(session));
  switch (rotation.step()) {
    case ca::v1::PREPARED:
    case ca::v1::AWAITING_SIGNATURES_TO_DISTRIBUTE:
    case ca::v1::AWAITING_SIGNATURES_TO_DROP:
    case ca::v1::AWAITING_SIGNATURES_TO_RESTORE:
      break;
    default:
      return absl::FailedPreconditionError(
          absl::StrCat("the rotation is ", StepText(rotation.step()),
                       " and waits for no pin set; see linchpin rotate status"));
  }
  if (rotation.what() == "signers") {
    return absl::FailedPreconditionError(
        "who is to sign? linchpin pins draft --signer FILE... --threshold K --out FILE");
  }
  return DraftNextPins(session, out, backup_keys);
}

struct Step {
  RotateRequest::Action action;
  std::string name;
  std::string description;
  std::string examples;
};

CLI::App* AddStep(CLI::App& group, Session& session, const Step& step,
                  const std::shared_ptr<RotateOptions>& options) {
  CLI::App* command = AddCommand(
      group, session, step.name, step.description,
      [&session, action = step.action, options] { return Rotate(session, action, *options); });
  SetExamples(command, step.examples);
  return command;
}

void AddExcept(CLI::App* command, RotateOptions& options) {
  command->add_option(
      "--except", options.except,
      "A node that no gate waits for from now on; recorded. @unknown: those that a store "
      "which was put back from a copy does not know");
}

void AddWait(CLI::App* command, RotateOptions& options, const std::string& what) {
  command->add_flag("--wait", options.wait, what);
  command->add_option("--timeout", options.timeout, "How long to wait at most")
      ->check(CheckDuration)
      ->capture_default_str();
}

void AddPrepare(CLI::App& group, Session& session, const std::shared_ptr<RotateOptions>& options) {
  CLI::App* prepare = AddStep(
      group, session,
      {RotateRequest::PREPARE, "prepare", "Make the new key and certificate; nobody trusts it yet",
       "linchpin rotate prepare --what issuer\n"
       "linchpin rotate prepare --what root --on-deadline hold"},
      options);
  prepare->add_option("--what", options->what, "issuer, root or signers")
      ->check(CLI::IsMember({"issuer", "root", "signers"}))
      ->required();
  prepare
      ->add_option(
          "--on-deadline", options->on_deadline,
          "When the old issuer's life ends: hold (default) keeps the gate, proceed does not")
      ->check(CLI::IsMember({"hold", "proceed"}));
}

void AddDraft(CLI::App& group, Session& session) {
  auto out = std::make_shared<std::string>();
  auto backup_keys = std::make_shared<std::vector<std::string>>();
  CLI::App* draft = AddCommand(
      group, session, "draft", "Write the pin set that the rotation waits for, for its signers",
      [&session, out, backup_keys] { return DraftSet(session, *out, *backup_keys); });
  draft->add_option("--out", *out, "The file to write")->required();
  draft->add_option("--backup-key", *backup_keys,
                    "Key file of a backup issuer that is kept apart from the CA, to prove it");
  SetExamples(draft,
              "linchpin rotate draft --out pins-2.json\n"
              "linchpin pins sign --key alice.key pins-2.json\n"
              "linchpin pins publish pins-2.json");
}

// Of the rotation that is under way, whose step stays.
void AddOnDeadline(CLI::App& group, Session& session) {
  auto options = std::make_shared<RotateOptions>();
  CLI::App* command = AddCommand(
      group, session, "on-deadline",
      "Decide anew what happens when the old issuer's life ends and the gate is still closed",
      [&session, options] { return Rotate(session, RotateRequest::ACTION_UNSPECIFIED, *options); });
  command->add_option("THEN", options->on_deadline, "hold: wait on; proceed: activate all the same")
      ->check(CLI::IsMember({"hold", "proceed"}))
      ->required();
  SetExamples(command, "linchpin rotate on-deadline hold && linchpin rotate status");
}

}  // namespace

void AddRotateCommands(CLI::App& app, Session& session) {
  CLI::App* group =
      AddGroup(app, "rotate", "Replace the issuer, the root or the signers, one gated step a time");
  auto options = std::make_shared<RotateOptions>();
  AddPrepare(*group, session, options);
  CLI::App* distribute =
      AddStep(*group, session,
              {RotateRequest::DISTRIBUTE, "distribute", "Have every node trust the new key",
               "linchpin rotate distribute --wait"},
              options);
  AddWait(distribute, *options, "Return when it is in force everywhere");
  AddDraft(*group, session);
  CLI::App* activate =
      AddStep(*group, session,
              {RotateRequest::ACTIVATE, "activate",
               "Issue from the new issuer; refused until the new key is in force everywhere",
               "linchpin rotate activate --wait\nlinchpin rotate activate --except web-7"},
              options);
  AddExcept(activate, *options);
  AddWait(activate, *options, "Wait until the gate is open");
  CLI::App* drain =
      AddStep(*group, session,
              {RotateRequest::DRAIN, "drain",
               "Go on once no certificate of the old issuer is valid any more; refused until then",
               "linchpin rotate drain --wait"},
              options);
  AddWait(drain, *options, "Wait until the last one has expired");
  CLI::App* drop =
      AddStep(*group, session,
              {RotateRequest::DROP, "drop", "Take the old key out of everybody's trust",
               "linchpin rotate drop --wait"},
              options);
  AddExcept(drop, *options);
  AddWait(drop, *options, "Return when nobody trusts it any more");
  CLI::App* abort =
      AddStep(*group, session,
              {RotateRequest::ABORT, "abort",
               "Take back the last step; again, the one before; everybody stays served",
               "linchpin rotate abort && linchpin rotate status"},
              options);
  AddExcept(abort, *options);
  AddOnDeadline(*group, session);
  CLI::App* status =
      AddCommand(*group, session, "status", "Where the rotation is, what it waits for, what to do",
                 [&session] { return Status(session); });
  SetExamples(status, "linchpin rotate status\nlinchpin rotate status -o json");
}

}  // namespace linchpin::cli
