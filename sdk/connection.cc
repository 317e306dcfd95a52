// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/connection.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "sdk/internal/dial.h"
#include "sdk/internal/socket_bio.h"
#include "sdk/internal/ssl_state.h"
#include "sdk/internal/tls_error.h"
#include "x509/openssl_ptr.h"

namespace linchpin::tls {
namespace {
constexpr size_t kMostRead = 1 << 20;
}

// Every call of OpenSSL is made under `mutex`, and none of them blocks; waiting is done outside.
struct Connection::Impl {
  using SslPtr = x509::OpenSslPtr<SSL, SSL_free>;

  explicit Impl(int socket) : fd(socket) {}
  ~Impl() {
    watch.reset();  // waits for a callback that is running; none comes after
    {
      base::MutexLock lock(mutex);
      Shut(absl::FailedPreconditionError("the connection is closed"), true);
    }
    ssl.reset();
    close(fd);
  }

  absl::Status Init(SSL_CTX* ctx) {
    RETURN_IF_ERROR(Prepare(fd));
    ssl.reset(SSL_new(ctx));
    x509::BioPtr bio = MakeSocketBio(fd);
    if (ssl == nullptr || bio == nullptr) return absl::ResourceExhaustedError("no memory for TLS");
    BIO* raw = bio.release();
    SSL_set_bio(ssl.get(), raw, raw);
    return absl::OkStatus();
  }

  // Calls `step` until it gives more than 0 or fails. 0: the peer has closed.
  template <typename F>
  absl::StatusOr<int> Drive(absl::string_view doing, absl::Duration deadline, F step) {
    while (true) {
      bool writable = false;
      {
        base::MutexLock lock(mutex);
        if (!why_shut.ok()) return why_shut;
        ERR_clear_error();
        errno = 0;
        const int result = step(ssl.get());
        if (result > 0) return result;
        const int saved_errno = errno;
        const int error = SSL_get_error(ssl.get(), result);
        if (error == SSL_ERROR_ZERO_RETURN) return 0;
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
          failed = true;
          errno = saved_errno;
          return TlsError(ssl.get(), result, doing);
        }
        writable = error == SSL_ERROR_WANT_WRITE;
      }
      RETURN_IF_ERROR(WaitFor(fd, writable, deadline));
    }
  }

  absl::Status Handshake(absl::string_view doing, absl::Duration deadline) {
    const CtxState& ctx = *FindState(SSL_get_SSL_CTX(ssl.get()));
    deadline = std::min(deadline, DeadlineIn(ctx.handshake_timeout));
    absl::StatusOr<int> done = Drive(doing, deadline, SSL_do_handshake);
    if (done.ok() && *done == 0) {
      return absl::UnavailableError(absl::StrCat(doing, ": the peer has closed the connection"));
    }
    RETURN_IF_ERROR(done.status());
    ASSIGN_OR_RETURN(
        watch, OnPeerNoLongerAllowed(ssl.get(), [this](const PeerVerdict& v) { NoLonger(v); }));
    return absl::OkStatus();
  }

  void NoLonger(const PeerVerdict& verdict) {
    base::MutexLock lock(mutex);
    if (verdict.allowed) {
      Shut(absl::UnavailableError("the connection has reached its greatest age: connect again"),
           true);
    } else {
      Shut(absl::PermissionDeniedError(absl::StrCat(verdict.ToString(), " (judged again)")), false);
    }
  }

  // Under the mutex. `politely`: with close_notify.
  void Shut(absl::Status why, bool politely) {
    if (!why_shut.ok()) return;
    why_shut = std::move(why);
    if (politely && !failed && ssl != nullptr && SSL_is_init_finished(ssl.get())) {
      ERR_clear_error();
      SSL_shutdown(ssl.get());
      ERR_clear_error();
    }
    shutdown(fd, SHUT_RDWR);
  }

  const int fd;
  base::Mutex mutex;
  SslPtr ssl;
  bool failed = false;    // OpenSSL has given up on it
  absl::Status why_shut;  // OK while open
  std::unique_ptr<PeerWatch> watch;
};

Connection::Connection(std::unique_ptr<Impl> impl, PeerVerdict verdict)
    : impl_(std::move(impl)), verdict_(std::move(verdict)) {}

Connection::~Connection() = default;

absl::StatusOr<std::unique_ptr<Connection>> Connection::Connect(const ClientTls& tls,
                                                                const std::string& address,
                                                                const std::string& expected_id,
                                                                absl::Duration timeout) {
  const absl::Duration deadline = DeadlineIn(timeout);
  ASSIGN_OR_RETURN(const int fd, Dial(address, deadline));
  auto impl = std::make_unique<Impl>(fd);
  RETURN_IF_ERROR(impl->Init(tls.ctx()));
  SSL_set_connect_state(impl->ssl.get());
  RETURN_IF_ERROR(SetExpectedPeer(impl->ssl.get(), expected_id));
  RETURN_IF_ERROR(impl->Handshake(absl::StrCat("connect to ", address), deadline));
  PeerVerdict verdict = VerdictOf(impl->ssl.get());
  return std::unique_ptr<Connection>(new Connection(std::move(impl), std::move(verdict)));
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Accept(const ServerTls& tls, int fd,
                                                               absl::Duration timeout) {
  auto impl = std::make_unique<Impl>(fd);
  RETURN_IF_ERROR(impl->Init(tls.ctx()));
  SSL_set_accept_state(impl->ssl.get());
  RETURN_IF_ERROR(impl->Handshake("accept a connection", DeadlineIn(timeout)));
  PeerVerdict verdict = VerdictOf(impl->ssl.get());
  return std::unique_ptr<Connection>(new Connection(std::move(impl), std::move(verdict)));
}

absl::StatusOr<std::string> Connection::Read(size_t most, absl::Duration timeout) {
  std::string data(std::min(most, kMostRead), '\0');
  ASSIGN_OR_RETURN(const int got, impl_->Drive("read", DeadlineIn(timeout), [&](SSL* ssl) {
    return SSL_read(ssl, data.data(), static_cast<int>(data.size()));
  }));
  data.resize(static_cast<size_t>(got));
  return data;
}

absl::Status Connection::Write(absl::string_view data, absl::Duration timeout) {
  const absl::Duration deadline = DeadlineIn(timeout);
  while (!data.empty()) {
    const int size = static_cast<int>(std::min(data.size(), kMostRead));
    absl::StatusOr<int> sent = impl_->Drive("write", deadline, [&](SSL* ssl) {
      const int result = SSL_write(ssl, data.data(), size);
      // A peer that refused us has closed: its alert waits to be read and says why.
      if (result <= 0 && (errno == EPIPE || errno == ECONNRESET)) {
        char byte;
        ERR_clear_error();
        return std::min(SSL_peek(ssl, &byte, 1), 0);
      }
      return result;
    });
    if (sent.ok() && *sent == 0) {
      return absl::UnavailableError("write: the peer has closed the connection");
    }
    RETURN_IF_ERROR(sent.status());
    data.remove_prefix(static_cast<size_t>(*sent));
  }
  return absl::OkStatus();
}

void Connection::Close() {
  base::MutexLock lock(impl_->mutex);
  impl_->Shut(absl::FailedPreconditionError("the connection is closed"), true);
}

std::string Connection::group() const {
  base::MutexLock lock(impl_->mutex);
  const int id = static_cast<int>(SSL_get_negotiated_group(impl_->ssl.get()));
  const char* name = SSL_group_to_name(impl_->ssl.get(), id);
  return name == nullptr ? "" : name;
}

}  // namespace linchpin::tls
