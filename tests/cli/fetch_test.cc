// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What fetch writes and says; the calls themselves are in commands_test.cc.
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/durable_file.h"
#include "cli/fetch_text.h"
#include "cli/fetch_writer.h"
#include "tests/cli/contexts_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::cli {
namespace {

using test::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Contents(const std::string& path) {
  auto contents = base::ReadFile(path, 1 << 20);
  if (!contents.ok()) ADD_FAILURE() << contents.status();
  return contents.value_or("");
}

size_t Entries(const std::string& directory) {
  const std::filesystem::directory_iterator it(directory);
  return static_cast<size_t>(std::distance(begin(it), end(it)));
}

TEST(FetchWriter, WritesCertificateKeyBundleAndTrust) {
  ContextsWorld world;
  test::TempDir directory;
  const std::string out = directory.Join("tls");
  ASSERT_OK(WriteContextDirectory(out + "/", world.contexts));
  EXPECT_EQ(Entries(directory.path()), 1u);
  EXPECT_EQ(Entries(out), 4u);
  struct stat key = {};
  ASSERT_EQ(stat((out + "/key.pem").c_str(), &key), 0);
  EXPECT_EQ(key.st_mode & 07777, 0600u);
  EXPECT_EQ(Contents(out + "/key.pem"), std::string(world.leaf_key.ToPem().Reveal()));
  ASSERT_OK_AND_ASSIGN(const x509::Chain chain,
                       x509::ParsePemChain(Contents(out + "/chain.pem"), 8));
  EXPECT_EQ(chain.front().der(), world.contexts.identities(0).chain(0));
  ASSERT_OK_AND_ASSIGN(const x509::Chain bundle,
                       x509::ParsePemChain(Contents(out + "/bundle.pem"), 8));
  EXPECT_TRUE(bundle.front().public_key() == world.root_key.public_key());
  const std::string trust = Contents(out + "/trust.json");
  EXPECT_THAT(trust, HasSubstr("example.org"));
  EXPECT_THAT(trust, HasSubstr("\"privateKey\": \"\""));
}

TEST(FetchWriter, ReplacesTheDirectoryWholeUnderAReader) {
  ContextsWorld worlds[2];
  test::TempDir directory;
  const std::string out = directory.Join("tls");
  ASSERT_OK(WriteContextDirectory(out, worlds[0].contexts));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 1; i <= 40; ++i) {
      EXPECT_OK(WriteContextDirectory(out, worlds[i % 2].contexts));
    }
    stop = true;
  });
  // A reader that holds the directory open sees files of one and the same delivery, or finds that
  // it was replaced and looks again.
  while (!stop) {
    std::error_code gone;
    for (const char* file : {"chain.pem", "key.pem", "bundle.pem", "trust.json"}) {
      EXPECT_TRUE(std::filesystem::exists(out + "/" + file, gone)) << file;
    }
  }
  writer.join();
  EXPECT_EQ(Entries(directory.path()), 1u);
}

TEST(FetchWriter, KeepsADirectoryThatHoldsSomethingElse) {
  ContextsWorld world;
  test::TempDir directory;
  std::ofstream(directory.Join("precious")) << "data";
  EXPECT_THAT(WriteContextDirectory(directory.path(), world.contexts),
              StatusIs(absl::StatusCode::kFailedPrecondition, "precious"));
  EXPECT_EQ(Contents(directory.Join("precious")), "data");
  EXPECT_EQ(Entries(directory.path()), 1u);
}

TEST(FetchWriter, LeavesTheOldFilesWhenTheNewOnesAreBad) {
  ContextsWorld world;
  test::TempDir directory;
  const std::string out = directory.Join("tls");
  ASSERT_OK(WriteContextDirectory(out, world.contexts));
  const std::string before = Contents(out + "/chain.pem");
  ContextsWorld other;
  other.contexts.mutable_identities(0)->set_private_key(world.contexts.identities(0).private_key());
  EXPECT_THAT(WriteContextDirectory(out, other.contexts),
              StatusIs(absl::StatusCode::kDataLoss, "key"));
  EXPECT_EQ(Contents(out + "/chain.pem"), before);
  EXPECT_EQ(Entries(directory.path()), 1u);
}

TEST(FetchText, ShowsIdentityPinsAndPeersAndNoKey) {
  ContextsWorld world;
  world.Allow(kWebId, "spiffe://example.org/payments");
  world.Allow("spiffe://example.org/edge", kWebId);
  ASSERT_OK_AND_ASSIGN(const std::string text, DescribeContexts(world.contexts, world.now));
  EXPECT_THAT(text, HasSubstr(kWebId));
  EXPECT_THAT(text, HasSubstr("2027-01-15T09:00:00Z, in 1h"));
  EXPECT_THAT(text, HasSubstr("peers:     calls spiffe://example.org/payments\n"));
  EXPECT_THAT(text, HasSubstr("           called by spiffe://example.org/edge\n"));
  EXPECT_THAT(text, HasSubstr("unsigned (set 0), enforce"));
  EXPECT_THAT(text, HasSubstr(world.root_key.public_key().pin().ToString() + " anchor"));
  EXPECT_THAT(text, Not(HasSubstr("KEY")));
}

TEST(FetchText, TellsHowToAllowAPeerWhereThereIsNone) {
  ContextsWorld world;
  ASSERT_OK_AND_ASSIGN(const std::string text, DescribeContexts(world.contexts, world.now));
  EXPECT_THAT(text, HasSubstr("\npeers: none (linchpin policy allow --from spiffe://"));
}

TEST(FetchText, SaysThatACertificateHasExpired) {
  ContextsWorld world;
  ASSERT_OK_AND_ASSIGN(const std::string text,
                       DescribeContexts(world.contexts, world.now + absl::Minutes(90)));
  EXPECT_THAT(text, HasSubstr("expired 30m ago"));
}

}  // namespace
}  // namespace linchpin::cli
