// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/tls_library.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {
namespace {

using ::testing::HasSubstr;

constexpr char kFewer[] = "fewer decoders";

bool RemembersDecoders() { return OpenSSL_version_num() >= 0x30200000L; }

#define SKIP_IF_DECODERS_ARE_REMEMBERED() \
  if (RemembersDecoders()) GTEST_SKIP() << "this OpenSSL needs no context of its own"

EvpPkeyPtr Made(const char* type, const char* curve = nullptr) {
  if (curve != nullptr) return EvpPkeyPtr(EVP_EC_gen(curve));
  EvpPkeyCtxPtr context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  EXPECT_EQ(EVP_PKEY_keygen_init(context.get()), 1);
  EXPECT_EQ(EVP_PKEY_keygen(context.get(), &key), 1) << type;
  return EvpPkeyPtr(key);
}

// What a peer's certificate would hold, decoded in `library`.
EvpPkeyPtr Decoded(EVP_PKEY* key, OSSL_LIB_CTX* library) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  const unsigned char* at = der;
  EvpPkeyPtr decoded(d2i_PUBKEY_ex(nullptr, &at, size, library, nullptr));
  OPENSSL_free(der);
  return decoded;
}

std::string Signature(EVP_PKEY* key, OSSL_LIB_CTX* library) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  std::string signature(512, '\0');
  size_t size = signature.size();
  const bool ok = EVP_DigestSignInit_ex(context.get(), nullptr, "SHA256", library, nullptr, key,
                                        nullptr) == 1 &&
                  EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()),
                                 &size, reinterpret_cast<const unsigned char*>("it"), 2) == 1;
  return ok ? signature.substr(0, size) : "";
}

bool Verifies(const std::string& signature, EVP_PKEY* key, OSSL_LIB_CTX* library) {
  EvpMdCtxPtr context(EVP_MD_CTX_new());
  return EVP_DigestVerifyInit_ex(context.get(), nullptr, "SHA256", library, nullptr, key,
                                 nullptr) == 1 &&
         EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                          signature.size(), reinterpret_cast<const unsigned char*>("it"), 2) == 1;
}

TEST(TlsLibrary, OfAHostWithStockProvidersHasFewerDecodersIfOpenSslDoesNotRememberThem) {
  const TlsLibrary library = ChooseTlsLibrary();
  if (RemembersDecoders()) {
    EXPECT_EQ(library.context, nullptr);
    EXPECT_THAT(library.why, HasSubstr("remembers decoders"));
    return;
  }
  EXPECT_NE(library.context, nullptr) << library.why;
  EXPECT_THAT(library.why, HasSubstr(kFewer));
  EXPECT_EQ(ChooseTlsLibrary().context, library.context);
}

TEST(TlsLibrary, DecodesEveryKeyThatCanSignInTls13AndNoOther) {
  SKIP_IF_DECODERS_ARE_REMEMBERED();
  OSSL_LIB_CTX* const library = ChooseTlsLibrary().context;
  const EvpPkeyPtr p256 = Made("EC", "P-256");
  const EvpPkeyPtr p384 = Made("EC", "P-384");
  EXPECT_EQ(EVP_PKEY_eq(Decoded(p256.get(), library).get(), p256.get()), 1);
  EXPECT_EQ(EVP_PKEY_eq(Decoded(p384.get(), library).get(), p384.get()), 1);
  for (const char* type : {"RSA", "RSA-PSS", "ED25519", "ED448"}) {
    const EvpPkeyPtr key = Made(type);
    EXPECT_EQ(EVP_PKEY_eq(Decoded(key.get(), library).get(), key.get()), 1) << type;
  }
  EXPECT_EQ(Decoded(Made("X25519").get(), library), nullptr);
}

TEST(TlsLibrary, KeysOfEitherContextAreUsedInTheOtherByManyThreads) {
  SKIP_IF_DECODERS_ARE_REMEMBERED();
  const EvpPkeyPtr ours = Made("EC", "P-256");  // a service's key, of the default context
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&ours] {
      OSSL_LIB_CTX* const library = ChooseTlsLibrary().context;
      const EvpPkeyPtr theirs = Decoded(ours.get(), library);
      for (int round = 0; round < 20; ++round) {
        const std::string signature = Signature(ours.get(), library);
        EXPECT_FALSE(signature.empty());
        EXPECT_TRUE(Verifies(signature, theirs.get(), library));
        EXPECT_TRUE(Verifies(signature, theirs.get(), nullptr));
        EXPECT_FALSE(Verifies(signature + "x", theirs.get(), library));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Each in a process of its own, in which OpenSSL reads that openssl.cnf.
class TlsLibraryOfAHost : public ::testing::Test {
 protected:
  TlsLibraryOfAHost() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  ~TlsLibraryOfAHost() override { unsetenv("OPENSSL_CONF"); }
  void SetUp() override { SKIP_IF_DECODERS_ARE_REMEMBERED(); }

  static void Says(const std::string& config, const std::string& sentence) {
    const std::string path =
        absl::StrCat(LINCHPIN_SOURCE_DIR, "/tests/x509/openssl_cnf/", config, ".cnf");
    setenv("OPENSSL_CONF", path.c_str(), 1);
    EXPECT_EXIT(Say(), ::testing::ExitedWithCode(sentence == kFewer ? 0 : 1), sentence);
  }
  [[noreturn]] static void Say() {
    const TlsLibrary library = ChooseTlsLibrary();
    std::fprintf(stderr, "%s\n", library.why.c_str());
    _exit(library.context == nullptr ? 1 : 0);
  }
};

TEST_F(TlsLibraryOfAHost, WithAnotherProviderIsTheHosts) {
  Says("another_provider", "its provider base is active");
}

TEST_F(TlsLibraryOfAHost, WithoutTheDefaultProviderIsTheHosts) {
  Says("no_default_provider", "its provider base is active");
}

TEST_F(TlsLibraryOfAHost, WithDefaultPropertiesIsTheHosts) {
  Says("default_properties", "default_properties.cnf sets alg_section");
}

TEST_F(TlsLibraryOfAHost, WithARandomGeneratorOfItsOwnIsTheHosts) {
  Says("random_generator", "random_generator.cnf sets random");
}

TEST_F(TlsLibraryOfAHost, WithEnginesIsTheHosts) { Says("engines", "engines.cnf sets engines.1"); }

TEST_F(TlsLibraryOfAHost, WhoseConfigurationCannotBeReadIsTheHosts) {
  Says("broken", "broken.cnf cannot be read");
}

TEST_F(TlsLibraryOfAHost, ThatNamesTheStockProviderHasFewerDecoders) {
  Says("stock_provider_by_name", kFewer);
}

TEST_F(TlsLibraryOfAHost, ThatSetsOnlyTlsHasFewerDecoders) { Says("tls_settings", kFewer); }

TEST_F(TlsLibraryOfAHost, WithoutAConfigurationHasFewerDecoders) {
  Says("there_is_no_such_file", kFewer);
}

TEST_F(TlsLibraryOfAHost, WhoseProgramLoadsAProviderIsTheHostsFromThenOn) {
  const auto program = [] {
    if (ChooseTlsLibrary().context == nullptr) _exit(2);
    OSSL_PROVIDER* provider = OSSL_PROVIDER_load(nullptr, "base");
    if (ChooseTlsLibrary().context != nullptr) _exit(3);
    OSSL_PROVIDER_unload(provider);
    _exit(ChooseTlsLibrary().context == nullptr ? 4 : 0);
  };
  EXPECT_EXIT(program(), ::testing::ExitedWithCode(0), "");
}

TEST_F(TlsLibraryOfAHost, WhoseProgramTurnsFipsOnIsTheHosts) {
  const auto program = [] {
    EVP_default_properties_enable_fips(nullptr, 1);
    Say();
  };
  EXPECT_EXIT(program(), ::testing::ExitedWithCode(1), "FIPS is on");
}

TEST_F(TlsLibraryOfAHost, WhoseProgramForbidsWhatTlsNeedsIsTheHosts) {
  const auto program = [] {
    EVP_set_default_properties(nullptr, "provider=nobody");
    Say();
  };
  EXPECT_EXIT(program(), ::testing::ExitedWithCode(1), "default properties forbid TLS");
}

TEST_F(TlsLibraryOfAHost, WhoseThreadHasADefaultContextOfItsOwnIsTheHosts) {
  const auto program = [] {
    OSSL_LIB_CTX_set0_default(OSSL_LIB_CTX_new());
    Say();
  };
  EXPECT_EXIT(program(), ::testing::ExitedWithCode(1), "default library context of its own");
}

}  // namespace
}  // namespace linchpin::x509
