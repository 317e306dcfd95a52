// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Signed pin sets that reach this node in files: what `linchpin pins export` writes, or a document
// as `linchpin pins sign` leaves it, put there by whatever distributes configuration. They
// authenticate themselves, the files need not.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "trust/pin_upkeep.h"
#include "trust/spiffe_id.h"

namespace linchpin::agent {

inline constexpr size_t kMaxPinFile = 1 << 20;
inline constexpr size_t kMaxPinFiles = 64;

// One thread. `path` is a file, or a directory whose *.json are read in the order of their names
// (of a mounted ConfigMap each is a symbolic link, and is followed).
class PinFiles {
 public:
  PinFiles(std::string path, trust::TrustDomain trust_domain)
      : path_(std::move(path)), trust_domain_(std::move(trust_domain)) {}

  struct Seen {
    trust::Carriers documents;        // of each file that is right
    std::vector<std::string> faults;  // which is not there, too large, not what was exported, or of
                                      // another trust domain: sentences
  };
  // What there is, if anything is otherwise than at the look before.
  std::optional<Seen> Look();

 private:
  absl::StatusOr<trust::v1::PinDocuments> ReadOne(const std::string& file) const;

  const std::string path_;
  const trust::TrustDomain trust_domain_;
  std::optional<std::string> seen_;  // the documents as bytes, and the sentences
};

}  // namespace linchpin::agent
