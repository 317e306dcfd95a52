// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "gtest/gtest.h"
#include "rpc/channel.h"
#include "tests/support/status_matchers.h"

namespace linchpin::rpc {
namespace {

TEST(CheckAddress, TakesHostsWithPortsAndUnixSockets) {
  for (const char* address : {"127.0.0.1:8443", "ca.example.org:1", "[::1]:8443", "localhost:0",
                              "unix:///run/linchpin/agent.sock"}) {
    EXPECT_OK(CheckAddress(address)) << address;
  }
}

TEST(CheckAddress, RefusesEverythingElseAndSaysWhatIsExpected) {
  for (const char* address : {"", ":8443", "ca", "ca:", "ca:http", "ca:65536", "ca:-1", "ca:+1",
                              "::1:8443", "a b:1", "unix:relative", "unix://host/path", "unix:///",
                              "http://ca:8443", "ca:8443\n", "u@ca:1", "[]:1"}) {
    EXPECT_THAT(CheckAddress(address),
                test::StatusIs(absl::StatusCode::kInvalidArgument, "HOST:PORT"))
        << address;
  }
}

}  // namespace
}  // namespace linchpin::rpc
