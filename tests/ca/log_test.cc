// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "ca/log/issuance_log.h"
#include "ca/log/issued_since.h"
#include "ca/log/log_format.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace linchpin::ca {
namespace {

using test::StatusIs;

constexpr absl::string_view kSegment = "issuance-00000000000000000000.log";

v1::LogEntry Entry(int number) {
  v1::LogEntry entry;
  entry.set_spiffe_id(absl::StrCat("spiffe://example.org/service/", number));
  entry.set_issued_at(1'800'000'000 + number);
  entry.set_serial(std::string(16, static_cast<char>(number)));
  return entry;
}

absl::Status AppendAndWait(IssuanceLog& log, std::vector<v1::LogEntry> entries) {
  std::promise<absl::Status> result;
  log.Append(std::move(entries), [&](absl::Status status) { result.set_value(status); });
  return result.get_future().get();
}

std::unique_ptr<IssuanceLog> OpenLog(const std::string& directory) {
  auto log = IssuanceLog::Open(directory);
  EXPECT_TRUE(log.ok()) << log.status();
  return log.ok() ? *std::move(log) : nullptr;
}

// A log of so many frames of one entry each; the bytes of its segment.
std::string MakeLog(const std::string& directory, int frames) {
  auto log = OpenLog(directory);
  for (int i = 0; i < frames; ++i) EXPECT_OK(AppendAndWait(*log, {Entry(i)}));
  log = nullptr;
  return base::ReadFile(absl::StrCat(directory, "/", kSegment), 1 << 24).value_or("");
}

void WriteSegment(const std::string& directory, const std::string& bytes) {
  std::ofstream(absl::StrCat(directory, "/", kSegment), std::ios::trunc) << bytes;
}

std::vector<size_t> FrameOffsets(const std::string& bytes) {
  std::vector<size_t> offsets;
  EXPECT_OK(ScanLogSegment(bytes, [&](size_t offset, uint64_t) { offsets.push_back(offset); }));
  return offsets;
}

TEST(IssuanceLog, GivesBackWhatWasAppendedWithIndexAndHash) {
  test::TempDir directory;
  auto log = OpenLog(directory.path());
  EXPECT_EQ(log->size(), 0u);
  ASSERT_OK(AppendAndWait(*log, {Entry(0), Entry(1)}));
  ASSERT_OK(AppendAndWait(*log, {Entry(2)}));
  EXPECT_EQ(log->size(), 3u);
  ASSERT_OK_AND_ASSIGN(const auto entries, log->Read(0, 100));
  ASSERT_EQ(entries.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(entries[i].index(), static_cast<uint64_t>(i));
    EXPECT_EQ(entries[i].spiffe_id(), Entry(i).spiffe_id());
    EXPECT_EQ(entries[i].hash().size(), 32u);
  }
  EXPECT_EQ(entries.back().hash(), log->head());
}

TEST(IssuanceLog, GoesOnWhereItEndedWhenItIsOpenedAgain) {
  test::TempDir directory;
  auto log = OpenLog(directory.path());
  ASSERT_OK(AppendAndWait(*log, {Entry(0)}));
  const std::string head = log->head();
  log = nullptr;
  log = OpenLog(directory.path());
  EXPECT_EQ(log->recovered(), "");
  EXPECT_EQ(log->size(), 1u);
  EXPECT_EQ(log->head(), head);
  ASSERT_OK(AppendAndWait(*log, {Entry(1)}));
  ASSERT_OK_AND_ASSIGN(const auto verified, log->Verify());
  EXPECT_TRUE(verified.intact()) << verified.problem();
  EXPECT_EQ(verified.entries(), 2u);
}

TEST(IssuanceLog, ReadsFromAnyIndexAndNeverMoreThanAsked) {
  test::TempDir directory;
  auto log = OpenLog(directory.path());
  for (int i = 0; i < 600; i += 3) {
    ASSERT_OK(AppendAndWait(*log, {Entry(i), Entry(i + 1), Entry(i + 2)}));
  }
  for (const uint64_t from : {0, 1, 255, 256, 258, 511, 599}) {
    ASSERT_OK_AND_ASSIGN(const auto entries, log->Read(from, 5));
    ASSERT_FALSE(entries.empty());
    EXPECT_LE(entries.size(), 5u);
    EXPECT_EQ(entries.front().index(), from);
    EXPECT_EQ(entries.back().index(), std::min<uint64_t>(from + 4, 599));
  }
  ASSERT_OK_AND_ASSIGN(const auto none, log->Read(600, 5));
  EXPECT_TRUE(none.empty());
}

TEST(IssuanceLog, SyncsOnceForAllThatWaited) {
  test::TempDir directory;
  auto log = OpenLog(directory.path());
  constexpr int kWaiting = 1000;
  std::promise<void> all_queued;
  std::shared_future<void> queued = all_queued.get_future().share();
  std::atomic<int> acknowledged{0};
  std::promise<void> last;
  // The first acknowledgement keeps who writes busy until all the others wait.
  std::promise<void> busy;
  std::thread writes([&] {
    log->Append({Entry(0)}, [&busy, queued](absl::Status) {
      busy.set_value();
      queued.wait();
    });
  });
  busy.get_future().wait();
  for (int i = 1; i <= kWaiting; ++i) {
    log->Append({Entry(i)}, [&](absl::Status status) {
      EXPECT_OK(status);
      if (++acknowledged == kWaiting) last.set_value();
    });
  }
  all_queued.set_value();
  last.get_future().wait();
  writes.join();
  EXPECT_EQ(log->size(), 1u + kWaiting);
  log = nullptr;
  // One frame a sync.
  ASSERT_OK_AND_ASSIGN(const std::string bytes,
                       base::ReadFile(directory.Join(std::string(kSegment)), 1 << 24));
  EXPECT_EQ(FrameOffsets(bytes).size(), 2u);
}

TEST(IssuanceLog, RefusesAtOnceWhenTooManyEntriesWait) {
  test::TempDir directory;
  auto log = OpenLog(directory.path());
  std::promise<void> go_on;
  std::shared_future<void> waits = go_on.get_future().share();
  std::promise<void> busy;
  std::thread writes([&] {
    log->Append({Entry(0)}, [&, waits](absl::Status) {
      busy.set_value();
      waits.wait();
    });
  });
  busy.get_future().wait();
  std::atomic<int> acknowledged{0};
  const std::vector<v1::LogEntry> thousand(1024, Entry(1));
  for (size_t i = 0; i < IssuanceLog::kMaxQueued / 1024; ++i) {
    log->Append(thousand, [&](absl::Status status) {
      EXPECT_OK(status);
      ++acknowledged;
    });
  }
  EXPECT_THAT(AppendAndWait(*log, {Entry(2)}),
              StatusIs(absl::StatusCode::kResourceExhausted, "try again"));
  go_on.set_value();
  writes.join();
  log = nullptr;
  EXPECT_EQ(acknowledged, static_cast<int>(IssuanceLog::kMaxQueued / 1024));
  EXPECT_EQ(OpenLog(directory.path())->size(), 1 + IssuanceLog::kMaxQueued);
}

TEST(IssuanceLog, RefusesEntriesThatAreTooLargeOrNone) {
  test::TempDir directory;
  auto log = OpenLog(directory.path());
  v1::LogEntry large = Entry(0);
  large.set_node_id(std::string(IssuanceLog::kMaxRecordBytes, 'n'));
  EXPECT_THAT(AppendAndWait(*log, {large}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(AppendAndWait(*log, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_OK(AppendAndWait(*log, {Entry(0)}));
}

TEST(IssuanceLog, BeginsASegmentWhenOneIsFullAndChainsThem) {
  test::TempDir directory;
  auto log = OpenLog(directory.path());
  v1::LogEntry large = Entry(0);
  large.set_node_id(std::string(60 * 1024, 'n'));
  const std::vector<v1::LogEntry> large_ones(60, large);
  for (int i = 0; i < 20; ++i) ASSERT_OK(AppendAndWait(*log, large_ones));
  ASSERT_OK_AND_ASSIGN(const auto entries, log->Read(1100, 100));
  EXPECT_EQ(entries.size(), 100u);
  log = nullptr;
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    paths.push_back(entry.path().string());
  }
  ASSERT_EQ(paths.size(), 2u);
  log = OpenLog(directory.path());
  EXPECT_EQ(log->size(), 1200u);
  log = nullptr;
  // Without the first segment the chain does not begin.
  std::filesystem::remove(directory.Join(std::string(kSegment)));
  EXPECT_THAT(IssuanceLog::Open(directory.path()),
              StatusIs(absl::StatusCode::kDataLoss, "does not continue"));
}

TEST(IssuanceLog, CutsATailThatWasTornAtAnyByte) {
  test::TempDir directory;
  const std::string bytes = MakeLog(directory.path(), 3);
  const size_t last = FrameOffsets(bytes).back();
  for (size_t size = last + 1; size < bytes.size(); ++size) {
    for (const bool zeros : {false, true}) {
      std::string torn = bytes.substr(0, size);
      if (zeros) torn.resize(bytes.size() + 100, '\0');
      WriteSegment(directory.path(), torn);
      auto log = OpenLog(directory.path());
      ASSERT_NE(log, nullptr) << size;
      EXPECT_EQ(log->size(), 2u) << size;
      EXPECT_THAT(log->recovered(), ::testing::HasSubstr(absl::StrCat("offset ", last)));
      if (torn.find_first_not_of('\0', last) != std::string::npos) {
        const auto kept = base::ReadFile(directory.Join(absl::StrCat(kSegment, ".", last, ".torn")),
                                         bytes.size() + 200);
        ASSERT_OK(kept);
        EXPECT_EQ(*kept, torn.substr(last)) << size;
      }
      if (size % 16 != 0) continue;
      ASSERT_OK(AppendAndWait(*log, {Entry(9)}));
      log = nullptr;
      log = OpenLog(directory.path());
      EXPECT_EQ(log->size(), 3u);
      EXPECT_EQ(log->recovered(), "");
    }
  }
}

TEST(IssuanceLog, NamesWhereItIsDamagedBeforeItsTail) {
  test::TempDir directory;
  const std::string bytes = MakeLog(directory.path(), 4);
  const size_t last = FrameOffsets(bytes).back();
  for (size_t at = 0; at < last; ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    WriteSegment(directory.path(), damaged);
    EXPECT_THAT(IssuanceLog::Open(directory.path()),
                StatusIs(absl::StatusCode::kDataLoss, std::string(kSegment)))
        << at;
  }
}

TEST(IssuanceLog, TakesAWrongChecksumAtTheVeryEndForATornTail) {
  test::TempDir directory;
  std::string bytes = MakeLog(directory.path(), 2);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  WriteSegment(directory.path(), bytes);
  auto log = OpenLog(directory.path());
  ASSERT_NE(log, nullptr);
  EXPECT_EQ(log->size(), 1u);
  EXPECT_NE(log->recovered(), "");
}

TEST(IssuanceLog, FindsDamageToWhatItHoldsOpen) {
  test::TempDir directory;
  const std::string bytes = MakeLog(directory.path(), 3);
  auto log = OpenLog(directory.path());
  std::string damaged = bytes;
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  WriteSegment(directory.path(), damaged);
  ASSERT_OK_AND_ASSIGN(const auto flipped, log->Verify());
  EXPECT_FALSE(flipped.intact());
  EXPECT_THAT(flipped.problem(), ::testing::HasSubstr(std::string(kSegment)));
  WriteSegment(directory.path(), bytes.substr(0, FrameOffsets(bytes).back()));
  ASSERT_OK_AND_ASSIGN(const auto cut, log->Verify());
  EXPECT_FALSE(cut.intact());
  EXPECT_THAT(log->Read(2, 1), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(IssuanceLog, FindsAnEntryThatWasRewrittenWithRightChecksums) {
  test::TempDir directory;
  const std::string bytes = MakeLog(directory.path(), 2);
  LogPosition position;
  std::vector<v1::LogEntry> forged = {Entry(7)};
  const std::string forged_frame = EncodeLogFrame(&forged, &position);
  const std::vector<size_t> offsets = FrameOffsets(bytes);
  WriteSegment(directory.path(),
               bytes.substr(0, offsets[0]) + forged_frame + bytes.substr(offsets[1]));
  EXPECT_THAT(IssuanceLog::Open(directory.path()),
              StatusIs(absl::StatusCode::kDataLoss, "hash chain"));
}

// In a child, as the limit is the process's: it stands for a full disk.
int AppendUntilFull(const std::string& directory, int acknowledged_pipe) {
  signal(SIGXFSZ, SIG_IGN);
  auto log = IssuanceLog::Open(directory);
  if (!log.ok()) return 10;
  const rlimit limit = {20000, 20000};
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 11;
  absl::Status status;
  for (uint32_t i = 0; i < 1000 && status.ok(); ++i) {
    status = AppendAndWait(**log, {Entry(static_cast<int>(i))});
    if (status.ok() && write(acknowledged_pipe, "a", 1) != 1) return 12;
  }
  if (status.ok()) return 13;
  // Room again changes nothing: the file's state is unknown.
  if (AppendAndWait(**log, {Entry(0)}) != status || (*log)->health() != status) return 14;
  return 0;
}

TEST(IssuanceLog, EndsWhenTheDiskIsFullAndNeverAcknowledgesWhatIsNotThere) {
  test::TempDir directory;
  int ends[2] = {};
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(AppendUntilFull(directory.path(), ends[1]));
  close(ends[1]);
  uint64_t acknowledged = 0;
  for (char byte = 0; read(ends[0], &byte, 1) == 1;) ++acknowledged;
  close(ends[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_GT(acknowledged, 0u);
  EXPECT_EQ(OpenLog(directory.path())->size(), acknowledged);
}

TEST(IssuanceLog, HoldsWhatItAcknowledgedWhenItsProcessIsKilled) {
  test::TempDir directory;
  int ends[2] = {};
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto log = IssuanceLog::Open(directory.path());
    for (int i = 0;; ++i) {
      if (!log.ok() || !AppendAndWait(**log, {Entry(i)}).ok()) _exit(1);
      if (write(ends[1], "a", 1) != 1) _exit(2);
    }
  }
  close(ends[1]);
  uint64_t acknowledged = 0;
  for (char byte = 0; acknowledged < 20 && read(ends[0], &byte, 1) == 1;) ++acknowledged;
  kill(child, SIGKILL);
  for (char byte = 0; read(ends[0], &byte, 1) == 1;) ++acknowledged;
  close(ends[0]);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_GE(OpenLog(directory.path())->size(), acknowledged);
}

TEST(IssuedSince, BeginsJustBeforeWhatIsAskedFor) {
  test::TempDir directory;
  auto log = OpenLog(directory.path());
  constexpr int kHour = 3600;
  for (int hour = 0; hour < 20; ++hour) ASSERT_OK(AppendAndWait(*log, {Entry(hour * kHour)}));
  const auto first = [&](int hour) {
    int64_t index = -1;
    EXPECT_OK(ForEachIssuedSince(*log, absl::FromUnixSeconds(1'800'000'000 + hour * kHour),
                                 [&](const v1::LogEntry& entry) {
                                   if (index < 0) index = static_cast<int64_t>(entry.index());
                                 }));
    return index;
  };
  EXPECT_EQ(first(-100), 0);
  EXPECT_EQ(first(1), 0);
  EXPECT_EQ(first(12), 11) << "a clock may have been set back by an hour";
  EXPECT_EQ(first(20), 19);
  EXPECT_EQ(first(22), -1);
}

TEST(LogFormat, SurvivesAnyBytes) {
  test::TempDir directory;
  const std::string bytes = MakeLog(directory.path(), 3);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    for (const char flip : {'\x00', '\x01', '\xff'}) {
      std::string mutated = bytes.substr(0, cut) + std::string(3, flip) + bytes.substr(cut);
      const auto scan = ScanLogSegment(mutated, [](size_t, uint64_t) {});
      if (scan.ok()) {
        EXPECT_LE(scan->whole_bytes, mutated.size());
      }
    }
  }
}

}  // namespace
}  // namespace linchpin::ca
