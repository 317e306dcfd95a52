// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/tcp_listener.h"

#include <arpa/inet.h>
#include <grpcpp/security/server_credentials.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "gtest/gtest.h"
#include "rpc/client_hello.h"
#include "tests/support/status_matchers.h"

namespace linchpin::rpc {
namespace {

using namespace std::string_literals;

constexpr int kPatience = 30'000;  // ms

// The first record of a client, of so many bytes after the type of its message.
std::string HelloRecord(size_t more) {
  const size_t size = more + 1;
  std::string record = "\x16\x03\x01"s;
  record.push_back(static_cast<char>(size >> 8));
  record.push_back(static_cast<char>(size));
  return record + "\x01" + std::string(more, 'x');
}

Hello Look(const std::string& bytes) {
  return LookAtHello(absl::string_view(bytes).substr(0, kHelloBytes), bytes.size());
}

TEST(ClientHello, IsWholeWithItsFirstRecord) {
  const std::string record = HelloRecord(300);
  for (size_t size = 0; size < record.size(); ++size) {
    EXPECT_EQ(Look(record.substr(0, size)), Hello::kBegun) << size;
  }
  EXPECT_EQ(Look(record), Hello::kWhole);
  EXPECT_EQ(Look(record + "more"), Hello::kWhole);
}

TEST(ClientHello, IsNotWhatOthersSay) {
  for (const std::string& foreign :
       {"GET / HTTP/1.1\r\n\r\n"s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"s, "SSH-2.0-x\r\n"s, "\0\0\0"s,
        "\x80\x2e\x01\x03\x01"s,      // SSL 2
        "\x15\x03\x01\x00\x02\x01"s,  // an alert
        "\x16\x02"s, "\x16\x03\x09"s,
        "\x16\x03\x01\x40\x01\x01"s,  // longer than a record may be
        "\x16\x03\x01\x00\x00\x01"s, "\x16\x03\x01\x00\x20\x02"s}) {
    EXPECT_EQ(Look(foreign), Hello::kForeign) << foreign;
  }
}

class Client {
 public:
  explicit Client(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0;
  }
  Client(Client&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  ~Client() {
    if (fd_ >= 0) close(fd_);
  }
  bool connected() const { return connected_; }
  void Say(const std::string& bytes) const {
    EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // Whatever comes first is read away.
  bool IsClosed() const {
    while (true) {
      pollfd asked{fd_, POLLIN, 0};
      if (poll(&asked, 1, kPatience) <= 0) return false;
      char bytes[4096];
      if (recv(fd_, bytes, sizeof(bytes), 0) <= 0) return true;
    }
  }
  bool IsOpen() const {
    char byte;
    return recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }

 private:
  int fd_;
  bool connected_ = false;
};

// Instead of gRPC: keeps what it is handed.
struct Kept {
  std::vector<int> Take() {
    base::MutexLock lock(mutex);
    return std::exchange(fds, {});
  }
  base::Mutex mutex;
  std::vector<int> fds;
};

struct Keeper : TcpListener::Acceptor {
  explicit Keeper(Kept& given_to) : kept(given_to) {}
  void HandleNewConnection(NewConnectionParameters* given) override {
    base::MutexLock lock(kept.mutex);
    kept.fds.push_back(given->fd);
  }
  Kept& kept;
};

class Tcp : public ::testing::Test {
 protected:
  void Start(const SocketLimits& limits) {
    ASSERT_OK_AND_ASSIGN(listener_, TcpListener::Bind("127.0.0.1:0", limits));
    listener_->Start(std::make_unique<Keeper>(kept_));
  }
  void TearDown() override {
    listener_.reset();
    for (const int fd : kept_.Take()) close(fd);
  }
  void Until(const std::function<bool(const TcpListener::Counts&)>& reached) {
    const absl::Time end = base::SystemClock().Now() + absl::Milliseconds(kPatience);
    while (!reached(listener_->counts())) {
      ASSERT_LT(base::SystemClock().Now(), end);
      poll(nullptr, 0, 5);
    }
  }
  Client Connect() { return Client(listener_->port()); }

  Kept kept_;
  std::unique_ptr<TcpListener> listener_;
};

constexpr SocketLimits kRoomy{
    .places = 3000, .places_of_user = 3000, .kept = 0, .patience = absl::Hours(1)};

TEST_F(Tcp, HandsOverWhoeverSaysHelloAndNobodyElse) {
  Start(kRoomy);
  const Client silent = Connect(), halting = Connect(), garbage = Connect(), web = Connect(),
               good = Connect();
  halting.Say(HelloRecord(300).substr(0, 100));
  garbage.Say("\xff\x00garbage"s);
  web.Say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  good.Say(HelloRecord(300));
  EXPECT_TRUE(garbage.IsClosed());
  EXPECT_TRUE(web.IsClosed());
  Until([](const auto& counts) { return counts.served == 1 && counts.parked == 2; });
  EXPECT_EQ(listener_->counts().foreign, 2u);
  halting.Say(HelloRecord(300).substr(100));
  Until([](const auto& counts) { return counts.served == 2 && counts.parked == 1; });
  listener_->Stop();
  const std::vector<int> kept = kept_.Take();
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_TRUE(silent.IsClosed()) << "what is parked is closed with the listener";
  // All that was said is there still.
  std::string first(1000, '\0');
  EXPECT_EQ(recv(kept[0], first.data(), first.size(), MSG_DONTWAIT), 306);
  first.resize(306);
  EXPECT_EQ(first, HelloRecord(300));
  for (const int fd : kept) close(fd);
}

TEST_F(Tcp, LosesPatienceWithTheSilent) {
  Start({.places = 100, .places_of_user = 100, .kept = 0, .patience = absl::Milliseconds(50)});
  const Client silent = Connect(), halting = Connect();
  halting.Say("\x16\x03"s);
  EXPECT_TRUE(silent.IsClosed());
  EXPECT_TRUE(halting.IsClosed());
  Until([](const auto& counts) { return counts.parked == 0 && counts.overdue == 2; });
}

TEST_F(Tcp, TheSilentNeverKeepOthersOut) {
  Start({.places = 200, .places_of_user = 200, .kept = 0, .patience = absl::Hours(1)});
  std::vector<Client> silent;
  for (int i = 0; i < 1000; ++i) {
    silent.push_back(Connect());
    ASSERT_TRUE(silent.back().connected());
  }
  for (size_t i = 1; i <= 20; ++i) {
    const Client good = Connect();
    good.Say(HelloRecord(10));
    Until([i](const auto& counts) { return counts.served >= 1 && counts.evicted >= 800 + i; });
  }
  EXPECT_LE(listener_->counts().parked, 200u);
}

TEST_F(Tcp, GivesAPlaceBackWhenItsServerHasDoneWithIt) {
  Start(kRoomy);
  for (int round = 0; round < 5; ++round) {
    std::vector<Client> clients;
    for (int i = 0; i < 100; ++i) {
      clients.push_back(Connect());
      clients.back().Say(HelloRecord(10));
    }
    Until([](const auto& counts) { return counts.served == 100; });
    // As gRPC does when it has done with one.
    for (const int fd : kept_.Take()) {
      shutdown(fd, SHUT_RDWR);
      close(fd);
    }
    for (const Client& client : clients) EXPECT_TRUE(client.IsClosed());
    Until([](const auto& counts) { return counts.served == 0; });
  }
}

TEST_F(Tcp, RefusesAnAddressThatIsTakenOrNone) {
  Start(kRoomy);
  EXPECT_THAT(TcpListener::Bind(absl::StrCat("127.0.0.1:", listener_->port())),
              test::StatusIs(absl::StatusCode::kFailedPrecondition, "in use"));
  EXPECT_THAT(TcpListener::Bind("127.0.0.1"), test::StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(TcpListener::Bind("127.0.0.1:99999"),
              test::StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(TcpListener::Bind("no.such.host.invalid:0"),
              test::StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace linchpin::rpc
