// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Certification path validation (RFC 5280 §6) at a given time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "x509/certificate.h"

namespace linchpin::x509 {

enum class PathError {
  kNone,
  kNoPath,  // no path from the leaf to an anchor
  kExpired,
  kNotYetValid,
  kBadSignature,
  kPathLength,
  kNameConstraint,
  kIssuerNotCa,  // a certificate issued another without being allowed to
  kWeakKey,
  kWeakSignature,
  kInvalid,  // anything else
};

struct PathResult {
  PathError error = PathError::kInvalid;
  size_t depth = 0;    // which certificate of the path failed, the leaf being 0
  std::string detail;  // a sentence: which certificate, what was expected, what was found
  // Leaf first, anchor last; set when error is kNone.
  Chain path;
  bool ok() const { return error == PathError::kNone; }
};

struct PathInputs {
  const Chain& chain;       // as the peer sent it, leaf first
  const Chain& anchors;     // trusted roots
  const Chain& candidates;  // issuers known beforehand; never trusted by themselves
  absl::Time now;
  absl::Duration skew;  // allowance on NotBefore only
};

// Valid paths, so that a chain seen before costs neither decoding nor a signature. `key` stands for
// all that made the path valid but the time: the bytes that were sent, anchors, candidates and
// skew; so a change of trust makes a new key. The times are checked at each use. Bounded (least
// recently used leaves); safe for concurrent use.
class PathMemo {
 public:
  explicit PathMemo(size_t most_entries = 1024);
  ~PathMemo();
  // Nothing if the path is not known or not valid at `now`: then another may be.
  std::optional<Chain> Find(const std::string& key, absl::Time now);
  // `path` is what ValidatePath() found with this skew.
  void Insert(const std::string& key, const Chain& path, absl::Duration skew);
  size_t hits() const;
  size_t misses() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Builds a path from chain[0] over the candidates and the rest of the chain to an anchor, trying
// every one that names and key ids allow (at most 16, of at most 8 intermediates), and checks each
// rule of RFC 5280 §6.1 (strict), keys and signatures at 112 bits of security or better. Extended
// key usage is the caller's to judge; certificate policies are not processed. An anchor is held to
// its own dates and constraints; only its signature counts for nothing. The leaf is never itself
// the anchor, so a path has at least two certificates; each is signed by the next. At most 16 may
// be sent.
PathResult ValidatePath(const PathInputs& inputs);

}  // namespace linchpin::x509
