// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::base {
namespace {

using ::linchpin::test::IsOk;
using ::linchpin::test::StatusIs;

// A service manager's end: it hears one datagram at a time.
class Manager {
 public:
  // `name` as bind(2) takes it.
  explicit Manager(const std::string& name) : fd_(socket(AF_UNIX, SOCK_DGRAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof(address.sun_path));
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    bound_ = bind(fd_, reinterpret_cast<const sockaddr*>(&address), size) == 0;
  }
  ~Manager() { close(fd_); }
  bool bound() const { return bound_; }
  std::string Hear() const {
    char text[256];
    const ssize_t size = recv(fd_, text, sizeof(text), MSG_DONTWAIT);
    return size < 0 ? "" : std::string(text, static_cast<size_t>(size));
  }

 private:
  const int fd_;
  bool bound_ = false;
};

class ServiceManager : public ::testing::Test {
 protected:
  void TearDown() override { unsetenv("NOTIFY_SOCKET"); }
  static void SetSocket(const std::string& name) { setenv("NOTIFY_SOCKET", name.c_str(), 1); }
};

TEST_F(ServiceManager, HearsThatItServesAndThatItEnds) {
  const test::TempDir directory;
  const std::string path = directory.path() + "/notify";
  const Manager manager(path);
  ASSERT_TRUE(manager.bound());
  SetSocket(path);
  EXPECT_THAT(NotifyReady(), IsOk());
  EXPECT_EQ(manager.Hear(), "READY=1");
  EXPECT_THAT(NotifyStopping(), IsOk());
  EXPECT_EQ(manager.Hear(), "STOPPING=1");
}

TEST_F(ServiceManager, HearsByANameInNoDirectory) {
  const std::string name = "linchpin-test-" + std::to_string(getpid());
  const Manager manager(std::string(1, '\0') + name);
  ASSERT_TRUE(manager.bound());
  SetSocket("@" + name);
  EXPECT_THAT(NotifyReady(), IsOk());
  EXPECT_EQ(manager.Hear(), "READY=1");
}

TEST_F(ServiceManager, IsNotNeeded) {
  unsetenv("NOTIFY_SOCKET");
  EXPECT_THAT(NotifyReady(), IsOk());
}

TEST_F(ServiceManager, IsNamedByAPathOrNotAtAll) {
  for (const std::string& name :
       {std::string(), std::string("relative"), "/" + std::string(200, 'x')}) {
    SetSocket(name);
    EXPECT_THAT(NotifyReady(), StatusIs(absl::StatusCode::kInvalidArgument, "NOTIFY_SOCKET"))
        << name;
  }
  SetSocket("/nowhere/at/all");
  EXPECT_THAT(NotifyReady(), StatusIs(absl::StatusCode::kNotFound, "READY=1"));
}

}  // namespace
}  // namespace linchpin::base
