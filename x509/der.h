// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// DER (X.690 §10), as little of it as this room reads and writes by itself where OpenSSL 3.0 is
// many times slower. The reader is strict: it says nothing rather than guess, and never looks past
// the bytes that it was given.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace linchpin::x509::der {

// Identifier octets: class, constructed bit and number.
inline constexpr unsigned char kBoolean = 0x01;
inline constexpr unsigned char kInteger = 0x02;
inline constexpr unsigned char kBitString = 0x03;
inline constexpr unsigned char kOctetString = 0x04;
inline constexpr unsigned char kOid = 0x06;
inline constexpr unsigned char kUtcTime = 0x17;
inline constexpr unsigned char kGeneralizedTime = 0x18;
inline constexpr unsigned char kSequence = 0x30;
constexpr unsigned char Context(int number) {  // [number] IMPLICIT, primitive
  return static_cast<unsigned char>(0x80 | number);
}
constexpr unsigned char ContextConstructed(int number) {
  return static_cast<unsigned char>(0xa0 | number);
}

struct Element {
  unsigned char tag = 0;
  absl::string_view body;
  absl::string_view whole;  // with tag and length
};

// Reads one element after the other. The bytes outlive it and what it returns.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : rest_(bytes) {}

  bool AtEnd() const { return rest_.empty(); }
  bool NextIs(unsigned char tag) const;
  // Nothing at the end, and where no DER follows: a tag number above 30, a length that is
  // indefinite, not the shortest, above 2^24 or beyond the end. Then nothing was consumed.
  std::optional<Element> Next();
  // The same, and nothing if it has another tag.
  std::optional<Element> Next(unsigned char tag);

 private:
  absl::string_view rest_;
};

// An element around the concatenation of `parts`.
std::string Write(unsigned char tag, std::initializer_list<absl::string_view> parts);
std::string WriteUnsigned(absl::string_view big_endian);  // INTEGER; at least one byte
// RFC 5280 §4.1.2.5: "CAs conforming to this profile MUST always encode certificate validity dates
// through the year 2049 as UTCTime; certificate validity dates in 2050 or later MUST be encoded as
// GeneralizedTime." From 1950 through 9999; fractions of a second are cut off.
std::string WriteTime(absl::Time time);

}  // namespace linchpin::x509::der
