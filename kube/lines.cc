// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "kube/lines.h"

#include "absl/strings/str_cat.h"

namespace linchpin::kube {

absl::Status Lines::Add(absl::string_view piece,
                        const std::function<bool(absl::string_view)>& on_line) {
  while (!piece.empty()) {
    const size_t end = piece.find('\n');
    const absl::string_view part = piece.substr(0, end);
    if (begun_.size() + part.size() > longest_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a line has more than ", longest_, " bytes"));
    }
    if (end == absl::string_view::npos) {
      absl::StrAppend(&begun_, part);
      return absl::OkStatus();
    }
    piece.remove_prefix(end + 1);
    bool more = false;
    if (begun_.empty()) {
      more = on_line(part);
    } else {
      absl::StrAppend(&begun_, part);
      more = on_line(begun_);
      begun_.clear();
    }
    if (!more) return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace linchpin::kube
