// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What every store must do. Each implementation brings a StoreFixture; see store_test.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ca/store/store.h"
#include "gtest/gtest.h"

namespace linchpin::test {

class StoreFixture {
 public:
  virtual ~StoreFixture() = default;
  virtual ca::Store& store() = 0;
  // Closes and opens it again; false where nothing outlives the process.
  virtual bool Reopen() { return false; }
  // Another handle on the same contents; null where there is none.
  virtual std::unique_ptr<ca::Store> Another() { return nullptr; }
};

struct StoreKind {
  std::string name;
  std::function<std::unique_ptr<StoreFixture>()> make;
};

class StoreConformance : public ::testing::TestWithParam<StoreKind> {
 protected:
  StoreConformance() : fixture_(GetParam().make()) {}
  ca::Store& store() { return fixture_->store(); }

  std::unique_ptr<StoreFixture> fixture_;
};

}  // namespace linchpin::test
