// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// One connection to a SQLite file: prepared statements, and its errors as statuses.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct sqlite3;
struct sqlite3_stmt;

namespace linchpin::ca {

// A prepared statement in use; put back, with nothing bound, when this goes.
class SqliteQuery {
 public:
  explicit SqliteQuery(sqlite3_stmt* statement) : statement_(statement) {}
  SqliteQuery(SqliteQuery&& other) noexcept : statement_(other.statement_) {
    other.statement_ = nullptr;
  }
  SqliteQuery& operator=(SqliteQuery&&) = delete;
  ~SqliteQuery();

  // Parameters count from 1. Blobs must outlive the query.
  SqliteQuery& Bind(int at, absl::string_view blob);
  SqliteQuery& Bind(int at, uint64_t number);
  SqliteQuery& BindNull(int at);
  int Step();  // SQLITE_ROW, SQLITE_DONE or an error's code

  // Columns count from 0.
  std::string Blob(int column) const;
  uint64_t Number(int column) const;
  bool IsNull(int column) const;

 private:
  sqlite3_stmt* statement_;
};

// One thread at a time.
class SqliteConnection {
 public:
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(const std::string& path);
  ~SqliteConnection();

  absl::StatusOr<SqliteQuery> Prepare(const char* sql);  // kept by address: literals only
  absl::Status Run(const char* sql);                     // no parameters, rows ignored
  absl::StatusOr<std::string> Text(const char* sql);     // the first column of the first row
  // The error of the call that returned `code`.
  absl::Status Error(int code) const;

  const std::string& path() const { return path_; }

 private:
  SqliteConnection(std::string path, sqlite3* db);
  std::string path_;
  sqlite3* db_;
  std::map<const char*, sqlite3_stmt*> statements_;
};

}  // namespace linchpin::ca
