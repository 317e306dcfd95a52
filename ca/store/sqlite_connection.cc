// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/store/sqlite_connection.h"

#include <sqlite3.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace linchpin::ca {
namespace {

constexpr int kBusyMilliseconds = 5000;

bool IsFull(int system_error) {
  return system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG;
}

absl::Status ErrorStatus(const std::string& path, int code, int system_error,
                         absl::string_view text) {
  const std::string what = absl::StrCat(path, ": ", text);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(absl::StrCat(what, ": make room on the disk"));
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(
          absl::StrCat(what, ": the CA's user must be able to write the file and its directory"));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(absl::StrCat(what, ": restore the store from a backup"));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(absl::StrCat(what, ": another process holds the store"));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      if (IsFull(system_error)) {
        return absl::ResourceExhaustedError(absl::StrCat(what, ": make room on the disk"));
      }
      if (system_error == EACCES || system_error == EPERM || system_error == EROFS) {
        return absl::PermissionDeniedError(what);
      }
      return absl::UnavailableError(what);
    default:
      return absl::InternalError(what);
  }
}

}  // namespace

SqliteQuery::~SqliteQuery() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

SqliteQuery& SqliteQuery::Bind(int at, absl::string_view blob) {
  // A null pointer would bind NULL, and an empty value is not a deleted one.
  sqlite3_bind_blob64(statement_, at, blob.empty() ? "" : blob.data(), blob.size(), SQLITE_STATIC);
  return *this;
}

SqliteQuery& SqliteQuery::Bind(int at, uint64_t number) {
  sqlite3_bind_int64(statement_, at, static_cast<sqlite3_int64>(number));
  return *this;
}

SqliteQuery& SqliteQuery::BindNull(int at) {
  sqlite3_bind_null(statement_, at);
  return *this;
}

int SqliteQuery::Step() { return sqlite3_step(statement_); }

std::string SqliteQuery::Blob(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

uint64_t SqliteQuery::Number(int column) const {
  return static_cast<uint64_t>(sqlite3_column_int64(statement_, column));
}

bool SqliteQuery::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

SqliteConnection::SqliteConnection(std::string path, sqlite3* db)
    : path_(std::move(path)), db_(db) {}

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(const std::string& path) {
  sqlite3* db = nullptr;
  const int opened =
      sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  auto connection = std::unique_ptr<SqliteConnection>(new SqliteConnection(path, db));
  if (opened != SQLITE_OK) return connection->Error(opened);
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_timeout(db, kBusyMilliseconds);
  RETURN_IF_ERROR(connection->Run("PRAGMA trusted_schema = OFF"));
  ASSIGN_OR_RETURN(const std::string mode, connection->Text("PRAGMA journal_mode = WAL"));
  if (mode != "wal") {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": the file system allows no write-ahead log (journal mode ", mode,
                     "): put the data directory on a local disk"));
  }
  RETURN_IF_ERROR(connection->Run("PRAGMA synchronous = FULL"));
  return connection;
}

SqliteConnection::~SqliteConnection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

absl::StatusOr<SqliteQuery> SqliteConnection::Prepare(const char* sql) {
  const auto found = statements_.find(sql);
  if (found != statements_.end()) return SqliteQuery(found->second);
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return Error(code);
  statements_.emplace(sql, statement);
  return SqliteQuery(statement);
}

absl::Status SqliteConnection::Run(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code);
}

absl::StatusOr<std::string> SqliteConnection::Text(const char* sql) {
  ASSIGN_OR_RETURN(SqliteQuery query, Prepare(sql));
  const int code = query.Step();
  if (code == SQLITE_ROW) return query.Blob(0);
  if (code == SQLITE_DONE) return std::string();
  return Error(code);
}

absl::Status SqliteConnection::Error(int code) const {
  if (db_ == nullptr) return absl::ResourceExhaustedError(absl::StrCat(path_, ": out of memory"));
  return ErrorStatus(path_, code, sqlite3_system_errno(db_), sqlite3_errmsg(db_));
}

}  // namespace linchpin::ca
