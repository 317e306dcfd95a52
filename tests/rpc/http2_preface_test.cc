// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/http2_preface.h"

#include <string>

#include "gtest/gtest.h"

namespace linchpin::rpc {
namespace {

const std::string kMagic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// A frame's header and as many bytes as it says.
std::string Frame(size_t length, char type = 4, char flags = 0, char stream = 0) {
  std::string frame{
      0, static_cast<char>(length >> 8), static_cast<char>(length), type, flags, 0, 0, 0, stream};
  return frame + std::string(length, 'x');
}

TEST(LookAtPreface, IsWholeOnceTheFirstSettingsAreThere) {
  for (const size_t length : {0, 6, 36, 384}) {
    const std::string whole = kMagic + Frame(length);
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_EQ(LookAtPreface(whole.substr(0, size)), Preface::kBegun) << size;
    }
    EXPECT_EQ(LookAtPreface(whole), Preface::kWhole);
    EXPECT_EQ(LookAtPreface(whole + "what follows"), Preface::kWhole);
  }
}

TEST(LookAtPreface, AnyOtherByteIsForeignAtOnce) {
  const std::string whole = kMagic + Frame(0);
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string wrong = whole.substr(0, at + 1);
    wrong[at] = static_cast<char>(wrong[at] ^ 0x20);
    // Half a length may still become a length.
    const bool length = at >= kMagic.size() && at < kMagic.size() + 2;
    EXPECT_EQ(LookAtPreface(wrong), length ? Preface::kBegun : Preface::kForeign) << at;
  }
}

TEST(LookAtPreface, OtherFirstFramesAreForeign) {
  EXPECT_EQ(LookAtPreface(kMagic + Frame(6, 1)), Preface::kForeign) << "HEADERS";
  EXPECT_EQ(LookAtPreface(kMagic + Frame(0, 4, 1)), Preface::kForeign) << "an acknowledgement";
  EXPECT_EQ(LookAtPreface(kMagic + Frame(6, 4, 0, 1)), Preface::kForeign) << "on a stream";
  EXPECT_EQ(LookAtPreface(kMagic + Frame(5)), Preface::kForeign) << "no whole setting";
  EXPECT_EQ(LookAtPreface(kMagic + Frame(390)), Preface::kForeign) << "65 settings";
  EXPECT_EQ(LookAtPreface(kMagic + std::string("\xff\xff\xfc", 3)), Preface::kForeign);
}

TEST(LookAtPreface, OtherProtocolsAreForeign) {
  EXPECT_EQ(LookAtPreface("GET / HTTP/1.1\r\n"), Preface::kForeign);
  EXPECT_EQ(LookAtPreface("\x16\x03\x01"), Preface::kForeign);
  EXPECT_EQ(LookAtPreface(std::string(1, '\0')), Preface::kForeign);
}

}  // namespace
}  // namespace linchpin::rpc
