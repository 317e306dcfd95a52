// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Peers that do not keep to the protocol: they cost their own connection, for a bounded time.

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <filesystem>
#include <iterator>

#include "sdk/internal/dial.h"
#include "tests/sdk/service.h"
#include "tests/support/seeded_random.h"

namespace linchpin::test {
namespace {

using absl::StatusCode;

constexpr absl::Duration kShort = absl::Milliseconds(50);

struct Sockets {
  Sockets() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0); }
  ~Sockets() { close(fds[0]); }
  int peer() const { return fds[0]; }
  int ours() const { return fds[1]; }  // Accept() takes it over
  void Send(const std::string& bytes) const {
    EXPECT_EQ(send(peer(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  int fds[2];
};

class HostilePeerTest : public ::testing::Test {
 protected:
  std::shared_ptr<tls::ServerTls> ImpatientServer() {
    tls::TlsOptions options;
    options.handshake_timeout = kShort;
    return payments_.Server(options);
  }
  void ExpectServesStill(const tls::ServerTls& server) {
    Pair pair = Meet(*web_.Client(), server, kPayments);
    ExpectAlive(pair);
  }

  World world_;
  Service web_{world_.Contexts(kWeb)};
  Service payments_{world_.Contexts(kPayments)};
};

// The ClientHello that a client of ours begins with.
std::string ClientHello(const tls::ClientTls& client) {
  SSL* ssl = SSL_new(client.ctx());
  BIO* sent = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, BIO_new(BIO_s_mem()), sent);
  EXPECT_OK(tls::ExpectAnyAllowedPeer(ssl));
  EXPECT_EQ(SSL_connect(ssl), -1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(sent, &data);
  std::string hello(data, static_cast<size_t>(size));
  SSL_free(ssl);
  ERR_clear_error();
  return hello;
}

TEST_F(HostilePeerTest, ASilentClientIsGivenUpAfterTheHandshakeTimeoutHoweverPatientTheCaller) {
  Sockets sockets;
  EXPECT_THAT(tls::Connection::Accept(*ImpatientServer(), sockets.ours(), absl::InfiniteDuration()),
              StatusIs(StatusCode::kDeadlineExceeded));
}

TEST_F(HostilePeerTest, AClientThatStopsHalfWayIsGivenUp) {
  const std::string hello = ClientHello(*web_.Client());
  for (const size_t size : {size_t{1}, size_t{5}, hello.size() / 2, hello.size()}) {
    Sockets sockets;
    sockets.Send(hello.substr(0, size));
    EXPECT_THAT(
        tls::Connection::Accept(*ImpatientServer(), sockets.ours(), absl::InfiniteDuration()),
        StatusIs(StatusCode::kDeadlineExceeded));
  }
}

TEST_F(HostilePeerTest, AServerThatIsSilentIsGivenUp) {
  Listener listener;  // the system accepts, nobody else does
  tls::TlsOptions options;
  options.handshake_timeout = kShort;
  EXPECT_THAT(tls::Connection::Connect(*web_.Client(options), listener.address(), kPayments,
                                       absl::InfiniteDuration()),
              StatusIs(StatusCode::kDeadlineExceeded));
}

TEST_F(HostilePeerTest, TheCallersTimeoutHoldsWhereItIsShorter) {
  Sockets sockets;
  EXPECT_THAT(tls::Connection::Accept(*payments_.Server(), sockets.ours(), kShort),
              StatusIs(StatusCode::kDeadlineExceeded));
}

TEST_F(HostilePeerTest, AHandshakeTimeoutOfNothingIsRefused) {
  tls::TlsOptions options;
  options.handshake_timeout = absl::ZeroDuration();
  EXPECT_THAT(tls::ServerTls::Make(payments_.source(), options),
              StatusIs(StatusCode::kInvalidArgument, "handshake_timeout"));
}

std::ptrdiff_t OpenDescriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

// Random bytes; or a record or a ClientHello with some of its bytes changed.
std::string Garbage(const std::string& hello, SeededRandom* random) {
  std::string bytes = base::RandomBytes(*random, 1 + random->Below(2000));
  switch (random->Below(4)) {
    case 0:
      return bytes;
    case 1:
      return "GET / HTTP/1.1\r\nHost: payments\r\n\r\n";
    case 2:  // a handshake record that ends nowhere
      return std::string("\x16\x03\x01\xff\xff", 5) + bytes;
    default:
      std::string changed = hello;
      for (int i = 0; i < 3; ++i) {
        changed[random->Below(changed.size())] ^= static_cast<char>(1 + i);
      }
      return changed;
  }
}

TEST_F(HostilePeerTest, AThousandConnectionsOfGarbageLeaveNothingBehind) {
  const auto server = payments_.Server();
  const std::string hello = ClientHello(*web_.Client());
  SeededRandom random(1);
  const auto flood = [&](int connections) {
    for (int i = 0; i < connections; ++i) {
      Sockets sockets;
      sockets.Send(Garbage(hello, &random));
      shutdown(sockets.peer(), SHUT_WR);
      EXPECT_FALSE(tls::Connection::Accept(*server, sockets.ours(), kLong).ok());
    }
  };
  flood(100);  // what is made once, is made
  const std::ptrdiff_t descriptors = OpenDescriptors();
  const size_t heap = mallinfo2().uordblks;
  flood(1000);
  EXPECT_EQ(OpenDescriptors(), descriptors);
  EXPECT_LT(mallinfo2().uordblks, heap + 256 * 1024);
  ExpectServesStill(*server);
}

TEST_F(HostilePeerTest, GarbageWithinAConnectionEndsItAndNoOther) {
  const auto server = payments_.Server();
  Pair other = Meet(*web_.Client(), *server, kPayments);
  Sockets sockets;
  SSL* client = SSL_new(web_.Client()->ctx());
  SSL_set_fd(client, sockets.peer());
  EXPECT_OK(tls::SetExpectedPeer(client, kPayments));
  std::thread connecting([&] { EXPECT_EQ(SSL_connect(client), 1); });
  auto connection = tls::Connection::Accept(*server, sockets.ours(), kLong);
  connecting.join();
  ASSERT_OK(connection);
  sockets.Send(std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x'));
  EXPECT_THAT((*connection)->Read(1, kLong), StatusIs(StatusCode::kUnavailable));
  EXPECT_FALSE((*connection)->Write("x", kLong).ok());
  SSL_free(client);
  ExpectAlive(other);
}

TEST_F(HostilePeerTest, APeerThatStopsReadingCostsTheWriterItsTimeoutAndNoMore) {
  Pair pair = Meet(*web_.Client(), *payments_.Server(), kPayments);
  ASSERT_OK(pair.client);
  ASSERT_OK(pair.server);
  const std::string much(64 << 20, 'x');  // more than the sockets hold
  EXPECT_THAT((*pair.server)->Write(much, kShort), StatusIs(StatusCode::kDeadlineExceeded));
  (*pair.server)->Close();  // does not wait for the peer
  EXPECT_THAT((*pair.server)->Write("x", kLong), StatusIs(StatusCode::kFailedPrecondition));
}

// A TCP socket that listens on the loopback, and its address.
struct TcpListener {
  explicit TcpListener(int backlog) : fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(fd, backlog), 0);
    EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  }
  ~TcpListener() { close(fd); }
  tls::SocketAddress where() const {
    return {reinterpret_cast<const sockaddr*>(&address), sizeof(address)};
  }
  int fd;
  sockaddr_in address{};
};

TEST(Dialing, AnAddressThatSwallowsPacketsDoesNotCostTheDeadline) {
  TcpListener full(0);
  std::vector<int> waiting;
  for (int i = 0; i < 4; ++i) {  // Linux drops what asks to connect when the queue is full
    waiting.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    connect(waiting.back(), full.where().first, full.where().second);
  }
  ASSERT_THAT(tls::ConnectToFirst({full.where()}, tls::DeadlineIn(kShort)),
              StatusIs(StatusCode::kDeadlineExceeded));
  TcpListener live(16);
  ASSERT_OK_AND_ASSIGN(const int fd,
                       tls::ConnectToFirst({full.where(), live.where()}, tls::DeadlineIn(kLong)));
  sockaddr_in reached{};
  socklen_t size = sizeof(reached);
  EXPECT_EQ(getpeername(fd, reinterpret_cast<sockaddr*>(&reached), &size), 0);
  EXPECT_EQ(reached.sin_port, live.address.sin_port);
  close(fd);
  for (const int one : waiting) close(one);
}

TEST(Dialing, AnAddressThatRefusesIsFollowedByTheNextAtOnce) {
  TcpListener live(16);
  sockaddr_in nobody = live.address;
  {
    TcpListener gone(1);
    nobody.sin_port = gone.address.sin_port;
  }
  const tls::SocketAddress refusing{reinterpret_cast<const sockaddr*>(&nobody), sizeof(nobody)};
  ASSERT_OK_AND_ASSIGN(const int fd,
                       tls::ConnectToFirst({refusing, live.where()}, tls::DeadlineIn(kLong)));
  close(fd);
  EXPECT_THAT(tls::ConnectToFirst({refusing}, tls::DeadlineIn(kLong)),
              StatusIs(StatusCode::kUnavailable));
  EXPECT_THAT(tls::ConnectToFirst({}, tls::DeadlineIn(kLong)),
              StatusIs(StatusCode::kUnavailable, "no address"));
}

}  // namespace
}  // namespace linchpin::test
