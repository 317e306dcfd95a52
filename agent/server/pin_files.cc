// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/server/pin_files.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/durable_file.h"
#include "base/status_macros.h"
#include "trust/text.h"

namespace linchpin::agent {
namespace {

absl::StatusOr<std::vector<std::string>> FilesAt(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return std::vector<std::string>{path};
  std::vector<std::string> files;
  for (std::filesystem::directory_iterator it(path, error), end; it != end; it.increment(error)) {
    if (error) break;
    if (it->path().extension() == ".json") files.push_back(it->path().string());
    if (files.size() > kMaxPinFiles) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " has more than ", kMaxPinFiles, " files"));
    }
  }
  if (error) return absl::UnavailableError(absl::StrCat(path, ": ", error.message()));
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

absl::StatusOr<trust::v1::PinDocuments> PinFiles::ReadOne(const std::string& file) const {
  ASSIGN_OR_RETURN(const std::string text, base::ReadFile(file, kMaxPinFile));
  trust::v1::PinDocuments documents;
  const auto parsed = google::protobuf::util::JsonStringToMessage(text, &documents);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, " is not what linchpin pins export writes: ", std::string(parsed.message())));
  }
  if (documents.trust_domain() != trust_domain_.name()) {
    return absl::FailedPreconditionError(absl::StrCat(file, " is of trust domain ",
                                                      trust::Quoted(documents.trust_domain()),
                                                      ", expected ", trust_domain_.name()));
  }
  return documents;
}

// A file that is wrong keeps no other out.
std::optional<PinFiles::Seen> PinFiles::Look() {
  Seen read;
  std::string now;
  const absl::StatusOr<std::vector<std::string>> files = FilesAt(path_);
  if (!files.ok()) read.faults.emplace_back(files.status().message());
  for (const std::string& file : files.value_or(std::vector<std::string>())) {
    absl::StatusOr<trust::v1::PinDocuments> documents = ReadOne(file);
    if (documents.ok()) {
      absl::StrAppend(&now, "+", documents->ByteSizeLong(), ":", documents->SerializeAsString());
      read.documents.push_back(*std::move(documents));
    } else {
      read.faults.emplace_back(documents.status().message());
    }
  }
  for (const std::string& fault : read.faults) absl::StrAppend(&now, "-", fault);
  if (seen_ == now) return std::nullopt;
  seen_ = std::move(now);
  return read;
}

}  // namespace linchpin::agent
