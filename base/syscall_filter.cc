// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/syscall_filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"

namespace linchpin::base {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#elif defined(__riscv) && __riscv_xlen == 64
constexpr uint32_t kArchitecture = AUDIT_ARCH_RISCV64;
#else
constexpr uint32_t kArchitecture = 0;
#endif
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low half of an argument comes first");

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// The newest call that was looked at (mseal, Linux 6.10). From 424 on, numbers are the same
// everywhere.
constexpr uint32_t kNewest = 462;

constexpr uint32_t kRefused[] = {
    // Other programs: neither of ours starts one.
    SYS_execve,
    SYS_execveat,
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
    // Other processes' memory and files.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_kcmp,
    SYS_pidfd_getfd,
    SYS_perf_event_open,
    SYS_process_mrelease,
    // Parts of the kernel that many holes were in.
    SYS_bpf,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_personality,
    SYS_fanotify_init,
    SYS_vmsplice,
#ifdef SYS_modify_ldt
    SYS_modify_ldt,
    SYS_iopl,
    SYS_ioperm,
    SYS_uselib,
#endif
    // Name spaces, mounts, roots; files by handle instead of by path.
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_open_by_handle_at,
    SYS_mknodat,
#ifdef SYS_mknod
    SYS_mknod,
#endif
    // Another user.
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_setgroups,
    SYS_capset,
    // The machine's own state.
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_syslog,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_vhangup,
    SYS_nfsservctl,
};

// An argument's lower half: the kernel uses no more of those that are looked at here.
constexpr uint32_t ArgumentOffset(int number) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + sizeof(uint64_t) * number);
}

class Filter {
 public:
  void Load(uint32_t offset) { Add(BPF_LD | BPF_W | BPF_ABS, offset); }
  void Return(uint32_t action) { Add(BPF_RET | BPF_K, action); }
  void ReturnIf(uint16_t test, uint32_t value, uint32_t action) {
    program_.push_back(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | test | BPF_K), value, 0, 1));
    Return(action);
  }
  void ReturnUnless(uint32_t value, uint32_t action) {
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0));
    Return(action);
  }
  // What `rule` adds applies to one call; it ends with a Return().
  template <typename Rule>
  void ForCall(uint32_t call, Rule rule) {
    const size_t jump = program_.size();
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 0));
    rule();
    program_[jump].jf = static_cast<uint8_t>(program_.size() - jump - 1);
  }
  void Mask(uint32_t bits) { Add(BPF_ALU | BPF_AND | BPF_K, bits); }
  std::vector<sock_filter> Take() { return std::move(program_); }

 private:
  void Add(uint16_t code, uint32_t value) { program_.push_back(BPF_STMT(code, value)); }
  std::vector<sock_filter> program_;
};

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr uint32_t Refuse(uint32_t error) { return SECCOMP_RET_ERRNO | error; }

// A thread is made with clone(); a process or a name space is not.
void FilterProcesses(Filter* filter) {
  filter->ForCall(SYS_clone, [&] {
    constexpr uint32_t kSpaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
    filter->Load(ArgumentOffset(0));
    filter->ReturnIf(BPF_JSET, kSpaces, Refuse(EPERM));
    filter->ReturnIf(BPF_JSET, CLONE_THREAD, kAllow);
    filter->Return(Refuse(EPERM));
  });
}

// Memory is written or executed. Libraries that are loaded later are mapped from their files.
void FilterMemory(Filter* filter) {
  filter->ForCall(SYS_mmap, [&] {
    filter->Load(ArgumentOffset(2));
    filter->Mask(PROT_WRITE | PROT_EXEC);
    filter->ReturnIf(BPF_JEQ, PROT_WRITE | PROT_EXEC, Refuse(EPERM));
    filter->Return(kAllow);
  });
  for (const uint32_t call : {SYS_mprotect, SYS_pkey_mprotect}) {
    filter->ForCall(call, [&] {
      filter->Load(ArgumentOffset(2));
      filter->ReturnIf(BPF_JSET, PROT_EXEC, Refuse(EPERM));
      filter->Return(kAllow);
    });
  }
}

// Netlink is how the C library lists the machine's addresses.
void FilterDevices(Filter* filter) {
  filter->ForCall(SYS_socket, [&] {
    filter->Load(ArgumentOffset(0));
    for (const uint32_t family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {
      filter->ReturnIf(BPF_JEQ, family, kAllow);
    }
    filter->Return(Refuse(EAFNOSUPPORT));
  });
  filter->ForCall(SYS_ioctl, [&] {
    filter->Load(ArgumentOffset(1));
    filter->ReturnIf(BPF_JEQ, TIOCSTI, Refuse(EPERM));  // types into the terminal it came from
    filter->Return(kAllow);
  });
}

// The calls of another architecture (32-bit ones) have other numbers: no way round the list.
void Begin(Filter* filter) {
  filter->Load(offsetof(seccomp_data, arch));
  filter->ReturnUnless(kArchitecture, Refuse(EPERM));
  filter->Load(offsetof(seccomp_data, nr));
}

// What only an attacker asks for.
std::vector<sock_filter> MakeRefusals() {
  Filter filter;
  Begin(&filter);
  for (const uint32_t call : kRefused) filter.ReturnIf(BPF_JEQ, call, Refuse(EPERM));
  FilterProcesses(&filter);
  FilterMemory(&filter);
  FilterDevices(&filter);
  filter.Return(kAllow);
  return filter.Take();
}

// What the C library asks for as well, and goes on without: of clone3() nobody can see whether it
// makes a thread, and what is newer than the list nobody has looked at.
std::vector<sock_filter> MakeHidden() {
  Filter filter;
  Begin(&filter);
  filter.ReturnIf(BPF_JEQ, SYS_clone3, Refuse(ENOSYS));
  filter.ReturnIf(BPF_JGT, kNewest, Refuse(ENOSYS));
  filter.Return(kAllow);
  return filter.Take();
}

absl::Status Load(std::vector<sock_filter> program, unsigned flags) {
  const sock_fprog loaded{static_cast<uint16_t>(program.size()), program.data()};
  const long stranger =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | flags, &loaded);
  if (stranger == 0) return absl::OkStatus();
  if (stranger > 0) {
    return absl::InternalError(
        absl::StrCat("the system call filter does not fit thread ", stranger, ", which has one"));
  }
  const int error = errno;
  const absl::Status refused = ErrnoStatus(error, "load the system call filter");
  if (error != ENOSYS && error != EINVAL) return refused;
  return absl::UnimplementedError(
      absl::StrCat(refused.message(), " (a kernel without CONFIG_SECCOMP_FILTER?)"));
}

}  // namespace

absl::Status LoadSyscallFilter() {
  if (kSanitized) {
    return absl::UnimplementedError("no system call filter in a build with sanitizers");
  }
  if (kArchitecture == 0) {
    return absl::UnimplementedError("no system call filter for this processor's architecture");
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoStatus(errno, "set no_new_privs");
  const absl::Status hidden = Load(MakeHidden(), 0);
  return hidden.ok() ? Load(MakeRefusals(), SECCOMP_FILTER_FLAG_LOG) : hidden;
}

}  // namespace linchpin::base
