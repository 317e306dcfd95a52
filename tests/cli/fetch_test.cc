// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What fetch writes and says; the calls themselves are in commands_test.cc.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/durable_file.h"
#include "base/run_program.h"
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

class FetchWriterTest : public testing::Test {
 protected:
  absl::Status Write(const agent::v1::MtlsContexts& contexts, const std::string& command = "") {
    options_.place.directory = out_;
    if (!command.empty()) options_.command = *base::SplitCommand(command);
    return WriteContexts(options_, contexts, world_.now, &lock_, &said_);
  }
  test::TempDir directory_;
  std::string out_ = directory_.Join("tls");
  base::WriterLock lock_;
  ContextsWorld world_;
  WriteOptions options_{.bundle = trust::BundleKind::kRoots};
  std::string said_;
};

TEST_F(FetchWriterTest, WritesTheFilesThenRunsTheCommand) {
  const std::string seen = directory_.Join("seen");
  ASSERT_OK(Write(world_.contexts, "cp " + out_ + "/key.pem " + seen));
  EXPECT_EQ(Contents(out_ + "/key.pem"), std::string(world_.leaf_key.ToPem().Reveal()));
  EXPECT_EQ(Contents(seen), Contents(out_ + "/current/key.pem"));
  EXPECT_EQ(said_, "");
}

TEST_F(FetchWriterTest, SaysWhyNobodyCanBeAccepted) {
  options_.bundle = trust::BundleKind::kPinned;
  ASSERT_OK(Write(world_.contexts));
  EXPECT_THAT(said_, HasSubstr("no twin of a pinned issuer"));
}

TEST_F(FetchWriterTest, LeavesTheOldFilesWhenTheNewOnesAreBad) {
  ASSERT_OK(Write(world_.contexts));
  ContextsWorld other;
  other.contexts.mutable_identities(0)->set_private_key(
      world_.contexts.identities(0).private_key());
  EXPECT_THAT(Write(other.contexts), StatusIs(absl::StatusCode::kDataLoss, "key"));
  EXPECT_EQ(Contents(out_ + "/key.pem"), std::string(world_.leaf_key.ToPem().Reveal()));
}

class FollowingWriterTest : public FetchWriterTest {
 protected:
  void Follow(const std::string& command) {
    options_.place.directory = out_;
    options_.command = *base::SplitCommand(command);
    writer_ = std::make_unique<FollowingWriter>(
        FollowingWriter::Parts{.options = options_,
                               .clock = base::SystemClock(),
                               .err = err_,
                               .loaded = [this](const auto& contexts) {
                                 const base::MutexLock lock(mutex_);
                                 if (deaf_ > 0 && deaf_-- > 0)
                                   return absl::UnavailableError("deaf");
                                 loaded_.push_back(contexts.trust_epoch());
                                 changed_.notify_all();
                                 return absl::OkStatus();
                               }});
  }
  agent::v1::MtlsContexts Epoch(uint64_t epoch) const {
    agent::v1::MtlsContexts contexts = world_.contexts;
    contexts.set_trust_epoch(epoch);
    return contexts;
  }
  void WaitForLoaded(uint64_t epoch) {
    base::MutexLock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60),
                                  [&] { return !loaded_.empty() && loaded_.back() == epoch; }));
  }
  std::ostringstream err_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<uint64_t> loaded_;
  int deaf_ = 0;                             // how often the agent cannot be told
  std::unique_ptr<FollowingWriter> writer_;  // ends first
};

TEST_F(FollowingWriterTest, SaysThatTheServiceLoadedAfterEachChange) {
  Follow("true");
  ASSERT_OK(writer_->Give(Epoch(1)));
  EXPECT_EQ(loaded_, std::vector<uint64_t>{1});
  ASSERT_OK(writer_->Give(Epoch(2)));
  WaitForLoaded(2);
}

TEST_F(FollowingWriterTest, TriesAFailingCommandAgainAndSaysNothingLoadedBefore) {
  const std::string mended = directory_.Join("mended");
  Follow("test -e " + mended);
  ASSERT_OK(writer_->Give(Epoch(1)));
  {
    const base::MutexLock lock(mutex_);
    EXPECT_TRUE(loaded_.empty());
  }
  std::ofstream(mended) << "";
  WaitForLoaded(1);
  writer_.reset();
  EXPECT_THAT(err_.str(), HasSubstr("test exited with 1; trying again"));
}

TEST_F(FollowingWriterTest, TellsAnAgentThatCouldNotBeToldWithoutLoadingAgain) {
  const std::string runs = directory_.Join("runs");
  deaf_ = 2;
  Follow("sh -c 'echo run >> " + runs + "'");
  ASSERT_OK(writer_->Give(Epoch(1)));
  WaitForLoaded(1);
  EXPECT_EQ(Contents(runs), "run\n");
  {
    const base::MutexLock lock(mutex_);
    deaf_ = 1;
  }
  ASSERT_OK(writer_->Give(Epoch(2)));
  WaitForLoaded(2);
  writer_.reset();
  EXPECT_EQ(Contents(runs), "run\nrun\n");
  EXPECT_EQ(std::filesystem::read_symlink(out_ + "/current"), ".generation-2");
  EXPECT_EQ(err_.str(), "linchpin: deaf; trying again\nlinchpin: deaf; trying again\n");
}

TEST_F(FollowingWriterTest, ADirectoryThatIsNotOneToWriteToIsSaidAtOnce) {
  std::ofstream(out_) << "a file";
  Follow("true");
  EXPECT_THAT(writer_->Give(Epoch(1)),
              StatusIs(absl::StatusCode::kFailedPrecondition, "no directory"));
}

TEST_F(FollowingWriterTest, IsTheDirectorysOnlyWriterUntilItEnds) {
  Follow("true");
  ASSERT_OK(writer_->Give(Epoch(1)));
  EXPECT_THAT(Write(world_.contexts),
              StatusIs(absl::StatusCode::kFailedPrecondition, "another process writes"));
  writer_.reset();
  EXPECT_OK(Write(world_.contexts));
}

TEST_F(FollowingWriterTest, KeepsTheFilesWhenTheIdentityIsWithdrawn) {
  Follow("true");
  ASSERT_OK(writer_->Give(Epoch(1)));
  agent::v1::MtlsContexts none = Epoch(2);
  none.clear_identities();
  ASSERT_OK(writer_->Give(none));
  EXPECT_EQ(Contents(out_ + "/key.pem"), std::string(world_.leaf_key.ToPem().Reveal()));
}

TEST(FetchOptions, ModesAndOwnersAreChecked) {
  EXPECT_THAT(ParseSecretMode("0600"), test::IsOkAndHolds(0600u));
  EXPECT_THAT(ParseSecretMode("440"), test::IsOkAndHolds(0440u));
  for (const char* bad : {"", "0644", "0700", "777777777777", "rw", "0", "1600"}) {
    EXPECT_FALSE(ParseSecretMode(bad).ok()) << bad;
  }
  base::SwappedDirectoryOptions place;
  ASSERT_OK(ParseOwner("root:0", &place));
  EXPECT_EQ(place.uid, 0u);
  EXPECT_EQ(place.gid, 0u);
  EXPECT_THAT(ParseOwner("nobody-of-that-name", &place),
              StatusIs(absl::StatusCode::kNotFound, "no user"));
  EXPECT_THAT(ParseOwner(":nobody-of-that-name", &place),
              StatusIs(absl::StatusCode::kNotFound, "no group"));
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
