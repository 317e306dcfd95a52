// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/durable_file.h"

namespace linchpin::base {

const Capabilities kCapSysPtrace = Capabilities{1} << CAP_SYS_PTRACE;
const Capabilities kCapDacReadSearch = Capabilities{1} << CAP_DAC_READ_SEARCH;
const Capabilities kCapNetBindService = Capabilities{1} << CAP_NET_BIND_SERVICE;

namespace {

constexpr int kMostCapabilities = 64;
constexpr int kBitsOfAWord = 32;

// The two words of each set, as the kernel's interface has them; glibc wraps neither call.
struct Sets {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct words[_LINUX_CAPABILITY_U32S_3] = {};
};

absl::StatusOr<Capabilities> Permitted() {
  Sets sets;
  if (syscall(SYS_capget, &sets.header, sets.words) != 0) {
    return ErrnoStatus(errno, "ask for the process's capabilities");
  }
  return sets.words[0].permitted | Capabilities{sets.words[1].permitted} << kBitsOfAWord;
}

// The bounding set is what a program could get by being started; it goes first, as changing it
// needs a capability itself.
absl::Status KeepBounding(Capabilities keep) {
  for (int capability = 0; capability < kMostCapabilities; ++capability) {
    const int held = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (held < 0) break;  // the kernel knows no more
    if (held == 0 || (keep >> capability & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EPERM) break;  // an ordinary user: no_new_privs has to do
    return ErrnoStatus(errno, absl::StrCat("drop capability ", capability, " from the bounds"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Capabilities> KeepOnlyCapabilities(Capabilities keep) {
  if (absl::Status bounded = KeepBounding(keep); !bounded.ok()) return bounded;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoStatus(errno, "set no_new_privs");
  // Linux 4.3; an older kernel has no ambient set to clear.
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL) {
    return ErrnoStatus(errno, "clear the ambient capabilities");
  }
  absl::StatusOr<Capabilities> held = Permitted();
  if (!held.ok()) return held;
  const Capabilities left = *held & keep;
  Sets sets;
  for (int word = 0; word < _LINUX_CAPABILITY_U32S_3; ++word) {
    sets.words[word].permitted = static_cast<uint32_t>(left >> word * kBitsOfAWord);
    sets.words[word].effective = sets.words[word].permitted;
  }
  if (syscall(SYS_capset, &sets.header, sets.words) != 0) {
    return ErrnoStatus(errno, "give up capabilities");
  }
  return left;
}

std::string ToString(Capabilities capabilities) {
  std::vector<std::string> names;
  for (int capability = 0; capability < kMostCapabilities; ++capability) {
    const Capabilities bit = Capabilities{1} << capability;
    if ((capabilities & bit) == 0) continue;
    names.push_back(bit == kCapSysPtrace        ? "cap_sys_ptrace"
                    : bit == kCapDacReadSearch  ? "cap_dac_read_search"
                    : bit == kCapNetBindService ? "cap_net_bind_service"
                                                : absl::StrCat("cap_", capability));
  }
  return names.empty() ? "none" : absl::StrJoin(names, " ");
}

}  // namespace linchpin::base
