// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "ca/store/batch.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace linchpin::ca {

absl::Status CheckBatch(const std::vector<Write>& batch) {
  if (batch.empty()) return absl::InvalidArgumentError("a commit needs at least one write");
  if (batch.size() > Store::kMaxBatch) {
    return absl::InvalidArgumentError(
        absl::StrCat("a commit of ", batch.size(), " writes: at most ", Store::kMaxBatch));
  }
  absl::flat_hash_set<absl::string_view> seen;
  for (const Write& write : batch) {
    if (write.key.empty() || write.key.size() > Store::kMaxKeyBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a key of ", write.key.size(), " bytes: expected 1 to ", Store::kMaxKeyBytes));
    }
    if (write.value.has_value() && write.value->size() > Store::kMaxValueBytes) {
      return absl::InvalidArgumentError(absl::StrCat("the value of \"", absl::CHexEscape(write.key),
                                                     "\" has ", write.value->size(),
                                                     " bytes: at most ", Store::kMaxValueBytes));
    }
    if (!seen.insert(write.key).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", absl::CHexEscape(write.key), "\" is twice in one commit"));
    }
  }
  return absl::OkStatus();
}

absl::Status ExpectationFailed(const Write& write, Revision found) {
  const auto say = [](Revision revision) {
    return revision == 0 ? std::string("absent") : absl::StrCat("at revision ", revision);
  };
  return absl::AbortedError(absl::StrCat("\"", absl::CHexEscape(write.key), "\" was expected ",
                                         say(*write.expected), " and is ", say(found),
                                         ": somebody else changed it; read it and try again"));
}

std::string PrefixEnd(absl::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) ++end.back();
  return end;
}

}  // namespace linchpin::ca
