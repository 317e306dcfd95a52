// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <thread>

#include "base/durable_file.h"
#include "base/syscall_filter.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::base {
namespace {

using ::linchpin::test::StatusIs;

// None of it can be taken back, so each test looks from a child, which says what it missed.
void Need(bool met, const char* what) {
  if (met) return;
  std::fprintf(stderr, "not so: %s (errno %d)\n", what, errno);
  _exit(1);
}

void Confine() {
  const absl::Status loaded = LoadSyscallFilter();
  if (!loaded.ok()) std::fprintf(stderr, "%s\n", std::string(loaded.message()).c_str());
  Need(loaded.ok(), "the filter is loaded");
}

bool Refused(long result, int error) { return result == -1 && errno == error; }

#define NEED_REFUSED(error, number, ...) \
  Need(Refused(syscall(number, ##__VA_ARGS__), error), "refused: " #number)

class SyscallFilter : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers start programs and trace";
#endif
  }
};

TEST_F(SyscallFilter, RefusesToStartPrograms) {
  const auto check = [] {
    Confine();
    const char* const arguments[] = {"/bin/true", nullptr};
    NEED_REFUSED(EPERM, SYS_execve, arguments[0], arguments, nullptr);
    NEED_REFUSED(EPERM, SYS_execveat, AT_FDCWD, arguments[0], arguments, nullptr, 0);
    Need(fork() == -1 && errno == EPERM, "no process is made");
    NEED_REFUSED(EPERM, SYS_clone, CLONE_NEWUSER, nullptr, nullptr, nullptr, nullptr);
    NEED_REFUSED(ENOSYS, SYS_clone3, nullptr, 0);
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST_F(SyscallFilter, RefusesToLookIntoOtherProcessesAndIntoTheKernel) {
  const auto check = [] {
    Confine();
    NEED_REFUSED(EPERM, SYS_ptrace, 0, 0, 0, 0);
    NEED_REFUSED(EPERM, SYS_process_vm_readv, getpid(), nullptr, 0, nullptr, 0, 0);
    NEED_REFUSED(EPERM, SYS_process_vm_writev, getpid(), nullptr, 0, nullptr, 0, 0);
    NEED_REFUSED(EPERM, SYS_pidfd_getfd, -1, 0, 0);
    NEED_REFUSED(EPERM, SYS_bpf, 0, nullptr, 0);
    NEED_REFUSED(EPERM, SYS_userfaultfd, 0);
    NEED_REFUSED(EPERM, SYS_io_uring_setup, 1, nullptr);
    NEED_REFUSED(EPERM, SYS_perf_event_open, nullptr, 0, 0, 0, 0);
    NEED_REFUSED(EPERM, SYS_keyctl, 0, 0, 0, 0, 0);
    NEED_REFUSED(EPERM, SYS_personality, 0xffffffff);
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST_F(SyscallFilter, RefusesToChangeTheMachineAndItsViewOfIt) {
  const auto check = [] {
    Confine();
    NEED_REFUSED(EPERM, SYS_mount, nullptr, nullptr, nullptr, 0, nullptr);
    NEED_REFUSED(EPERM, SYS_unshare, 0);
    NEED_REFUSED(EPERM, SYS_setns, -1, 0);
    NEED_REFUSED(EPERM, SYS_chroot, nullptr);
    NEED_REFUSED(EPERM, SYS_init_module, nullptr, 0, nullptr);
    NEED_REFUSED(EPERM, SYS_kexec_load, 0, 0, nullptr, 0);
    NEED_REFUSED(EPERM, SYS_clock_settime, 0, nullptr);
    NEED_REFUSED(EPERM, SYS_open_by_handle_at, -1, nullptr, 0);
    NEED_REFUSED(EPERM, SYS_setuid, geteuid());
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST_F(SyscallFilter, LetsMemoryBeWrittenOrExecutedButNotBoth) {
  const auto check = [] {
    Confine();
    const auto map = [](int rights) {
      return mmap(nullptr, 4096, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    };
    Need(map(PROT_READ | PROT_WRITE | PROT_EXEC) == MAP_FAILED && errno == EPERM, "not both");
    void* const written = map(PROT_READ | PROT_WRITE);
    Need(written != MAP_FAILED, "memory is given");
    Need(mprotect(written, 4096, PROT_READ | PROT_EXEC) == -1 && errno == EPERM, "not afterwards");
    Need(mprotect(written, 4096, PROT_READ) == 0, "less is always given");
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST_F(SyscallFilter, LeavesOnlyTheSocketsThatAreUsed) {
  const auto check = [] {
    Confine();
    for (const int family : {AF_UNIX, AF_INET}) {
      Need(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0, "the sockets that are used");
    }
    for (const int family : {AF_PACKET, AF_ALG, AF_VSOCK, AF_BLUETOOTH}) {
      Need(socket(family, SOCK_RAW, 0) == -1 && errno == EAFNOSUPPORT, "no other family");
    }
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST_F(SyscallFilter, HidesCallsNewerThanItself) {
  const auto check = [] {
    Confine();
    NEED_REFUSED(ENOSYS, 463);
    NEED_REFUSED(ENOSYS, 100'000);
#ifdef __x86_64__
    NEED_REFUSED(ENOSYS, 0x40000000 + SYS_getpid);  // x32, another way to the same calls
#endif
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST_F(SyscallFilter, BindsThreadsThatExistAndThreadsToCome) {
  const auto check = [] {
    int loaded[2];
    Need(pipe(loaded) == 0, "a pipe");
    const auto look = [] { Need(Refused(syscall(SYS_unshare, 0), EPERM), "bound"); };
    std::thread before([&] {
      char byte = 0;
      Need(read(loaded[0], &byte, 1) == 1, "told that the filter is loaded");
      look();
    });
    Confine();
    Need(write(loaded[1], "x", 1) == 1, "the thread is told");
    before.join();
    std::thread(look).join();
    _exit(0);
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

uint64_t Status(const char* field) {
  const absl::StatusOr<std::string> status = ReadFile("/proc/self/status", 64 * 1024);
  Need(status.ok(), "/proc/self/status is read");
  const size_t at = status->find(std::string("\n") + field + ":\t");
  Need(at != std::string::npos, field);
  return std::stoull(status->substr(at + std::string(field).size() + 3), nullptr, 16);
}

TEST(Capabilities, AreGivenUpButThoseKept) {
  const auto check = [] {
    const uint64_t had = Status("CapPrm");
    const absl::StatusOr<Capabilities> left = KeepOnlyCapabilities(kCapSysPtrace);
    Need(left.ok() && *left == (had & kCapSysPtrace), "what is left is said");
    for (const char* set : {"CapPrm", "CapEff"}) Need(Status(set) == *left, set);
    for (const char* set : {"CapInh", "CapAmb"}) Need(Status(set) == 0, set);
    if (had >> CAP_SETPCAP & 1) Need((Status("CapBnd") & ~kCapSysPtrace) == 0, "CapBnd");
    Need(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no new privileges");
    Need(KeepOnlyCapabilities(kCapSysPtrace).ok(), "giving up twice is no error");
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST(Capabilities, AreSpelledAsElsewhere) {
  EXPECT_EQ(ToString(kNoCapabilities), "none");
  EXPECT_EQ(ToString(kCapSysPtrace | kCapDacReadSearch), "cap_dac_read_search cap_sys_ptrace");
}

TEST(Capabilities, ToListenAreForLowPortsOnly) {
  EXPECT_EQ(CapabilityToListenOn("0.0.0.0:443"), kCapNetBindService);
  EXPECT_EQ(CapabilityToListenOn("127.0.0.1:8443"), kNoCapabilities);
  EXPECT_EQ(CapabilityToListenOn("127.0.0.1:0"), kNoCapabilities);
  EXPECT_EQ(CapabilityToListenOn("off"), kNoCapabilities);
}

TEST(Sandbox, HasThreeModes) {
  EXPECT_EQ(*ParseSandboxMode(""), SandboxMode::kOn);
  EXPECT_EQ(*ParseSandboxMode("on"), SandboxMode::kOn);
  EXPECT_EQ(*ParseSandboxMode("required"), SandboxMode::kRequired);
  EXPECT_EQ(*ParseSandboxMode("off"), SandboxMode::kOff);
  EXPECT_THAT(ParseSandboxMode("true"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(SyscallFilter, IsPartOfTheSandboxUnlessThatIsOff) {
  const auto check = [] {
    const absl::StatusOr<Sandbox> off = EnterSandbox(SandboxMode::kOff, kNoCapabilities);
    Need(off.ok() && !off->entered && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0, "off is off");
    const absl::StatusOr<Sandbox> on = EnterSandbox(SandboxMode::kRequired, kNoCapabilities);
    Need(on.ok() && on->entered && on->capabilities == kNoCapabilities, "on is on");
    Need(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2, "and the filter with it");
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

// As on a kernel without seccomp(2).
void HideSeccomp() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog loaded{4, program};
  Need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
  Need(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &loaded) == 0, "seccomp is hidden");
}

TEST_F(SyscallFilter, ThatCannotBeLoadedIsSaidAndTheRestIsGivenUp) {
  const auto check = [] {
    HideSeccomp();
    const absl::StatusOr<Sandbox> on = EnterSandbox(SandboxMode::kOn, kNoCapabilities);
    Need(on.ok() && !on->entered, "goes on");
    Need(on->missing.find("system call filter") != std::string::npos, "says what is missing");
    Need(Status("CapPrm") == 0, "has no capability all the same");
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST_F(SyscallFilter, ThatCannotBeLoadedIsNoStartWhereItIsRequired) {
  const auto check = [] {
    HideSeccomp();
    const absl::Status refused = EnterSandbox(SandboxMode::kRequired, kNoCapabilities).status();
    Need(absl::IsUnimplemented(refused), "refused");
    Need(refused.message().find("--sandbox on") != absl::string_view::npos, "says what to do");
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace linchpin::base
