// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/store/sqlite_store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/durable_file.h"
#include "base/mutex.h"
#include "base/run_loop.h"
#include "base/status_macros.h"
#include "ca/store/batch.h"
#include "ca/store/sqlite_connection.h"

namespace linchpin::ca {
namespace {

constexpr size_t kMaxChanges = 1 << 20;
constexpr absl::Duration kLookAtOthers = absl::Seconds(1);

// Makes sure of a file of mode 0600 before SQLite, which copies its mode to the others, sees it.
absl::Status PrepareFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return base::ErrnoStatus(errno, absl::StrCat("open ", path));
  const absl::Cleanup close_file = [fd] { close(fd); };
  struct stat found = {};
  if (fstat(fd, &found) != 0) return base::ErrnoStatus(errno, absl::StrCat("look at ", path));
  if ((found.st_mode & 077) != 0 && fchmod(fd, 0600) != 0) {
    return base::ErrnoStatus(errno, absl::StrCat("set mode 0600 of ", path));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ReadMeta(SqliteConnection& connection, absl::string_view name) {
  ASSIGN_OR_RETURN(SqliteQuery query,
                   connection.Prepare("SELECT value FROM meta WHERE name = CAST(?1 AS TEXT)"));
  const int code = query.Bind(1, name).Step();
  if (code == SQLITE_ROW) return query.Number(0);
  if (code != SQLITE_DONE) return connection.Error(code);
  return absl::DataLossError(absl::StrCat(connection.path(), ": no \"", name,
                                          "\" in its meta table: restore it from a backup"));
}

absl::Status MakeTables(SqliteConnection& connection) {
  const std::string sql = absl::StrCat(
      "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE records (key BLOB PRIMARY KEY, value BLOB, revision INTEGER NOT NULL);"
      "CREATE INDEX records_by_revision ON records (revision, key);"
      "INSERT INTO meta VALUES ('format', ",
      SqliteStore::kFormat, "), ('head', 0);");
  return connection.Run(sql.c_str());
}

// In one transaction, so that two processes that start at once agree.
absl::Status PrepareTables(SqliteConnection& connection) {
  ASSIGN_OR_RETURN(const std::string check, connection.Text("PRAGMA quick_check(1)"));
  if (check != "ok") {
    return absl::DataLossError(
        absl::StrCat(connection.path(), ": ", check, ": restore the store from a backup"));
  }
  RETURN_IF_ERROR(connection.Run("BEGIN IMMEDIATE"));
  absl::Cleanup roll_back = [&] { connection.Run("ROLLBACK").IgnoreError(); };
  ASSIGN_OR_RETURN(const std::string tables,
                   connection.Text("SELECT group_concat(name) FROM sqlite_schema "
                                   "WHERE type = 'table'"));
  if (tables.empty()) {
    RETURN_IF_ERROR(MakeTables(connection));
  } else if (!absl::StrContains(tables, "meta")) {
    return absl::FailedPreconditionError(
        absl::StrCat(connection.path(), ": a database, but no Linchpin store (it has the tables ",
                     tables, "): name another file"));
  }
  ASSIGN_OR_RETURN(const uint64_t format, ReadMeta(connection, "format"));
  if (format != static_cast<uint64_t>(SqliteStore::kFormat)) {
    return absl::FailedPreconditionError(
        absl::StrCat(connection.path(), ": has format ", format, ", and this program knows format ",
                     SqliteStore::kFormat, ": run the version of linchpin-ca that wrote it"));
  }
  RETURN_IF_ERROR(connection.Run("COMMIT"));
  std::move(roll_back).Cancel();
  return absl::OkStatus();
}

absl::StatusOr<Revision> RevisionOf(SqliteConnection& connection, const std::string& key) {
  ASSIGN_OR_RETURN(SqliteQuery query, connection.Prepare("SELECT revision FROM records "
                                                         "WHERE key = ?1 AND value IS NOT NULL"));
  const int code = query.Bind(1, key).Step();
  if (code == SQLITE_ROW) return query.Number(0);
  if (code == SQLITE_DONE) return Revision{0};
  return connection.Error(code);
}

absl::Status ApplyWrite(SqliteConnection& connection, const Write& write, Revision revision) {
  const char* put =
      "INSERT INTO records (key, value, revision) VALUES (?1, ?2, ?3) "
      "ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3";
  const char* remove =
      "UPDATE records SET value = NULL, revision = ?3 WHERE key = ?1 AND value IS NOT NULL";
  ASSIGN_OR_RETURN(SqliteQuery query, connection.Prepare(write.value.has_value() ? put : remove));
  query.Bind(1, write.key).Bind(3, revision);
  if (write.value.has_value()) query.Bind(2, *write.value);
  const int code = query.Step();
  return code == SQLITE_DONE ? absl::OkStatus() : connection.Error(code);
}

absl::StatusOr<Revision> ApplyBatch(SqliteConnection& connection, const std::vector<Write>& batch) {
  for (const Write& write : batch) {
    if (!write.expected.has_value()) continue;
    ASSIGN_OR_RETURN(const Revision found, RevisionOf(connection, write.key));
    if (found != *write.expected) return ExpectationFailed(write, found);
  }
  RETURN_IF_ERROR(connection.Run("UPDATE meta SET value = value + 1 WHERE name = 'head'"));
  ASSIGN_OR_RETURN(const Revision revision, ReadMeta(connection, "head"));
  for (const Write& write : batch) {
    RETURN_IF_ERROR(ApplyWrite(connection, write, revision));
  }
  return revision;
}

}  // namespace

struct SqliteStore::Impl {
  // Readers do not wait for the disk syncs of writers.
  base::Mutex write_mutex;
  std::unique_ptr<SqliteConnection> writer;
  base::Mutex read_mutex;
  std::unique_ptr<SqliteConnection> reader;

  base::Mutex watch_mutex;
  base::RunLoop watch_loop{base::SystemClock()};
  std::function<void()> on_change;
  std::string seen_version;
  std::thread watch_thread;
  std::atomic<bool> watching{false};  // watch_thread runs

  // SQLite's data_version changes with every commit of any other connection, also of this process.
  absl::StatusOr<std::string> DataVersion() {
    base::MutexLock lock(read_mutex);
    return reader->Text("PRAGMA data_version");
  }

  void LookForChanges() {
    base::MutexLock lock(watch_mutex);
    const absl::StatusOr<std::string> version = DataVersion();
    // An error is no reason not to look: whoever reads then is told.
    const bool changed = !version.ok() || *version != seen_version;
    if (version.ok()) seen_version = *version;
    if (on_change && changed) on_change();
  }
  void LookAgainLater() {
    watch_loop.PostAfter(kLookAtOthers, [this] {
      LookForChanges();
      LookAgainLater();
    });
  }
  void Changed() {
    if (!watching) return;
    // A full queue has hints enough.
    watch_loop.Post([this] { LookForChanges(); }).IgnoreError();
  }
};

SqliteStore::SqliteStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

SqliteStore::~SqliteStore() {
  impl_->watch_loop.Stop();
  if (impl_->watch_thread.joinable()) impl_->watch_thread.join();
}

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& path) {
  RETURN_IF_ERROR(PrepareFile(path));
  auto impl = std::make_unique<Impl>();
  ASSIGN_OR_RETURN(impl->writer, SqliteConnection::Open(path));
  RETURN_IF_ERROR(PrepareTables(*impl->writer));
  ASSIGN_OR_RETURN(impl->reader, SqliteConnection::Open(path));
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(impl)));
}

absl::StatusOr<Revision> SqliteStore::Commit(const std::vector<Write>& batch) {
  RETURN_IF_ERROR(CheckBatch(batch));
  Revision committed = 0;
  {
    base::MutexLock lock(impl_->write_mutex);
    SqliteConnection& writer = *impl_->writer;
    RETURN_IF_ERROR(writer.Run("BEGIN IMMEDIATE"));
    absl::Cleanup roll_back = [&] { writer.Run("ROLLBACK").IgnoreError(); };
    ASSIGN_OR_RETURN(committed, ApplyBatch(writer, batch));
    RETURN_IF_ERROR(writer.Run("COMMIT"));
    std::move(roll_back).Cancel();
  }
  impl_->Changed();
  return committed;
}

absl::StatusOr<Record> SqliteStore::Get(absl::string_view key) {
  base::MutexLock lock(impl_->read_mutex);
  ASSIGN_OR_RETURN(SqliteQuery query,
                   impl_->reader->Prepare("SELECT value, revision FROM records "
                                          "WHERE key = ?1 AND value IS NOT NULL"));
  const int code = query.Bind(1, key).Step();
  if (code == SQLITE_ROW) return Record{std::string(key), query.Blob(0), query.Number(1)};
  if (code != SQLITE_DONE) return impl_->reader->Error(code);
  return absl::NotFoundError(absl::StrCat("no record \"", absl::CHexEscape(key), "\""));
}

absl::StatusOr<Store::Listing> SqliteStore::List(absl::string_view prefix) {
  const std::string end = PrefixEnd(prefix);
  base::MutexLock lock(impl_->read_mutex);
  SqliteConnection& reader = *impl_->reader;
  RETURN_IF_ERROR(reader.Run("BEGIN"));  // one snapshot for both questions
  const absl::Cleanup finish = [&] { reader.Run("COMMIT").IgnoreError(); };
  Listing listing;
  ASSIGN_OR_RETURN(listing.at, ReadMeta(reader, "head"));
  ASSIGN_OR_RETURN(SqliteQuery query,
                   reader.Prepare("SELECT key, value, revision FROM records WHERE key >= ?1 "
                                  "AND (?3 OR key < ?2) AND value IS NOT NULL ORDER BY key"));
  query.Bind(1, prefix).Bind(2, end).Bind(3, uint64_t{end.empty()});
  int code = SQLITE_ROW;
  while ((code = query.Step()) == SQLITE_ROW) {
    listing.records.push_back({query.Blob(0), query.Blob(1), query.Number(2)});
  }
  if (code != SQLITE_DONE) return reader.Error(code);
  return listing;
}

absl::StatusOr<std::vector<Store::Changed>> SqliteStore::ChangesAfter(Revision after, size_t most) {
  base::MutexLock lock(impl_->read_mutex);
  SqliteConnection& reader = *impl_->reader;
  ASSIGN_OR_RETURN(SqliteQuery query,
                   reader.Prepare("SELECT key, revision, value IS NULL FROM records "
                                  "WHERE revision > ?1 ORDER BY revision, key LIMIT ?2"));
  // One revision more than asked for tells whether the last one is whole.
  most = std::min(most, kMaxChanges);
  query.Bind(1, after).Bind(2, static_cast<uint64_t>(most + kMaxBatch + 1));
  std::vector<Changed> changed;
  int code = SQLITE_ROW;
  while ((code = query.Step()) == SQLITE_ROW) {
    changed.push_back({query.Blob(0), query.Number(1), query.Number(2) != 0});
    if (changed.size() <= most) continue;
    const Revision last = changed.back().revision;
    if (last == changed.front().revision) continue;
    while (changed.back().revision == last) changed.pop_back();
    return changed;
  }
  if (code != SQLITE_DONE) return reader.Error(code);
  return changed;
}

void SqliteStore::Watch(std::function<void()> on_change) {
  base::MutexLock lock(impl_->watch_mutex);
  impl_->on_change = std::move(on_change);
  if (impl_->on_change == nullptr || impl_->watch_thread.joinable()) return;
  impl_->seen_version = impl_->DataVersion().value_or("");
  impl_->LookAgainLater();
  impl_->watching = true;
  impl_->watch_thread = std::thread([impl = impl_.get()] { impl->watch_loop.Run(); });
}

}  // namespace linchpin::ca
