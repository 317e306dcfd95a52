// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Every key manager under the one suite.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ca/keys/file_key_manager.h"
#include "ca/keys/memory_key_manager.h"
#include "tests/conformance/key_manager_conformance.h"
#include "tests/support/temp_dir.h"

namespace linchpin::test {
namespace {

class FileKeys final : public KeyManagerFixture {
 public:
  FileKeys() { Reopen(); }
  ca::KeyManager& keys() override { return *keys_; }
  bool Reopen() override {
    auto made = ca::FileKeyManager::Make(directory_.Join("keys"));
    if (!made.ok()) ADD_FAILURE() << made.status();
    keys_ = *std::move(made);
    return true;
  }

 private:
  TempDir directory_;
  std::unique_ptr<ca::KeyManager> keys_;
};

class MemoryKeys final : public KeyManagerFixture {
 public:
  ca::KeyManager& keys() override { return keys_; }

 private:
  ca::MemoryKeyManager keys_;
};

INSTANTIATE_TEST_SUITE_P(
    KeyManagers, KeyManagerConformance,
    ::testing::Values(KeyManagerKind{"file", [] { return std::make_unique<FileKeys>(); }},
                      KeyManagerKind{"memory", [] { return std::make_unique<MemoryKeys>(); }}),
    [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace linchpin::test
