// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Columns of text for people: two spaces between them, no trailing space.
#pragma once

#include <string>
#include <vector>

namespace linchpin::cli {

class Table {
 public:
  // An empty header prints none.
  explicit Table(std::vector<std::string> header = {});

  // Control characters are shown as '?': a cell cannot forge a line.
  void Add(std::vector<std::string> row);
  bool empty() const { return rows_.empty(); }
  std::string ToString() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// One line of printable text: control characters become '?'.
std::string Printable(std::string text);

}  // namespace linchpin::cli
