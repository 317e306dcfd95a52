// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Texts that people and programs write: configuration, signers, documents to sign, /proc, HTTP/1
// and the first bytes of HTTP/2.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/attest/node_evidence.h"
#include "agent/config.h"
#include "agent/server/pin_files.h"
#include "base/config_file.h"
#include "base/metrics.h"
#include "ca/server/config.h"
#include "cli/pins_document.h"
#include "cli/relax_document.h"
#include "linchpin/config/v1/config.pb.h"
#include "rpc/channel.h"
#include "rpc/http2_preface.h"
#include "rpc/unix_peer.h"
#include "tests/fuzz/parsers.h"

namespace linchpin::fuzz {
namespace {

// A file that is read by its path and lives in memory only.
class MemoryFile {
 public:
  explicit MemoryFile(absl::string_view bytes) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
    Require(fd_ >= 0, "a file can be made");
    Require(write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
            "a file can be written");
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  std::string path() const { return absl::StrCat("/proc/self/fd/", fd_); }

 private:
  const int fd_;
};

config::v1::AgentConfig AgentFlags() {
  config::v1::AgentConfig flags;
  flags.set_data_dir("/var/lib/linchpin");
  flags.set_trust_domain("example.org");
  flags.set_ca("127.0.0.1:8443");
  return flags;
}

}  // namespace

void Config(absl::string_view bytes) {
  config::v1::CaConfig ca;
  (void)base::LoadConfigText(bytes, "fuzz", &ca);
  config::v1::AgentConfig agent;
  (void)base::LoadConfigText(bytes, "fuzz", &agent);
}

void Settings(absl::string_view bytes) {
  const MemoryFile file(bytes);
  const auto ca = ca::ReadSettings(file.path(), ca::MakeCaFlags());
  if (ca.ok()) {
    Require(absl::StartsWith(ca->admin_socket, "/"), "the admin socket has an absolute path");
    Require(ca->setup.profile.Check().ok(), "lifetimes are checked");
    Require(rpc::CheckAddress(ca->listen).ok(), "the address is one");
  }
  const auto agent = agent::ReadConfig(file.path(), {}, "fuzz");
  if (!agent.ok()) return;
  Require(!agent->data_dir.empty() && !agent->ca.empty(), "what must be there is there");
  Require(agent->core.ca_pins.empty() || !agent->core.signers.has_value(),
          "pins and signers exclude each other");
}

void SignersFile(absl::string_view bytes) {
  const MemoryFile file(bytes);
  config::v1::AgentConfig flags = AgentFlags();
  flags.set_signers(file.path());
  const auto config = agent::ReadConfig("", flags, "fuzz");
  if (!config.ok()) return;
  Require(config->core.signers.has_value(), "signers that are given are taken");
  Require(trust::DecodeSigners(config->core.signers->signers()).ok(), "signers are checked");
}

void PinSetDocument(absl::string_view bytes) {
  const auto document = cli::DecodePinSetDocument(bytes, "fuzz");
  if (!document.ok()) return;
  const std::string text = cli::EncodePinSetDocument(*document);
  const auto again = cli::DecodePinSetDocument(text, "again");
  Require(again.ok() && cli::EncodePinSetDocument(*again) == text, "a document is read back");
  Require(again->signed_set.payload() == document->signed_set.payload(), "with its payload");
  Require(cli::CountSignatures(*document) <= document->set.signers.keys.size(),
          "a signer counts once");
  const std::string described = cli::DescribePinSet(*document);
  for (const char c : described) {
    Require(c == '\n' || static_cast<unsigned char>(c) >= ' ', "a terminal is not controlled");
  }
}

void RelaxDocument(absl::string_view bytes) {
  if (const auto relax = cli::DecodeRelaxDocument(bytes, "fuzz"); relax.ok()) {
    const std::string text = cli::EncodeRelaxDocument(*relax);
    const auto again = cli::DecodeRelaxDocument(text, "again");
    Require(again.ok() && cli::EncodeRelaxDocument(*again) == text, "a document is read back");
    (void)cli::DescribeRelax(*relax, absl::UnixEpoch());
  }
  if (const auto fresh = cli::DecodeFreshnessDocument(bytes, "fuzz"); fresh.ok()) {
    const std::string text = cli::EncodeFreshnessDocument(*fresh);
    Require(cli::DecodeFreshnessDocument(text, "again").ok(), "a statement is read back");
    (void)cli::DescribeFreshness(*fresh, absl::UnixEpoch());
  }
}

void PinFiles(absl::string_view bytes) {
  const MemoryFile file(bytes);
  agent::PinFiles files(file.path(), *trust::TrustDomain::FromName("example.org"));
  const auto read = files.Look();
  Require(read.has_value() && !files.Look().has_value(), "a file is told of once");
  Require(read->documents.size() + read->faults.size() == 1, "it is right or wrong");
  for (const trust::v1::PinDocuments& documents : read->documents) {
    Require(documents.trust_domain() == "example.org", "it is of our domain");
  }
}

void LocalTexts(absl::string_view bytes) {
  (void)rpc::ParseStartTime(bytes);
  (void)rpc::CheckAddress(std::string(bytes));
  const MemoryFile file(bytes);
  const auto token = agent::ReadJoinToken(file.path());
  if (!token.ok()) return;
  Require(!token->empty() && token->size() <= 4096, "a token has a size");
  Require(token->find_first_of(" \t\r\n") == std::string::npos, "a token is one word");
}

// What comes first on the agent's socket, byte by byte.
void Http2Preface(absl::string_view bytes) {
  using rpc::Preface;
  Preface last = Preface::kBegun;
  for (size_t size = 0; size <= bytes.size() && size <= rpc::kPrefaceBytes; ++size) {
    const Preface now = rpc::LookAtPreface(bytes.substr(0, size));
    Require(last == Preface::kBegun || now == last, "what is decided stays decided");
    Require(now != Preface::kWhole || size >= 24 + 9, "a whole preface has a SETTINGS frame");
    last = now;
  }
  Require(bytes.size() < rpc::kPrefaceBytes || last != Preface::kBegun,
          "it is decided within the bytes that are looked at");
}

// Over a socket, as a stranger would: the server must answer or hang up, whatever it is sent.
void MetricsRequest(absl::string_view bytes) {
  static base::Metrics metrics;
  static const auto server =
      base::MetricsServer::Start("127.0.0.1:0", metrics, [] { return std::string(); });
  Require(server.ok(), "a metrics server starts");
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>((*server)->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const linger hard{1, 0};  // no connection lingers after its end: ports would run out
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  Require(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
          "the metrics server accepts");
  (void)send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  shutdown(fd, SHUT_WR);
  std::string answer;
  char buffer[4096];
  for (ssize_t size = 0; (size = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
    answer.append(buffer, static_cast<size_t>(size));
  }
  close(fd);
  Require(answer.empty() || absl::StartsWith(answer, "HTTP/1."), "what is answered is HTTP");
}

}  // namespace linchpin::fuzz
