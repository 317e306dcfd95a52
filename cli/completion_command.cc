// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// completion bash, zsh: made from the command line itself, so that it cannot fall behind.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/commands.h"

namespace linchpin::cli {
namespace {

std::vector<std::string> WordsOf(const CLI::App& command) {
  std::vector<std::string> words;
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    words.push_back(sub->get_name());
  }
  for (const CLI::App* at = &command; at != nullptr; at = at->get_parent()) {
    for (const CLI::Option* option : at->get_options()) {
      for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
    }
  }
  return words;
}

// One `path) words` of the case statement for a command and each below it.
void AppendCases(const CLI::App& command, const std::string& path, std::string* out) {
  absl::StrAppend(out, "    '", path, "') choices='", absl::StrJoin(WordsOf(command), " "),
                  "' ;;\n");
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    AppendCases(*sub, path.empty() ? sub->get_name() : absl::StrCat(path, " ", sub->get_name()),
                out);
  }
}

std::string Script(const CLI::App& app, bool zsh) {
  std::string cases;
  AppendCases(app, "", &cases);
  return absl::StrCat(zsh ? "#compdef linchpin\nautoload -U +X bashcompinit && bashcompinit\n" : "",
                      "_linchpin() {\n"
                      "  local choices='' path='' i word\n"
                      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
                      "    word=${COMP_WORDS[i]}\n"
                      "    case $word in\n"
                      "    --admin-socket | --socket | -o | --output) ((i++)) ;;\n"
                      "    -*) break ;;\n"
                      "    *) path=${path:+$path }$word ;;\n"
                      "    esac\n"
                      "  done\n"
                      "  case $path in\n",
                      cases,
                      "  esac\n"
                      "  COMPREPLY=($(compgen -W \"$choices\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
                      "}\n"
                      "complete -o default -F _linchpin linchpin\n");
}

}  // namespace

void AddCompletionCommand(CLI::App& app, Session& session) {
  CLI::App* group = AddGroup(app, "completion", "Print what lets a shell complete this command");
  for (const std::string shell : {"bash", "zsh"}) {
    CLI::App* command =
        AddCommand(*group, session, shell, absl::StrCat("For ", shell), [&app, &session, shell] {
          session.out << Script(app, shell == "zsh");
          return absl::OkStatus();
        });
    SetExamples(command, absl::StrCat("source <(linchpin completion ", shell, ")"));
  }
}

}  // namespace linchpin::cli
