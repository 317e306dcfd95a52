// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What every key manager must do. Each implementation brings a KeyManagerFixture; see
// key_manager_test.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ca/keys/key_manager.h"
#include "gtest/gtest.h"

namespace linchpin::test {

class KeyManagerFixture {
 public:
  virtual ~KeyManagerFixture() = default;
  virtual ca::KeyManager& keys() = 0;
  // Closes and opens it again; false where nothing outlives the process.
  virtual bool Reopen() { return false; }
};

struct KeyManagerKind {
  std::string name;
  std::function<std::unique_ptr<KeyManagerFixture>()> make;
};

class KeyManagerConformance : public ::testing::TestWithParam<KeyManagerKind> {
 protected:
  KeyManagerConformance() : fixture_(GetParam().make()) {}
  ca::KeyManager& keys() { return fixture_->keys(); }

  std::unique_ptr<KeyManagerFixture> fixture_;
};

}  // namespace linchpin::test
