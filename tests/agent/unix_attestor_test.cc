// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/unix_attestor.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rpc/unix_peer.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"
#include "x509/digest.h"

namespace linchpin::test {
namespace {

using agent::Attested;
using agent::PeerProcess;
using agent::UnixAttestor;
using ::testing::Contains;
using ::testing::Not;
using ::testing::StartsWith;

// A program that runs until its standard input ends.
class Child {
 public:
  // `prepare` runs in the child before the program does.
  explicit Child(
      const std::string& program, const std::function<bool()>& prepare = [] { return true; },
      std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), program);
    std::vector<char*> words;
    for (std::string& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    int in[2];
    int ready[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(ready, O_CLOEXEC) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], 0);
      if (prepare()) execv(program.c_str(), words.data());
      (void)!write(ready[1], "x", 1);
      _exit(127);
    }
    close(in[0]);
    close(ready[1]);
    input_ = in[1];
    char byte;
    failed_ = read(ready[0], &byte, 1) != 0;  // ends when the program was executed
    close(ready[0]);
  }
  ~Child() { End(); }

  void End() {
    if (pid_ < 0) return;
    close(input_);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    ended_ = true;
  }
  bool failed() const { return failed_; }
  void Say(const std::string& text) const {
    ASSERT_EQ(write(input_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  PeerProcess peer() const {
    return {.pid = pid_, .uid = 1234567, .gid = 7654321, .start_time = 42, .is_alive = [this] {
              return !ended_;
            }};
  }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  bool ended_ = false;
  bool failed_ = false;
};

std::string CopyOfCat(const TempDir& dir, const std::string& name) {
  const std::string path = dir.Join(name);
  std::filesystem::copy_file("/bin/cat", path);
  return path;
}

std::string HashOf(const std::string& path) {
  return absl::BytesToHexString(x509::Sha256(*base::ReadFile(path, 64 << 20)));
}

TEST(UnixAttestor, SaysUidGidPathAndHashOfARunningProgram) {
  TempDir dir;
  const Child child(CopyOfCat(dir, "web"));
  UnixAttestor attestor;
  ASSERT_OK_AND_ASSIGN(const Attested seen, attestor.Attest(child.peer(), true));
  EXPECT_THAT(seen.selectors, Contains("unix:uid:1234567"));
  EXPECT_THAT(seen.selectors, Contains("unix:gid:7654321"));
  EXPECT_THAT(seen.selectors, Contains("unix:path:" + dir.Join("web")));
  EXPECT_THAT(seen.selectors, Contains("unix:sha256:" + HashOf(dir.Join("web"))));
  EXPECT_THAT(seen.process, ::testing::EndsWith(".42"));
  ASSERT_OK_AND_ASSIGN(const Attested again, attestor.Attest(child.peer(), true));
  EXPECT_EQ(again.selectors, seen.selectors);
}

TEST(UnixAttestor, SaysTheSameAtOnceWhereNobodyHasToBeWaitedFor) {
  TempDir dir;
  const Child child(CopyOfCat(dir, "web"));
  UnixAttestor attestor;
  EXPECT_FALSE(attestor.AttestAtOnce(child.peer(), false).has_value()) << "the names are asked for";
  ASSERT_OK_AND_ASSIGN(const Attested seen, attestor.Attest(child.peer(), false));
  const auto at_once = attestor.AttestAtOnce(child.peer(), false);
  ASSERT_TRUE(at_once.has_value() && at_once->ok());
  EXPECT_EQ((*at_once)->selectors, seen.selectors);
  EXPECT_EQ((*at_once)->process, seen.process);
  EXPECT_FALSE(attestor.AttestAtOnce(child.peer(), true).has_value()) << "a hash is read";
  // Whatever is out of the ordinary is looked at thoroughly.
  std::filesystem::rename(dir.Join("web"), dir.Join("moved"));
  std::filesystem::copy_file("/bin/cat", dir.Join("web"));
  std::filesystem::remove(dir.Join("moved"));
  EXPECT_FALSE(attestor.AttestAtOnce(child.peer(), false).has_value());
}

TEST(UnixAttestor, HashesOnlyWhenARegistrationAsksForIt) {
  TempDir dir;
  const Child child(CopyOfCat(dir, "web"));
  UnixAttestor attestor;
  ASSERT_OK_AND_ASSIGN(const Attested seen, attestor.Attest(child.peer(), false));
  EXPECT_THAT(seen.selectors, Not(Contains(StartsWith("unix:sha256:"))));
}

TEST(UnixAttestor, NamesTheUserAndGroupWhereTheyHaveNames) {
  TempDir dir;
  const Child child(CopyOfCat(dir, "web"));
  PeerProcess peer = child.peer();
  peer.uid = 0;
  peer.gid = 0;
  UnixAttestor attestor;
  ASSERT_OK_AND_ASSIGN(const Attested seen, attestor.Attest(peer, false));
  EXPECT_THAT(seen.selectors, Contains("unix:user:root"));
  EXPECT_THAT(seen.selectors, Contains("unix:group:root"));
}

TEST(UnixAttestor, ADeletedProgramHasNoPathButItsHash) {
  TempDir dir;
  const std::string path = CopyOfCat(dir, "web");
  const std::string hash = HashOf(path);
  const Child child(path);
  std::filesystem::remove(path);
  UnixAttestor attestor;
  ASSERT_OK_AND_ASSIGN(const Attested seen, attestor.Attest(child.peer(), true));
  EXPECT_THAT(seen.selectors, Not(Contains(StartsWith("unix:path:"))));
  EXPECT_THAT(seen.selectors, Contains("unix:sha256:" + hash));
}

TEST(UnixAttestor, AProgramIsNotTakenForTheFileThatReplacedIt) {
  TempDir dir;
  const std::string path = CopyOfCat(dir, "web");
  const std::string hash = HashOf(path);
  const Child child(path);
  ASSERT_OK(base::WriteFileDurably(path, "#!/bin/sh\n", 0755));  // renames over it
  UnixAttestor attestor;
  ASSERT_OK_AND_ASSIGN(const Attested seen, attestor.Attest(child.peer(), true));
  EXPECT_THAT(seen.selectors, Not(Contains(StartsWith("unix:path:"))));
  EXPECT_THAT(seen.selectors, Contains("unix:sha256:" + hash));
}

TEST(UnixAttestor, AProgramCalledDeletedHasNoPath) {
  TempDir dir;
  const Child child(CopyOfCat(dir, "web (deleted)"));
  UnixAttestor attestor;
  ASSERT_OK_AND_ASSIGN(const Attested seen, attestor.Attest(child.peer(), false));
  EXPECT_THAT(seen.selectors, Not(Contains(StartsWith("unix:path:"))));
}

TEST(UnixAttestor, ASymbolicLinkIsTheProgramThatItNames) {
  TempDir dir;
  const std::string path = CopyOfCat(dir, "web");
  std::filesystem::create_symlink(path, dir.Join("link"));
  const Child child(dir.Join("link"));
  UnixAttestor attestor;
  ASSERT_OK_AND_ASSIGN(const Attested seen, attestor.Attest(child.peer(), false));
  EXPECT_THAT(seen.selectors, Contains("unix:path:" + path));
  EXPECT_THAT(seen.selectors, Not(Contains("unix:path:" + dir.Join("link"))));
}

// Only root may make the namespace.
TEST(UnixAttestor, AProgramOfAnotherMountNamespaceDoesNotHaveThePathOfOurs) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  TempDir dir;
  const std::string ours = CopyOfCat(dir, "web");
  const std::string other = CopyOfCat(dir, "other");
  const Child child(ours, [&] {
    return unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           mount(other.c_str(), ours.c_str(), nullptr, MS_BIND, nullptr) == 0;
  });
  UnixAttestor attestor;
  const absl::StatusOr<Attested> seen = attestor.Attest(child.peer(), false);
  if (!seen.ok() || child.failed()) GTEST_SKIP() << "mount namespaces cannot be made here";
  EXPECT_THAT(seen->selectors, Not(Contains(StartsWith("unix:path:"))));
  EXPECT_FALSE(attestor.AttestAtOnce(child.peer(), false).has_value());
}

TEST(UnixAttestor, AProcessThatExecutesAnotherProgramIsThatOne) {
  TempDir dir;
  const std::string next = CopyOfCat(dir, "next");
  int out[2];
  ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
  const Child child("/bin/sh", [&] { return dup2(out[1], 1) == 1; },
                    {"-c", "read line; exec " + next});
  UnixAttestor attestor;
  ASSERT_OK_AND_ASSIGN(const Attested before, attestor.Attest(child.peer(), true));
  EXPECT_THAT(before.selectors, Not(Contains("unix:path:" + next)));
  child.Say("\nx");
  char byte = 0;
  ASSERT_EQ(read(out[0], &byte, 1), 1);  // cat says what it hears
  ASSERT_OK_AND_ASSIGN(const Attested after, attestor.Attest(child.peer(), true));
  EXPECT_EQ(after.process, before.process);
  EXPECT_THAT(after.selectors, Contains("unix:path:" + next));
  EXPECT_THAT(after.selectors, Contains("unix:sha256:" + HashOf(next)));
  close(out[0]);
  close(out[1]);
}

TEST(UnixAttestor, AProgramThatIsTooLargeHasNoHash) {
  TempDir dir;
  const Child child(CopyOfCat(dir, "web"));
  const auto size = static_cast<int64_t>(std::filesystem::file_size(dir.Join("web")));
  UnixAttestor small(base::SystemClock(), size - 1);
  ASSERT_OK_AND_ASSIGN(const Attested seen, small.Attest(child.peer(), true));
  EXPECT_THAT(seen.selectors, Not(Contains(StartsWith("unix:sha256:"))));
  EXPECT_THAT(seen.selectors, Contains("unix:path:" + dir.Join("web")));
  UnixAttestor enough(base::SystemClock(), size);
  ASSERT_OK_AND_ASSIGN(const Attested hashed, enough.Attest(child.peer(), true));
  EXPECT_THAT(hashed.selectors, Contains(StartsWith("unix:sha256:")));
}

TEST(UnixAttestor, AProcessThatEndsWhileItsProgramIsHashedIsNobody) {
  TempDir dir;
  const Child child(CopyOfCat(dir, "web"));
  PeerProcess peer = child.peer();
  int looks = 0;
  peer.is_alive = [&looks] { return ++looks == 1; };
  UnixAttestor attestor;
  EXPECT_THAT(attestor.Attest(peer, true), StatusIs(absl::StatusCode::kUnauthenticated, "ended"));
  // Nothing of the half was kept.
  ASSERT_OK_AND_ASSIGN(const Attested seen, attestor.Attest(child.peer(), true));
  EXPECT_THAT(seen.selectors, Contains("unix:sha256:" + HashOf(dir.Join("web"))));
}

TEST(UnixAttestor, AProcessThatHasEndedIsNobody) {
  TempDir dir;
  Child child(CopyOfCat(dir, "web"));
  const PeerProcess peer = child.peer();
  child.End();
  UnixAttestor attestor;
  EXPECT_THAT(attestor.Attest(peer, true), StatusIs(absl::StatusCode::kUnauthenticated, "ended"));
}

TEST(UnixAttestor, AProcessThatEndsWhileItIsLookedAtIsNobody) {
  TempDir dir;
  const Child child(CopyOfCat(dir, "web"));
  PeerProcess peer = child.peer();
  int looks = 0;
  peer.is_alive = [&looks] { return ++looks == 1; };  // its pid may be another's by now
  UnixAttestor attestor;
  EXPECT_THAT(attestor.Attest(peer, false), StatusIs(absl::StatusCode::kUnauthenticated, "ended"));
  EXPECT_EQ(looks, 2);
}

// The parent connects, leaves the connection to its child and ends.
TEST(UnixAttestor, AChildThatInheritsTheConnectionIsNotItsParent) {
  TempDir dir;
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  dir.Join("s").copy(address.sun_path, sizeof(address.sun_path) - 1);
  const auto* where = reinterpret_cast<const sockaddr*>(&address);
  ASSERT_EQ(bind(listener, where, sizeof(address)), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  int go[2];
  ASSERT_EQ(pipe2(go, O_CLOEXEC), 0);

  const pid_t parent = fork();
  if (parent == 0) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, where, sizeof(address)) != 0) _exit(1);
    if (fork() == 0) {
      char byte;  // the heir lives until the test hangs up
      (void)!read(fd, &byte, 1);
      _exit(0);
    }
    char byte;
    (void)!read(go[0], &byte, 1);
    _exit(0);
  }
  const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  ASSERT_GE(connection, 0);
  ASSERT_OK_AND_ASSIGN(const auto credentials, rpc::PeerCredentials::FromSocket(connection));
  ASSERT_OK_AND_ASSIGN(const auto unix_peer, rpc::UnixPeer::Hold(connection, credentials));
  const PeerProcess peer{.pid = unix_peer->pid(),
                         .uid = unix_peer->uid(),
                         .gid = unix_peer->gid(),
                         .start_time = unix_peer->start_time(),
                         .is_alive = [&] { return unix_peer->IsAlive(); }};
  EXPECT_EQ(peer.pid, parent);
  UnixAttestor attestor;
  EXPECT_OK(attestor.Attest(peer, false));
  ASSERT_EQ(write(go[1], "x", 1), 1);
  ASSERT_EQ(waitpid(parent, nullptr, 0), parent);
  EXPECT_THAT(attestor.Attest(peer, false), StatusIs(absl::StatusCode::kUnauthenticated, "ended"));
  close(connection);
  close(listener);
  close(go[0]);
  close(go[1]);
}

TEST(UnixAttestor, AHashIsRememberedOnlyIfALaterChangeWouldShow) {
  const absl::Time changed = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_FALSE(agent::HasSettled(changed, changed));
  EXPECT_FALSE(agent::HasSettled(changed, changed + absl::Seconds(2)));
  EXPECT_TRUE(agent::HasSettled(changed, changed + absl::Seconds(3)));
  EXPECT_FALSE(agent::HasSettled(changed, changed - absl::Hours(1))) << "the clock was set back";
}

agent::NameAnswer told;
agent::NameAnswer Told(uint32_t) { return told; }

TEST(NameCache, KeepsTheLastAnswerWhileTheNameServiceFails) {
  FakeClock clock(absl::FromUnixSeconds(1'700'000'000));
  agent::NameCache names(clock, Told);
  told = {.failed = true};
  EXPECT_EQ(names.NameOf(1000), std::nullopt);
  told = {.name = "alice"};
  EXPECT_EQ(names.NameOf(1000), "alice") << "a failure is not remembered";
  told = {.failed = true};
  clock.Advance(agent::NameCache::kNamesLast);
  EXPECT_EQ(names.NameOf(1000), "alice");
  told = {};
  EXPECT_EQ(names.NameOf(1000), std::nullopt) << "it says that she is gone";
}

}  // namespace
}  // namespace linchpin::test
