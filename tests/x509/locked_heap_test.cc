// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/locked_heap.h"

#include <openssl/crypto.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/capabilities.h"
#include "gtest/gtest.h"
#include "x509/key.h"
#include "x509/secret_bytes.h"

namespace linchpin::x509 {
namespace {

// The heap is a process's for good, so each test has a child of its own, which says what it missed.
void Need(bool met, const char* what) {
  if (met) return;
  std::fprintf(stderr, "not so: %s\n", what);
  _exit(1);
}

// The kernel's flags of the memory at `address`: "lo" is locked, "dd" is left out of dumps.
std::string FlagsAt(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool here = false;
  while (std::getline(maps, line)) {
    unsigned long begin = 0;
    unsigned long end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      const auto at = reinterpret_cast<unsigned long>(address);
      here = begin <= at && at < end;
    }
    if (here && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

bool IsHidden(const void* address) {
  const std::string flags = FlagsAt(address);
  return flags.find(" lo ") != std::string::npos && flags.find(" dd ") != std::string::npos;
}

TEST(LockedHeap, KeepsShortSecretsLockedAndOutOfDumps) {
  const auto check = [] {
    Need(UseLockedHeap().ok(), "the heap is locked");
    const SecretBytes secret("a sealing key");
    Need(IsHidden(secret.Reveal().data()), "a secret is hidden");
    const SecretBytes copy = secret;
    Need(IsHidden(copy.Reveal().data()), "its copy is hidden");
    const SecretBytes large(std::string(kMostLockedBytes + 1, 'x'));
    Need(!IsHidden(large.Reveal().data()), "large ones leave the room to keys");
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST(LockedHeap, WipesWhatIsGivenBack) {
  const auto check = [] {
    Need(UseLockedHeap().ok(), "the heap is locked");
    const char* at = nullptr;
    {
      const SecretBytes secret("a sealing key");
      at = secret.Reveal().data();
    }
    for (size_t i = 0; i < 13; ++i) Need(at[i] == 0, "wiped");
    _exit(0);
  };
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
#else
  (void)check;
  GTEST_SKIP() << "looks at memory that was given back";
#endif
}

TEST(LockedHeap, HasThePrivateHalfOfKeysThatAreMadeOrRead) {
  const auto check = [] {
    Need(UseLockedHeap().ok(), "the heap is locked");
    const size_t before = CRYPTO_secure_used();
    const auto made = PrivateKey::Generate(KeyType::kP256);
    Need(made.ok() && CRYPTO_secure_used() >= before + 32, "of a key that is made");
    const size_t between = CRYPTO_secure_used();
    const auto read = PrivateKey::FromPkcs8(made->ToPkcs8());
    Need(read.ok() && CRYPTO_secure_used() >= between + 32, "of a key that is read");
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST(LockedHeap, HasRoomForKeysHoweverManySecretsThereAre) {
  const auto check = [] {
    Need(UseLockedHeap().ok(), "the heap is locked");
    const std::vector<SecretBytes> secrets(2000, SecretBytes(std::string(kMostLockedBytes, 'x')));
    Need(CRYPTO_secure_used() < kLockedHeapBytes * 3 / 4, "secrets leave room");
    Need(secrets.back().size() == kMostLockedBytes, "and are kept all the same");
    Need(PrivateKey::Generate(KeyType::kP256).ok(), "a key is made");
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

TEST(LockedHeap, WorksUnlockedAndSaysWhatToRaise) {
  const auto check = [] {
    const rlimit none{0, 0};
    Need(setrlimit(RLIMIT_MEMLOCK, &none) == 0, "the limit is set");
    Need(base::KeepOnlyCapabilities(base::kNoCapabilities).ok(), "cap_ipc_lock is given up");
    const absl::Status status = UseLockedHeap();
    Need(absl::IsFailedPrecondition(status), "it is said");
    Need(status.message().find("LimitMEMLOCK") != absl::string_view::npos, "and what to do");
    Need(SecretBytes("x").Reveal() == "x", "secrets are kept");
    Need(PrivateKey::Generate(KeyType::kP256).ok(), "keys are made");
    _exit(0);
  };
  EXPECT_EXIT(check(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace linchpin::x509
