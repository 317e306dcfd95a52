// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "sdk/internal/socket_bio.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

namespace linchpin::tls {
namespace {

int FdOf(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

bool MayRetry() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

int Write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent = send(FdOf(bio), data, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (sent < 0 && MayRetry()) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int Read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = recv(FdOf(bio), data, static_cast<size_t>(size), 0);
  if (got < 0 && MayRetry()) BIO_set_retry_read(bio);
  if (got == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(got);
}

long Control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
  return 0;
}

const BIO_METHOD* Method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "linchpin socket");
    BIO_meth_set_write(made, Write);
    BIO_meth_set_read(made, Read);
    BIO_meth_set_ctrl(made, Control);
    return made;
  }();
  return method;
}

}  // namespace

x509::BioPtr MakeSocketBio(int fd) {
  x509::BioPtr bio(BIO_new(Method()));
  if (bio != nullptr) {
    BIO_set_data(bio.get(), reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
    BIO_set_init(bio.get(), 1);
  }
  return bio;
}

}  // namespace linchpin::tls
