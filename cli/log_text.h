// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Entries of the CA's two logs as rows: when, who, what, which, and what became of it.
#pragma once

#include <string>
#include <vector>

#include "linchpin/ca/v1/admin.pb.h"
#include "linchpin/ca/v1/operator.pb.h"

namespace linchpin::cli {

using LogRow = std::vector<std::string>;

LogRow LogHeader();
LogRow RowOf(const ca::v1::LogEntry& entry);
// One a record that was changed; at least one.
std::vector<LogRow> RowsOf(const ca::v1::Change& change);
// A row that comes later, under the others.
std::string LineOf(const LogRow& row);

}  // namespace linchpin::cli
