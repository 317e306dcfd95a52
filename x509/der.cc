// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/der.h"

#include <array>
#include <cstdint>

#include "absl/time/civil_time.h"

namespace linchpin::x509::der {
namespace {

constexpr unsigned char kHighTagNumber = 0x1f;
constexpr unsigned char kLongForm = 0x80;
constexpr size_t kMostLengthBytes = 3;

unsigned char At(absl::string_view bytes, size_t i) { return static_cast<unsigned char>(bytes[i]); }

void AppendLength(size_t length, std::string* out) {
  if (length < kLongForm) {
    out->push_back(static_cast<char>(length));
    return;
  }
  int bytes = 1;
  while (length >> (8 * bytes) != 0) ++bytes;
  out->push_back(static_cast<char>(kLongForm | bytes));
  while (bytes-- > 0) out->push_back(static_cast<char>(length >> (8 * bytes)));
}

void AppendDigits(int64_t number, int digits, std::string* out) {
  std::array<char, 4> text;
  for (int i = digits; i-- > 0; number /= 10) {
    text[static_cast<size_t>(i)] = static_cast<char>('0' + number % 10);
  }
  out->append(text.data(), static_cast<size_t>(digits));
}

}  // namespace

bool Reader::NextIs(unsigned char tag) const { return !rest_.empty() && At(rest_, 0) == tag; }

std::optional<Element> Reader::Next() {
  if (rest_.size() < 2) return std::nullopt;
  Element element;
  element.tag = At(rest_, 0);
  if ((element.tag & kHighTagNumber) == kHighTagNumber) return std::nullopt;
  size_t header = 2;
  size_t length = At(rest_, 1);
  if (length >= kLongForm) {
    const size_t bytes = length - kLongForm;
    if (bytes == 0 || bytes > kMostLengthBytes || rest_.size() < header + bytes) {
      return std::nullopt;
    }
    length = 0;
    for (size_t i = 0; i < bytes; ++i) length = length << 8 | At(rest_, header + i);
    const size_t least = bytes == 1 ? kLongForm : size_t{1} << (8 * (bytes - 1));
    if (length < least) return std::nullopt;  // a shorter form would do
    header += bytes;
  }
  if (length > rest_.size() - header) return std::nullopt;
  element.whole = rest_.substr(0, header + length);
  element.body = element.whole.substr(header);
  rest_.remove_prefix(element.whole.size());
  return element;
}

std::optional<Element> Reader::Next(unsigned char tag) {
  return NextIs(tag) ? Next() : std::nullopt;
}

std::string Write(unsigned char tag, std::initializer_list<absl::string_view> parts) {
  size_t length = 0;
  for (const absl::string_view part : parts) length += part.size();
  std::string out;
  out.reserve(length + 2 + sizeof(length));
  out.push_back(static_cast<char>(tag));
  AppendLength(length, &out);
  for (const absl::string_view part : parts) out.append(part.data(), part.size());
  return out;
}

std::string WriteUnsigned(absl::string_view big_endian) {
  while (big_endian.size() > 1 && big_endian[0] == '\0') big_endian.remove_prefix(1);
  const bool looks_negative = (At(big_endian, 0) & 0x80) != 0;
  return Write(kInteger, {absl::string_view("\0", looks_negative ? 1 : 0), big_endian});
}

std::string WriteTime(absl::Time time) {
  const absl::CivilSecond civil = absl::ToCivilSecond(time, absl::UTCTimeZone());
  const bool short_year = civil.year() < 2050;
  std::string text;
  AppendDigits(short_year ? civil.year() % 100 : civil.year(), short_year ? 2 : 4, &text);
  for (const int part :
       {civil.month(), civil.day(), civil.hour(), civil.minute(), civil.second()}) {
    AppendDigits(part, 2, &text);
  }
  return Write(short_year ? kUtcTime : kGeneralizedTime, {text, "Z"});
}

}  // namespace linchpin::x509::der
