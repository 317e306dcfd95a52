// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/der.h"

#include <openssl/asn1.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/hex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/seeded_random.h"

namespace linchpin::x509::der {
namespace {

std::string Hex(absl::string_view hex) { return base::BytesOfHex(hex).value(); }

TEST(DerReader, ReadsOneElementAfterTheOther) {
  const std::string bytes =
      Hex("020105"
          "0400"
          "3003020100");
  Reader reader(bytes);
  EXPECT_TRUE(reader.NextIs(kInteger));
  const auto integer = reader.Next(kInteger);
  ASSERT_TRUE(integer.has_value());
  EXPECT_EQ(integer->body, "\x05");
  EXPECT_EQ(integer->whole, Hex("020105"));
  EXPECT_FALSE(reader.Next(kSequence).has_value()) << "the next has another tag";
  const auto empty = reader.Next();
  ASSERT_TRUE(empty.has_value());
  EXPECT_EQ(empty->tag, kOctetString);
  EXPECT_EQ(empty->body, "");
  EXPECT_FALSE(reader.AtEnd());
  EXPECT_EQ(reader.Next(kSequence)->body, Hex("020100"));
  EXPECT_TRUE(reader.AtEnd());
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_FALSE(reader.NextIs(kSequence));
}

TEST(DerReader, SaysNothingOfWhatIsNotDer) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"", "nothing"},
      {"30", "a tag alone"},
      {"3001", "a body that is missing"},
      {"3080020100"
       "0000",
       "an indefinite length"},
      {"308101"
       "00",
       "a long form where the short one does"},
      {"30817f", "a long form at the edge of the short one"},
      {"30820080", "two bytes of length where one does"},
      {"3083000100", "three bytes of length where two do"},
      {"308200", "a length that is cut off"},
      {"3084000000010000", "four bytes of length"},
      {"30ff", "the reserved length"},
      {"3082ffff00", "a length beyond the end"},
      {"3083ffffff00", "the longest length, beyond the end"},
      {"1f8101"
       "00",
       "a high tag number"},
      {"3f0100", "a high tag number, constructed"},
  };
  for (const auto& [hex, what] : cases) {
    const std::string bytes = Hex(hex);
    Reader reader(bytes);
    EXPECT_FALSE(reader.Next().has_value()) << what;
    EXPECT_EQ(reader.AtEnd(), bytes.empty()) << what << ": nothing is consumed";
  }
}

TEST(DerReader, ReadsWhatTheWriterWroteAtEveryLengthOfLength) {
  for (const size_t size : {0, 1, 127, 128, 255, 256, 65535, 65536, 100000}) {
    const std::string body(size, 'b');
    const std::string written =
        Write(kOctetString, {body.substr(0, size / 2), body.substr(size / 2)});
    Reader reader(written);
    const auto element = reader.Next(kOctetString);
    ASSERT_TRUE(element.has_value()) << size;
    EXPECT_EQ(element->body, body);
    EXPECT_EQ(element->whole, written);
    EXPECT_TRUE(reader.AtEnd());
    Reader cut(absl::string_view(written).substr(0, written.size() - 1));
    EXPECT_FALSE(cut.Next().has_value()) << size;
  }
}

// OpenSSL's ASN1_get_object reads BER: whatever we read, it reads alike.
TEST(DerReader, ReadsNothingThatOpenSslReadsOtherwise) {
  test::SeededRandom random(1);
  size_t read = 0;
  for (int round = 0; round < 200000; ++round) {
    std::string bytes(random.Below(12), '\0');
    random.Fill(bytes.data(), bytes.size());
    if (bytes.size() > 1 && random.OneIn(2)) bytes[1] = static_cast<char>(random.Below(12));
    Reader reader(bytes);
    const auto element = reader.Next();
    if (!element.has_value()) continue;
    ++read;
    const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
    long length = 0;
    int tag = 0, tag_class = 0;
    const int flags =
        ASN1_get_object(&at, &length, &tag, &tag_class, static_cast<long>(bytes.size()));
    ASSERT_EQ(flags & ~V_ASN1_CONSTRUCTED, 0) << absl::BytesToHexString(bytes);
    EXPECT_EQ(static_cast<size_t>(length), element->body.size());
    EXPECT_EQ(reinterpret_cast<const char*>(at), element->body.data());
    EXPECT_EQ(tag | tag_class | flags, element->tag);
  }
  EXPECT_GT(read, 1000u);
}

TEST(DerWriter, WritesPositiveNumbers) {
  EXPECT_EQ(WriteUnsigned(Hex("00")), Hex("020100"));
  EXPECT_EQ(WriteUnsigned(Hex("7f")), Hex("02017f"));
  EXPECT_EQ(WriteUnsigned(Hex("80")), Hex("02020080"));
  EXPECT_EQ(WriteUnsigned(Hex("0000ff01")), Hex("020300ff01"));
}

std::string TimeByOpenSsl(absl::Time time) {
  ASN1_TIME* made = ASN1_TIME_set(nullptr, absl::ToTimeT(time));
  unsigned char* der = nullptr;
  const int size = i2d_ASN1_TIME(made, &der);
  std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  ASN1_TIME_free(made);
  return bytes;
}

TEST(DerWriter, WritesTimesAsOpenSslDoes) {
  EXPECT_EQ(WriteTime(absl::FromUnixSeconds(0)), std::string("\x17\x0d") + "700101000000Z");
  const absl::Time edge = absl::FromCivil(absl::CivilYear(2050), absl::UTCTimeZone());
  EXPECT_EQ(WriteTime(edge - absl::Seconds(1)), std::string("\x17\x0d") + "491231235959Z");
  EXPECT_EQ(WriteTime(edge), std::string("\x18\x0f") + "20500101000000Z");
  const int64_t last = 253402300799;  // the end of 9999
  test::SeededRandom random(1);
  for (int round = 0; round < 5000; ++round) {
    const absl::Time time = absl::FromUnixSeconds(static_cast<int64_t>(random.Below(last + 1)));
    ASSERT_EQ(WriteTime(time), TimeByOpenSsl(time)) << time;
  }
  for (const absl::Time time : {absl::FromUnixSeconds(last), edge, edge - absl::Seconds(1)}) {
    EXPECT_EQ(WriteTime(time), TimeByOpenSsl(time)) << time;
  }
}

}  // namespace
}  // namespace linchpin::x509::der
