// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What this project reads and writes of X.509 by itself, against OpenSSL.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/hex.h"
#include "tests/fuzz/parsers.h"
#include "tests/x509/request_by_openssl.h"
#include "x509/certificate_builder.h"
#include "x509/certificate_request.h"
#include "x509/der.h"
#include "x509/key.h"
#include "x509/leaf_template.h"

namespace linchpin::fuzz {
namespace {

namespace der = x509::der;

absl::string_view Take(size_t size, absl::string_view* bytes) {
  const absl::string_view taken = bytes->substr(0, size);
  bytes->remove_prefix(taken.size());
  return taken;
}

uint64_t Number(absl::string_view big_endian) {
  uint64_t number = 0;
  for (const char byte : big_endian) number = number << 8 | static_cast<unsigned char>(byte);
  return number;
}

// A serial, the time of its beginning and its life, and names, one a line: DNS names unless they
// have a colon.
x509::CertificateSpec SpecOf(absl::string_view bytes) {
  x509::CertificateSpec spec;
  const size_t size = Number(Take(1, &bytes)) % 24;
  spec.serial = std::string(Take(size, &bytes));
  const uint64_t times = Number(Take(8, &bytes));
  spec.not_before = test::kNow + absl::Seconds(static_cast<int64_t>(times >> 30));
  spec.not_after = spec.not_before + absl::Seconds(static_cast<int64_t>(times & 0x3fffffff));
  spec.digital_signature = spec.server_auth = spec.client_auth = true;
  const std::vector<std::string> names = absl::StrSplit(bytes, '\n', absl::SkipEmpty());
  for (const std::string& name : names) {
    (name.find(':') == std::string::npos ? spec.dns_sans : spec.uri_sans).push_back(name);
  }
  return spec;
}

std::string TbsOf(absl::string_view certificate) {
  const auto whole = der::Reader(certificate).Next(der::kSequence);
  Require(whole.has_value(), "a certificate is DER");
  const auto tbs = der::Reader(whole->body).Next(der::kSequence);
  Require(tbs.has_value(), "a certificate begins with what is signed");
  return std::string(tbs->whole);
}

// Of an issuer that outlives 2050.
struct LongIssuer {
  x509::PrivateKey key = test::KeyNamed("long issuer");
  x509::Certificate certificate = Make(key);
  x509::LeafTemplate leaves = *x509::LeafTemplate::Make(certificate, key);

  static x509::Certificate Make(const x509::PrivateKey& key) {
    x509::CertificateSpec spec;
    spec.common_name = "long issuer";
    spec.serial = std::string(1, '\1');
    spec.not_before = test::kNow;
    spec.not_after = test::kNow + absl::Hours(24 * 365 * 60);
    spec.is_ca = spec.key_cert_sign = true;
    return *x509::SelfSign(spec, key);
  }
};

}  // namespace

void CertificateRequest(absl::string_view bytes) {
  const auto request = x509::CertificateRequest::FromDer(bytes);
  if (!request.ok()) return;
  Require(request->public_key().CheckLeafKey().ok(), "its key is one we certify");
  const std::string difference = test::DifferenceFromOpenSsl(bytes, *request);
  Require(difference.empty(), difference.c_str());
}

// A node's own words around a key whose possession is always proved: two bytes say how many come
// before it.
void SignedRequest(absl::string_view bytes) {
  if (bytes.size() < 2) return;
  const size_t before = Number(Take(2, &bytes));
  const x509::PrivateKey key = test::KeyNamed("requester");
  const absl::string_view first = Take(before, &bytes);
  const std::string info = der::Write(der::kSequence, {first, key.public_key().spki(), bytes});
  const std::string ecdsa_with_sha256 = *base::BytesOfHex("300a06082a8648ce3d040302");
  const std::string signature =
      der::Write(der::kBitString, {std::string(1, '\0'), *key.Sign(info)});
  CertificateRequest(der::Write(der::kSequence, {info, ecdsa_with_sha256, signature}));
}

void Der(absl::string_view bytes) {
  der::Reader reader(bytes);
  size_t read = 0;
  while (const std::optional<der::Element> element = reader.Next()) {
    Require(der::Write(element->tag, {element->body}) == element->whole, "DER has one encoding");
    Require(element->whole.data() == bytes.data() + read, "elements follow each other");
    read += element->whole.size();
  }
  Require(reader.AtEnd() == (read == bytes.size()), "all is read or nothing more can be");
}

void Leaf(absl::string_view bytes) {
  static const auto* const issuer = new LongIssuer();
  const x509::CertificateSpec spec = SpecOf(bytes);
  const x509::PublicKey key = test::KeyNamed("requester").public_key();
  const auto leaf = issuer->leaves.Sign(spec, key);
  const auto reference = x509::SignCertificate(spec, key, issuer->certificate, issuer->key);
  Require(leaf.ok() == reference.ok(), "the template signs what OpenSSL would");
  if (!leaf.ok()) return;
  Require(TbsOf(leaf->der) == TbsOf(reference->der()), "and signs the same bytes");
  const auto read = x509::Certificate::FromDer(leaf->der);
  Require(read.ok() && read->IsSignedBy(issuer->key.public_key()), "with the issuer's key");
}

}  // namespace linchpin::fuzz
