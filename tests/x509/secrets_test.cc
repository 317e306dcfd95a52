// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <cstring>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/seeded_random.h"
#include "tests/support/status_matchers.h"
#include "x509/digest.h"
#include "x509/sealing.h"
#include "x509/secret_bytes.h"
#include "x509/spki_pin.h"

namespace linchpin::x509 {
namespace {

using ::linchpin::test::SeededRandom;
using ::linchpin::test::StatusIs;
using ::testing::HasSubstr;

// FIPS 180-4's own example.
TEST(Sha256, MatchesTheStandardsExample) {
  EXPECT_EQ(absl::BytesToHexString(Sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(absl::BytesToHexString(Sha256("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(FieldHasher, KeepsFieldsApart) {
  auto hash = [](absl::string_view domain, absl::string_view a, absl::string_view b) {
    return FieldHasher(domain).Add(a).Add(b).Finish();
  };
  EXPECT_EQ(hash("d", "ab", "c"), hash("d", "ab", "c"));
  EXPECT_NE(hash("d", "ab", "c"), hash("d", "a", "bc"));
  EXPECT_NE(hash("d", "ab", "c"), hash("e", "ab", "c"));
  EXPECT_NE(hash("d", "", "x"), hash("d", "x", ""));
  EXPECT_NE(FieldHasher("d").Add(1).Finish(), FieldHasher("d").Add(2).Finish());
}

// Keys of stored state depend on it.
TEST(FieldHasher, IsStable) {
  EXPECT_EQ(FieldHasher("d").Add("ab").Add(7).Finish(),
            Sha256(absl::string_view("\0\0\0\0\0\0\0\1d\0\0\0\0\0\0\0\2ab\0\0\0\0\0\0\0\7", 27)));
}

TEST(SecretBytes, WipesTheStringItTakes) {
  for (const size_t size : {5u, 300u}) {
    std::string source(size, 'k');
    const SecretBytes secret = SecretBytes::TakeAndWipe(&source);
    EXPECT_TRUE(source.empty());
    EXPECT_EQ(secret.Reveal(), std::string(size, 'k'));
  }
}

TEST(SecretBytes, MovesWithoutACopy) {
  SecretBytes secret("short key");
  const char* const inside = secret.Reveal().data();
  SecretBytes moved = std::move(secret);
  EXPECT_EQ(moved.Reveal(), "short key");
  EXPECT_EQ(moved.Reveal().data(), inside);
  EXPECT_TRUE(secret.empty());  // NOLINT(bugprone-use-after-move)

  SecretBytes target("older and longer than it should be");
  target = std::move(moved);
  EXPECT_EQ(target.Reveal().data(), inside);
  EXPECT_TRUE(moved.empty());  // NOLINT(bugprone-use-after-move)
}

TEST(SecretBytes, AreFilledInPlace) {
  SecretBytes secret = SecretBytes::OfSize(4);
  EXPECT_EQ(secret.Reveal(), std::string(4, '\0'));
  std::memcpy(secret.Fill(), "abcd", 4);
  EXPECT_EQ(secret.Reveal(), "abcd");
  EXPECT_TRUE(SecretBytes::OfSize(0).empty());
}

TEST(ShareWiped, IsWipedByTheLastHolderAlone) {
  static int wiped = 0;
  auto first = ShareWiped(
      std::string("secret"), +[](std::string* value) {
        EXPECT_EQ(*value, "secret");
        ++wiped;
      });
  std::shared_ptr<const std::string> last = first;
  first = nullptr;
  EXPECT_EQ(wiped, 0);
  last = nullptr;
  EXPECT_EQ(wiped, 1);
}

TEST(SecretBytes, CopiesAndCompares) {
  SecretBytes a("one");
  SecretBytes b;
  b = a;
  EXPECT_TRUE(a.ConstantTimeEquals(b));
  EXPECT_FALSE(a.ConstantTimeEquals(SecretBytes("onE")));
  EXPECT_FALSE(a.ConstantTimeEquals(SecretBytes("ones")));
  EXPECT_FALSE(a.ConstantTimeEquals(SecretBytes()));
  EXPECT_TRUE(SecretBytes().empty());
}

TEST(SpkiPin, ReadsWhatItPrints) {
  const SpkiPin pin = SpkiPin::OfSpki("some key");
  EXPECT_THAT(pin.ToString(), HasSubstr("sha256:"));
  EXPECT_THAT(SpkiPin::Parse(pin.ToString()), test::IsOkAndHolds(pin));
  EXPECT_THAT(SpkiPin::FromBytes(pin.bytes()), test::IsOkAndHolds(pin));
  EXPECT_NE(pin, SpkiPin::OfSpki("some other key"));
}

TEST(SpkiPin, RefusesEveryOtherText) {
  const std::string good = SpkiPin::OfSpki("some key").ToString();
  std::string nonzero_tail = good;  // the last character's unused bits are set
  nonzero_tail[good.size() - 2] = static_cast<char>(good[good.size() - 2] + 1);
  for (const std::string& text :
       {std::string(), std::string("sha256:"), good.substr(7), "SHA256:" + good.substr(7),
        "sha1:" + good.substr(7), good.substr(0, good.size() - 1), good + "=", good + " ",
        " " + good, "sha256: " + good.substr(7, 43), nonzero_tail, std::string(10 << 20, 'A')}) {
    EXPECT_THAT(SpkiPin::Parse(text), StatusIs(absl::StatusCode::kInvalidArgument))
        << text.substr(0, 80);
  }
  EXPECT_THAT(SpkiPin::Parse("sha256:nonsense"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sha256:nonsense")));
  EXPECT_THAT(SpkiPin::FromBytes("short"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("found 5")));
}

TEST(Sealing, OpensWithTheSameKeyAndContextOnly) {
  SeededRandom random(1);
  const SecretBytes key(base::RandomBytes(random, kSealingKeySize));
  const SecretBytes other_key(base::RandomBytes(random, kSealingKeySize));
  for (const std::string& plaintext : {std::string(), std::string("x"), std::string(100000, 'p')}) {
    ASSERT_OK_AND_ASSIGN(const std::string sealed, Seal(key, plaintext, "state", random));
    ASSERT_OK_AND_ASSIGN(const SecretBytes opened, Unseal(key, sealed, "state"));
    EXPECT_EQ(opened.Reveal(), plaintext);
    EXPECT_THAT(Unseal(key, sealed, "other"), StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_THAT(Unseal(other_key, sealed, "state"), StatusIs(absl::StatusCode::kDataLoss));
  }
}

TEST(Sealing, NoticesAnyChange) {
  SeededRandom random(2);
  const SecretBytes key(base::RandomBytes(random, kSealingKeySize));
  ASSERT_OK_AND_ASSIGN(const std::string sealed, Seal(key, "plaintext", "state", random));
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_THAT(Unseal(key, changed, "state"), StatusIs(absl::StatusCode::kDataLoss)) << i;
    EXPECT_THAT(Unseal(key, sealed.substr(0, i), "state"), StatusIs(absl::StatusCode::kDataLoss));
  }
  EXPECT_THAT(Unseal(key, sealed + "x", "state"), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(Sealing, UsesAFreshNonceAndAWholeKey) {
  SeededRandom random(3);
  const SecretBytes key(base::RandomBytes(random, kSealingKeySize));
  ASSERT_OK_AND_ASSIGN(const std::string first, Seal(key, "same", "state", random));
  ASSERT_OK_AND_ASSIGN(const std::string second, Seal(key, "same", "state", random));
  EXPECT_NE(first, second);
  EXPECT_THAT(Seal(SecretBytes("short"), "x", "", random),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("found 5")));
  EXPECT_THAT(Unseal(SecretBytes("short"), first, ""),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace linchpin::x509
