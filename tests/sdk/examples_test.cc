// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What a user sees first: the headers and the examples.

#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "tests/sdk/service.h"

namespace linchpin::test {
namespace {

struct Output {
  std::string text;
  int code = -1;
};

Output RunShell(const std::string& command) {
  Output output;
  FILE* pipe = popen(command.c_str(), "r");
  char buffer[4096];
  while (size_t got = fread(buffer, 1, sizeof(buffer), pipe)) output.text.append(buffer, got);
  output.code = WEXITSTATUS(pclose(pipe));
  return output;
}

TEST(PublicHeaders, NeedNeitherGrpcNorProtobufNorOpenSsl) {
  TempDir dir;
  std::ofstream(dir.Join("user.cc")) << "#include \"sdk/connection.h\"\n"
                                        "#include \"sdk/context_source.h\"\n"
                                        "#include \"sdk/tls.h\"\n"
                                        "#include \"sdk/types.h\"\n";
  const Output output =
      RunShell("c++ -std=c++20 -I " LINCHPIN_SOURCE_DIR " -M " + dir.Join("user.cc") + " 2>&1");
  EXPECT_EQ(output.code, 0) << output.text;
  EXPECT_TRUE(absl::StrContains(output.text, "sdk/connection.h"));
  for (absl::string_view word : absl::StrSplit(output.text, absl::ByAnyChar(" \n"))) {
    for (const char* banned : {"/grpc", "/google/protobuf", ".pb.h", "/openssl/", "/trust/"}) {
      EXPECT_FALSE(absl::StrContains(word, banned)) << word;
    }
  }
}

class Process {
 public:
  Process(const std::string& program, const std::vector<std::string>& arguments,
          const std::string& socket, const std::string& output)
      : pid_((fflush(nullptr), fork())) {
    if (pid_ != 0) return;
    setenv("LINCHPIN_AGENT_SOCKET", ("unix://" + socket).c_str(), 1);
    (void)!freopen(output.c_str(), "w", stdout);
    std::vector<char*> argv = {const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(program.c_str(), argv.data());
    _exit(127);
  }
  ~Process() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  const pid_t pid_;
};

TEST(Examples, AClientIsEchoed) {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments(world.Contexts(kPayments));
  TempDir dir;
  const std::string bin = LINCHPIN_BIN_DIR;
  // The server's port is fixed by its command line: try others if one is taken.
  Output output;
  for (int port = 20000 + getpid() % 20000, tries = 0; tries < 50 && output.code != 0; ++tries) {
    const std::string log = dir.Join(absl::StrCat("server", tries));
    Process server(bin + "/echo_server", {absl::StrCat(port + tries)}, payments.socket(), log);
    for (int i = 0; i < 50 && output.code != 0; ++i) {
      output = RunShell(absl::StrCat("LINCHPIN_AGENT_SOCKET=unix://", web.socket(), " ", bin,
                                     "/echo_client 127.0.0.1:", port + tries, " ", kPayments,
                                     " hello 2>&1"));
    }
  }
  EXPECT_EQ(output.code, 0);
  EXPECT_THAT(output.text, ::testing::EndsWith("hello\n"));
}

TEST(Examples, AGrpcClientIsAnsweredAndAStrangerIsRefused) {
  World world;
  Service web(world.Contexts(kWeb));
  Service payments(world.Contexts(kPayments));
  agent::v1::MtlsContexts contexts = world.Contexts(kStranger);
  World::Allow(&contexts, kStranger, kPayments);
  Service stranger(contexts);
  TempDir dir;
  const std::string bin = LINCHPIN_BIN_DIR;
  ASSERT_EQ(mkfifo(dir.Join("says").c_str(), 0600), 0);
  Process server(bin + "/grpc_server", {"0"}, payments.socket(), dir.Join("says"));
  std::ifstream says(dir.Join("says"));
  std::string line;
  ASSERT_TRUE(std::getline(says, line));
  const std::string command = absl::StrCat(
      bin, "/grpc_client 127.0.0.1:", line.substr(line.rfind(' ') + 1), " ", kPayments, " hi 2>&1");
  const Output answered = RunShell("LINCHPIN_AGENT_SOCKET=unix://" + web.socket() + " " + command);
  EXPECT_EQ(answered.code, 0);
  EXPECT_THAT(answered.text, ::testing::EndsWith("say: hi\ntalk: hi\ntalk: hi\ntalk: hi\n"));
  ASSERT_TRUE(std::getline(says, line));
  EXPECT_EQ(line, std::string(kWeb) + " says something");
  const Output refused =
      RunShell("LINCHPIN_AGENT_SOCKET=unix://" + stranger.socket() + " " + command);
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.text, ::testing::HasSubstr("PERMISSION_DENIED: PEER_NOT_ALLOWED"));
}

}  // namespace
}  // namespace linchpin::test
