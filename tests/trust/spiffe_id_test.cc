// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/spiffe_id.h"

#include <cctype>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace linchpin::trust {
namespace {

using test::StatusIs;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

bool IsLower(int c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(int c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(int c) { return c >= '0' && c <= '9'; }
bool IsMark(int c) { return c == '.' || c == '-' || c == '_'; }

TrustDomain Example() { return *TrustDomain::FromName("example.org"); }

TEST(SpiffeId, ParsesTrustDomainAndPath) {
  ASSERT_OK_AND_ASSIGN(const SpiffeId id, SpiffeId::Parse("spiffe://example.org/a/B-c_1.d"));
  EXPECT_EQ(id.trust_domain().name(), "example.org");
  EXPECT_EQ(id.path(), "/a/B-c_1.d");
  EXPECT_EQ(id.ToString(), "spiffe://example.org/a/B-c_1.d");
  EXPECT_EQ(id.trust_domain().IdString(), "spiffe://example.org");
}

// §2.1: "limited to lowercase letters, numbers, dots, dashes, and underscores".
TEST(SpiffeId, AllowsJustTheseBytesInATrustDomain) {
  for (int c = 0; c < 256; ++c) {
    if (c == '/') continue;  // ends the trust domain
    const std::string name = absl::StrCat("a", std::string(1, static_cast<char>(c)), "b");
    const bool allowed = IsLower(c) || IsDigit(c) || IsMark(c);
    EXPECT_EQ(TrustDomain::FromName(name).ok(), allowed) << "byte " << c;
    EXPECT_EQ(SpiffeId::Parse(absl::StrCat("spiffe://", name, "/x")).ok(), allowed) << "byte " << c;
  }
}

// §2.2: "Path segments MUST contain only letters, numbers, dots, dashes, and underscores".
TEST(SpiffeId, AllowsJustTheseBytesInAPath) {
  for (int c = 0; c < 256; ++c) {
    const std::string path = absl::StrCat("/a", std::string(1, static_cast<char>(c)), "b");
    const bool allowed = IsLower(c) || IsUpper(c) || IsDigit(c) || IsMark(c) || c == '/';
    EXPECT_EQ(SpiffeId::Parse(absl::StrCat("spiffe://td", path)).ok(), allowed) << "byte " << c;
    EXPECT_EQ(SpiffeId::Make(Example(), path).ok(), allowed) << "byte " << c;
  }
}

struct BadId {
  std::string text;
  std::string rule;
};

TEST(SpiffeId, RefusesWhatBreaksTheStandardAndNamesTheRule) {
  const std::vector<BadId> table = {
      {"", "does not begin with spiffe://"},
      {"/a", "does not begin with spiffe://"},
      {"example.org/a", "does not begin with spiffe://"},
      {"spiffe:/example.org/a", "does not begin with spiffe://"},
      {"spiffe:example.org/a", "does not begin with spiffe://"},
      {"http://example.org/a", "does not begin with spiffe://"},
      {"SPIFFE://example.org/a", "does not begin with spiffe://"},
      {" spiffe://example.org/a", "does not begin with spiffe://"},
      {"spiffe://", "name is empty"},
      {"spiffe:///a", "name is empty"},
      {"spiffe://Example.org/a", "trust domain name has the byte"},
      {"spiffe://user@example.org/a", "trust domain name has the byte"},
      {"spiffe://example.org:443/a", "trust domain name has the byte"},
      {"spiffe://exämple.org/a", "trust domain name has the byte"},
      {"spiffe://ex%61mple.org/a", "trust domain name has the byte"},
      {"spiffe://example.org?q", "trust domain name has the byte"},
      {"spiffe://example.org#f", "trust domain name has the byte"},
      {"spiffe://[::1]/a", "trust domain name has the byte"},
      {"spiffe://example.org", "there is no path"},
      {"spiffe://example.org/", "ends in '/'"},
      {"spiffe://example.org/a/", "ends in '/'"},
      {"spiffe://example.org//", "ends in '/'"},
      {"spiffe://example.org//a", "empty segment"},
      {"spiffe://example.org/a//b", "empty segment"},
      {"spiffe://example.org/.", "relative segment"},
      {"spiffe://example.org/..", "relative segment"},
      {"spiffe://example.org/a/./b", "relative segment"},
      {"spiffe://example.org/a/../b", "relative segment"},
      {"spiffe://example.org/a%2fb", "path has the byte"},
      {"spiffe://example.org/a?q", "path has the byte"},
      {"spiffe://example.org/a#f", "path has the byte"},
      {"spiffe://example.org/a b", "path has the byte"},
      {"spiffe://example.org/\xc3\xa4", "path has the byte"},
      {std::string("spiffe://example.org/a\0b", 24), "path has the byte"},
  };
  for (const BadId& entry : table) {
    EXPECT_THAT(SpiffeId::Parse(entry.text), StatusIs(kInvalid, entry.rule)) << entry.text;
  }
}

TEST(SpiffeId, AllowsDotsThatAreNoRelativeSegment) {
  for (const char* path : {"/...", "/.a", "/a.", "/..a", "/a/.../b"}) {
    EXPECT_OK(SpiffeId::Parse(absl::StrCat("spiffe://example.org", path)));
  }
}

TEST(SpiffeId, HoldsTheLimitsOfLength) {
  const std::string longest_name(255, 'a');
  EXPECT_OK(TrustDomain::FromName(longest_name));
  EXPECT_THAT(TrustDomain::FromName(longest_name + "a"), StatusIs(kInvalid, "at most 255"));
  const std::string start = "spiffe://example.org/";
  EXPECT_OK(SpiffeId::Parse(start + std::string(2048 - start.size(), 'a')));
  EXPECT_THAT(SpiffeId::Parse(start + std::string(2049 - start.size(), 'a')),
              StatusIs(kInvalid, "at most 2048"));
  EXPECT_THAT(SpiffeId::Make(Example(), "/" + std::string(2048, 'a')),
              StatusIs(kInvalid, "at most 2048"));
}

TEST(SpiffeId, QuotesAStrangersTextEscapedAndCut) {
  const absl::Status status = SpiffeId::Parse("spiffe://a\n\x1b[2J/x").status();
  EXPECT_THAT(status, StatusIs(kInvalid, "\\n"));
  for (char c : status.message()) EXPECT_TRUE(std::isprint(static_cast<unsigned char>(c)));
  EXPECT_LT(SpiffeId::Parse("spiffe://" + std::string(2000, 'A')).status().message().size(), 600u);
}

TEST(SpiffeId, KnowsTheReservedRoles) {
  const auto id = [](const char* path) { return *SpiffeId::Make(Example(), path); };
  EXPECT_TRUE(id("/linchpin/ca").IsReserved());
  EXPECT_TRUE(id("/linchpin/anything/else").IsReserved());
  EXPECT_FALSE(id("/linchpin").IsReserved());
  EXPECT_FALSE(id("/linchpin2/ca").IsReserved());
  EXPECT_FALSE(id("/a/linchpin/ca").IsReserved());
  EXPECT_FALSE(id("/Linchpin/ca").IsReserved());

  EXPECT_TRUE(id("/linchpin/ca").IsCa());
  EXPECT_FALSE(id("/linchpin/ca/x").IsCa());
  EXPECT_FALSE(id("/linchpin/CA").IsCa());
  EXPECT_TRUE(id("/linchpin/node/n1").IsNode());
  EXPECT_FALSE(id("/linchpin/node").IsNode());
  EXPECT_FALSE(id("/linchpin/node/n1/x").IsNode());
  EXPECT_FALSE(id("/linchpin/operator/n1").IsNode());
  EXPECT_TRUE(id("/linchpin/operator/alice").IsOperator());
  EXPECT_FALSE(id("/linchpin/operator/a/b").IsOperator());
  EXPECT_EQ(CaId(Example()).ToString(), "spiffe://example.org/linchpin/ca");
}

TEST(SpiffeId, MakesNodeIdsFromNodeNamesOnly) {
  ASSERT_OK_AND_ASSIGN(const SpiffeId id, NodeId(Example(), "rack-1.host_2"));
  EXPECT_EQ(id.ToString(), "spiffe://example.org/linchpin/node/rack-1.host_2");
  EXPECT_TRUE(id.IsNode());
  EXPECT_OK(NodeId(Example(), std::string(128, 'n')));
  for (const std::string& bad :
       {std::string(), std::string(129, 'n'), std::string("a/b"), std::string("a b"),
        std::string("."), std::string(".."), std::string("n\0", 2)}) {
    EXPECT_THAT(NodeId(Example(), bad), StatusIs(kInvalid)) << bad;
  }
}

TEST(SpiffeId, OrdersAndComparesByTrustDomainThenPath) {
  ASSERT_OK_AND_ASSIGN(const SpiffeId a, SpiffeId::Parse("spiffe://a.org/z"));
  ASSERT_OK_AND_ASSIGN(const SpiffeId b, SpiffeId::Parse("spiffe://b.org/a"));
  EXPECT_LT(a, b);
  EXPECT_EQ(a, *SpiffeId::Parse("spiffe://a.org/z"));
  EXPECT_NE(a, *SpiffeId::Parse("spiffe://a.org/Z"));
}

}  // namespace
}  // namespace linchpin::trust
