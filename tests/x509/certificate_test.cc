// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/certificate.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/x509/golden.h"
#include "x509/digest.h"

namespace linchpin::x509 {
namespace {

using ::linchpin::test::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(Certificate, ReadsALeafOfTheOpensslProgram) {
  const Certificate leaf = Golden("leaf");
  const CertificateFields& fields = leaf.fields();
  EXPECT_EQ(fields.subject, "CN=web,O=Example");
  EXPECT_EQ(fields.issuer, "CN=issuer 1,O=Example");
  EXPECT_EQ(fields.issuer_der, Golden("issuer").fields().subject_der);
  EXPECT_EQ(fields.not_before, absl::FromCivil(absl::CivilSecond(2026, 1, 1), absl::UTCTimeZone()));
  EXPECT_EQ(fields.not_after, absl::FromCivil(absl::CivilSecond(2036, 1, 1), absl::UTCTimeZone()));
  EXPECT_TRUE(fields.has_basic_constraints);
  EXPECT_FALSE(fields.is_ca);
  EXPECT_FALSE(fields.path_length.has_value());
  EXPECT_TRUE(fields.has_key_usage && fields.key_usage_critical && fields.digital_signature);
  EXPECT_FALSE(fields.key_cert_sign || fields.crl_sign);
  EXPECT_TRUE(fields.has_extended_key_usage && fields.server_auth && fields.client_auth);
  EXPECT_FALSE(fields.san_critical);
  EXPECT_THAT(fields.uri_sans, ElementsAre("spiffe://example.org/web"));
  EXPECT_THAT(fields.dns_sans, ElementsAre("web.example.org"));
  EXPECT_EQ(fields.other_sans, 1u);
  EXPECT_EQ(fields.authority_key_id, Golden("issuer").fields().subject_key_id);
  EXPECT_EQ(fields.subject_key_id.size(), 20u);
  EXPECT_FALSE(fields.weak_signature);
  EXPECT_EQ(leaf.public_key().spki(), GoldenFile("public-leaf.der"));
  EXPECT_EQ(leaf.sha256(), Sha256(leaf.der()));
  EXPECT_EQ(leaf.ToPem(), GoldenFile("leaf.pem"));
}

TEST(Certificate, ReadsIssuersAndRoots) {
  const CertificateFields issuer = Golden("issuer").fields();
  EXPECT_TRUE(issuer.is_ca && issuer.key_cert_sign && issuer.crl_sign);
  EXPECT_EQ(issuer.path_length, 0);
  EXPECT_FALSE(issuer.has_extended_key_usage || issuer.server_auth || issuer.client_auth);
  EXPECT_FALSE(Golden("issuer").IsSelfIssued());
  EXPECT_TRUE(Golden("root").IsSelfIssued());
  EXPECT_FALSE(Golden("root").fields().path_length.has_value());
  EXPECT_FALSE(Golden("leaf-bare").fields().has_basic_constraints);
  EXPECT_FALSE(Golden("leaf-bare").fields().has_key_usage);
  EXPECT_THAT(Golden("leaf-bare").fields().uri_sans, IsEmpty());
}

// Parsing says only that it is a certificate; a path refuses it.
TEST(Certificate, ReadsVersion1) {
  const CertificateFields fields = Golden("version-1").fields();
  EXPECT_EQ(SerialText(fields.serial), "07");
  EXPECT_FALSE(fields.has_basic_constraints || fields.has_key_usage || fields.is_ca);
}

TEST(Certificate, KnowsAWeakSignature) {
  EXPECT_TRUE(Golden("leaf-sha1").fields().weak_signature);
  EXPECT_TRUE(Golden("root-sha1").fields().weak_signature);
  EXPECT_FALSE(Golden("leaf-ed25519").fields().weak_signature);
}

TEST(Certificate, KnowsWhoseKeySignedIt) {
  EXPECT_TRUE(Golden("leaf").IsSignedBy(Golden("issuer").public_key()));
  EXPECT_TRUE(Golden("leaf").IsSignedBy(Golden("twin").public_key()));
  EXPECT_FALSE(Golden("leaf").IsSignedBy(Golden("namesake").public_key()));
  EXPECT_FALSE(Golden("leaf").IsSignedBy(Golden("leaf-rsa2048").public_key()));
}

TEST(Certificate, StripsTheSignByteOfASerialNumber) {
  ASSERT_OK_AND_ASSIGN(const Certificate certificate,
                       Certificate::FromDer(GoldenFile("serial-80ff.der")));
  EXPECT_EQ(SerialText(certificate.fields().serial), "80FF");
  EXPECT_EQ(SerialText(""), "0");
}

TEST(Certificate, RefusesGarbage) {
  const std::string der = Golden("leaf").der();
  for (size_t size = 0; size < der.size(); ++size) {
    EXPECT_THAT(Certificate::FromDer(der.substr(0, size)), StatusIs(kInvalid)) << size;
  }
  EXPECT_THAT(Certificate::FromDer(""), StatusIs(kInvalid, HasSubstr("empty")));
  EXPECT_THAT(Certificate::FromDer(der + "x"), StatusIs(kInvalid, HasSubstr("1 bytes follow")));
  EXPECT_THAT(Certificate::FromDer(der + der), StatusIs(kInvalid, HasSubstr("follow")));
  EXPECT_THAT(Certificate::FromDer(std::string(10 << 20, '0')),
              StatusIs(kInvalid, HasSubstr("at most 16384")));
  EXPECT_THAT(Certificate::FromDer(GoldenFile("request-plain.der")), StatusIs(kInvalid));
  EXPECT_THAT(Certificate::FromDer(GoldenFile("leaf.pem")), StatusIs(kInvalid));
}

// BER has many encodings of one certificate; only the one that is hashed and signed will do.
TEST(Certificate, RefusesBerThatIsNotDer) {
  const std::string der = Golden("leaf").der();
  ASSERT_EQ(der.substr(0, 2), "\x30\x82");
  const std::string longer_length = std::string("\x30\x83\0", 3) + der.substr(2);
  EXPECT_THAT(Certificate::FromDer(longer_length), StatusIs(kInvalid, HasSubstr("DER")));
  const std::string indefinite = "\x30\x80" + der.substr(4) + std::string(2, '\0');
  EXPECT_THAT(Certificate::FromDer(indefinite), StatusIs(kInvalid, HasSubstr("DER")));
}

// Whatever byte is changed, parsing answers; and what parses is what was given.
TEST(Certificate, SurvivesAnyChangedByte) {
  const std::string der = Golden("leaf").der();
  for (size_t i = 0; i < der.size(); ++i) {
    for (const unsigned char flip : {0x01, 0x80, 0xff}) {
      std::string changed = der;
      changed[i] = static_cast<char>(static_cast<unsigned char>(changed[i]) ^ flip);
      const auto certificate = Certificate::FromDer(changed);
      if (certificate.ok()) {
        EXPECT_EQ(certificate->der(), changed);
        EXPECT_FALSE(certificate->IsSignedBy(Golden("issuer").public_key())) << i;
      }
    }
  }
}

// One DER element: where its header and its contents begin, and where it ends.
struct Element {
  size_t start, contents, end;
};
Element ElementAt(const std::string& der, size_t start) {
  size_t length = static_cast<unsigned char>(der[start + 1]);
  size_t contents = start + 2;
  if (length & 0x80) {
    const size_t bytes = length & 0x7f;
    length = 0;
    for (size_t i = 0; i < bytes; ++i) {
      length = length << 8 | static_cast<unsigned char>(der[contents++]);
    }
  }
  return {start, contents, contents + length};
}
std::string Wrap(char tag, const std::string& contents) {
  return std::string(1, tag) + '\x82' + static_cast<char>(contents.size() >> 8) +
         static_cast<char>(contents.size()) + contents;
}

// `der` with its list of extensions replaced by what `edit` makes of it.
template <typename Edit>
std::string WithExtensions(const std::string& der, Edit edit) {
  const Element certificate = ElementAt(der, 0);
  const Element tbs = ElementAt(der, certificate.contents);
  Element last = ElementAt(der, tbs.contents);
  while (last.end < tbs.end) last = ElementAt(der, last.end);
  const Element list = ElementAt(der, last.contents);
  const std::string extensions = edit(der.substr(list.contents, list.end - list.contents));
  const std::string before = der.substr(tbs.contents, last.start - tbs.contents);
  // Short forms of the lengths are avoided by extensions that are long enough.
  return Wrap('\x30',
              Wrap('\x30', before + Wrap('\xa3', Wrap('\x30', extensions))) + der.substr(tbs.end));
}

TEST(Certificate, RefusesAnExtensionThatOccursTwice) {
  const std::string der = Golden("leaf").der();
  const std::string unknown("\x30\x0a\x06\x03\x2a\x03\x04\x04\x03\x01\x02\x03", 12);
  const std::string once = WithExtensions(
      der, [&](const std::string& list) { return list + list.substr(0, 0) + unknown; });
  EXPECT_OK(Certificate::FromDer(once));
  const std::string unknown_twice =
      WithExtensions(der, [&](const std::string& list) { return unknown + list + unknown; });
  EXPECT_THAT(Certificate::FromDer(unknown_twice), StatusIs(kInvalid, HasSubstr("occurs twice")));
  const std::string all_twice =
      WithExtensions(der, [](const std::string& list) { return list + list; });
  EXPECT_THAT(Certificate::FromDer(all_twice), StatusIs(kInvalid, HasSubstr("occurs twice")));
}

TEST(Certificate, RefusesAnExtensionThatCannotBeParsed) {
  // 2.5.29.N with a NULL inside, which none of them is.
  for (const char arc : {14, 15, 17, 19, 30, 35, 37}) {
    const std::string broken =
        std::string("\x30\x09\x06\x03\x55\x1d", 6) + arc + std::string("\x04\x02\x05\x00", 4);
    const std::string der = WithExtensions(Golden("leaf").der(), [&](const std::string&) {
      std::string padding;
      for (char i = 0; i < 20; ++i) {
        padding +=
            std::string("\x30\x0a\x06\x03\x2a\x03", 6) + i + std::string("\x04\x03\x01\x02\x03", 5);
      }
      return padding + broken;
    });
    EXPECT_THAT(Certificate::FromDer(der), StatusIs(kInvalid, HasSubstr("cannot be parsed")))
        << int{arc};
  }
}

TEST(ParsePemChain, KeepsOrderAndNamesTheBadOne) {
  const std::string leaf = GoldenFile("leaf.pem");
  const std::string issuer = GoldenFile("issuer.pem");
  ASSERT_OK_AND_ASSIGN(const Chain chain,
                       ParsePemChain("text\n" + leaf + "\n# more\n" + issuer, 8));
  EXPECT_THAT(chain, ElementsAre(Golden("leaf"), Golden("issuer")));
  EXPECT_EQ(ToPem(chain), leaf + issuer);
  EXPECT_THAT(ParsePemChain(leaf + issuer, 1),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("at most 1")));
  EXPECT_THAT(ParsePemChain("", 8), StatusIs(kInvalid));
  EXPECT_THAT(ParsePemChain("no certificate", 8), StatusIs(kInvalid));
  EXPECT_THAT(ParsePemChain(leaf + GoldenFile("key-p256.pem"), 8),
              StatusIs(kInvalid, HasSubstr("PEM block 2: expected CERTIFICATE")));
  std::string damaged = leaf + issuer;
  damaged[leaf.size() + 100] = '!';
  EXPECT_THAT(ParsePemChain(damaged, 8), StatusIs(kInvalid, HasSubstr("PEM block 2")));
  EXPECT_THAT(ParsePemChain(std::string(10 << 20, 'x'), 8),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(ParsePemChain, DropsNoBlockThatWasCut) {
  const std::string two = GoldenFile("leaf.pem") + GoldenFile("issuer.pem");
  const size_t whole = GoldenFile("leaf.pem").size();
  for (size_t size = whole + 10; size + 1 < two.size(); ++size) {
    EXPECT_THAT(ParsePemChain(two.substr(0, size), 8), StatusIs(kInvalid)) << size;
  }
}

TEST(ParseDerChain, NamesThePosition) {
  const std::vector<std::string> good = {Golden("leaf").der(), Golden("issuer").der()};
  ASSERT_OK_AND_ASSIGN(const Chain chain, ParseDerChain(good));
  EXPECT_EQ(chain.size(), 2u);
  const std::vector<std::string> bad = {Golden("leaf").der(), "x"};
  EXPECT_THAT(ParseDerChain(bad), StatusIs(kInvalid, HasSubstr("position 2")));
}

}  // namespace
}  // namespace linchpin::x509
