// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "x509/path.h"

#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "x509/openssl_error.h"
#include "x509/openssl_ptr.h"

namespace linchpin::x509 {
namespace {

constexpr size_t kMostCertificates = 10;  // of a path: leaf, eight intermediates, anchor
constexpr size_t kMostSent = 16;
constexpr int kMostAttempts = 16;  // paths whose signatures are checked
constexpr int kMostSteps = 512;    // pairs whose names are compared
constexpr int kAuthLevel = 2;      // 112 bits

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

// A name in an error: an attacker chose it, and its length.
std::string Short(const std::string& name) {
  constexpr size_t kMost = 160;
  if (name.empty()) return "an empty name";
  return name.size() <= kMost ? name : absl::StrCat(name.substr(0, kMost), "...");
}

std::string NameOf(size_t depth, const Certificate& certificate) {
  return absl::StrFormat("certificate %d of the path (%s, serial %s)", depth,
                         Short(certificate.fields().subject),
                         SerialText(certificate.fields().serial));
}

PathResult Failure(PathError error, size_t depth, std::string detail) {
  PathResult result;
  result.error = error;
  result.depth = depth;
  result.detail = std::move(detail);
  return result;
}

// RFC 5280 §4.1.2.5: "The validity period for a certificate is the period of time from notBefore
// through notAfter, inclusive."
std::optional<PathResult> CheckTimes(const Chain& path, const PathInputs& inputs) {
  for (size_t depth = path.size(); depth-- > 0;) {
    const CertificateFields& fields = path[depth].fields();
    if (fields.not_before > inputs.now + inputs.skew) {
      return Failure(
          PathError::kNotYetValid, depth,
          absl::StrCat(NameOf(depth, path[depth]), " is valid from ", TimeText(fields.not_before),
                       ", the clock here says ", TimeText(inputs.now)));
    }
    if (fields.not_after < inputs.now) {
      return Failure(
          PathError::kExpired, depth,
          absl::StrCat(NameOf(depth, path[depth]), " expired at ", TimeText(fields.not_after),
                       ", the clock here says ", TimeText(inputs.now)));
    }
  }
  return std::nullopt;
}

PathError ErrorOf(int code) {
  switch (code) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
    case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:
    case X509_V_ERR_AKID_SKID_MISMATCH:
    case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
    case X509_V_ERR_CERT_UNTRUSTED:
      return PathError::kNoPath;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE:
    case X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY:
      return PathError::kBadSignature;
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
      return PathError::kPathLength;
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
    case X509_V_ERR_SUBTREE_MINMAX:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE:
    case X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX:
    case X509_V_ERR_UNSUPPORTED_NAME_SYNTAX:
      return PathError::kNameConstraint;
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
    case X509_V_ERR_CA_CERT_MISSING_KEY_USAGE:
      return PathError::kIssuerNotCa;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_EC_KEY_EXPLICIT_PARAMS:
      return PathError::kWeakKey;
    case X509_V_ERR_CA_MD_TOO_WEAK:
      return PathError::kWeakSignature;
    default:
      return PathError::kInvalid;
  }
}

absl::string_view Expected(PathError error) {
  switch (error) {
    case PathError::kBadSignature:
      return "expected a signature by the key of its issuer";
    case PathError::kPathLength:
      return "more certificates follow it than its path length allows";
    case PathError::kNameConstraint:
      return "a name is outside the constraints of an issuer above it";
    case PathError::kIssuerNotCa:
      return "it issued another certificate without being a CA that may";
    case PathError::kWeakKey:
      return "expected a key of 112 bits of security or better";
    case PathError::kWeakSignature:
      return "expected a signature of 112 bits of security or better";
    default:
      return "it breaks a rule of RFC 5280";
  }
}

// One path that names and key ids allow: leaf first, anchor last.
using Attempt = std::vector<const Certificate*>;

Chain ToChain(const Attempt& attempt) {
  Chain chain;
  for (const Certificate* certificate : attempt) chain.push_back(*certificate);
  return chain;
}

bool PushBorrowed(STACK_OF(X509) * stack, const Certificate& certificate) {
  return sk_X509_push(stack, certificate.x509()) > 0;
}

// Keys that OpenSSL's levels let through and we do not (other curves, explicit parameters, DSA).
std::optional<PathResult> CheckKeys(const Chain& path) {
  for (size_t depth = 0; depth < path.size(); ++depth) {
    absl::Status status = path[depth].public_key().CheckStrength();
    if (status.ok()) continue;
    return Failure(PathError::kWeakKey, depth,
                   absl::StrCat(NameOf(depth, path[depth]), ": ", status.message()));
  }
  return std::nullopt;
}

// The certificate itself is judged, not what it is for: usage is the caller's. Times are checked
// by CheckTimes, which knows the skew.
bool Configure(X509_STORE_CTX* context) {
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_depth(param, static_cast<int>(kMostCertificates) - 2);
  X509_VERIFY_PARAM_set_auth_level(param, kAuthLevel);
  return X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT | X509_V_FLAG_TRUSTED_FIRST |
                                                X509_V_FLAG_NO_CHECK_TIME) == 1;
}

// OpenSSL may have reached the anchor earlier than the attempt, or through namesakes in another
// order. What it verified is then an attempt of its own: this one was not verified.
bool IsBuiltAs(X509_STORE_CTX* context, const Chain& path) {
  const STACK_OF(X509)* built = X509_STORE_CTX_get0_chain(context);
  if (sk_X509_num(built) != static_cast<int>(path.size())) return false;
  for (size_t i = 0; i < path.size(); ++i) {
    if (sk_X509_value(built, static_cast<int>(i)) != path[i].x509()) return false;
  }
  return true;
}

// Checks just this path: OpenSSL is given its certificates and none else, so nothing that a peer
// sends can lead it astray.
PathResult Verify(const Attempt& attempt, const PathInputs& inputs) {
  X509StoreCtxPtr context(X509_STORE_CTX_new());
  BorrowedStackPtr trusted(sk_X509_new_null());
  BorrowedStackPtr untrusted(sk_X509_new_null());
  bool ok = context != nullptr && trusted != nullptr && untrusted != nullptr &&
            PushBorrowed(trusted.get(), *attempt.back());
  for (size_t i = 1; ok && i + 1 < attempt.size(); ++i) {
    ok = PushBorrowed(untrusted.get(), *attempt[i]);
  }
  if (!ok ||
      X509_STORE_CTX_init(context.get(), nullptr, attempt.front()->x509(), untrusted.get()) != 1) {
    return Failure(PathError::kInvalid, 0,
                   std::string(OpenSslError(absl::StatusCode::kInternal, "validate").message()));
  }
  X509_STORE_CTX_set0_trusted_stack(context.get(), trusted.get());
  const Chain path = ToChain(attempt);
  if (!Configure(context.get()) || X509_verify_cert(context.get()) != 1) {
    const int code = X509_STORE_CTX_get_error(context.get());
    const int reported = std::max(X509_STORE_CTX_get_error_depth(context.get()), 0);
    const size_t depth = std::min(static_cast<size_t>(reported), path.size() - 1);
    const PathError error = code == X509_V_OK ? PathError::kInvalid : ErrorOf(code);
    return Failure(error, depth,
                   absl::StrCat(NameOf(depth, path[depth]), ": ", Expected(error), " (",
                                X509_verify_cert_error_string(code), ")"));
  }
  if (!IsBuiltAs(context.get(), path)) {
    return Failure(PathError::kInvalid, 0,
                   "the signatures make another path of its certificates than the names");
  }
  if (auto failure = CheckKeys(path)) return *std::move(failure);
  if (auto failure = CheckTimes(path, inputs)) return *std::move(failure);
  PathResult result;
  result.error = PathError::kNone;
  result.path = path;
  return result;
}

// Tries every path that names and key ids allow, candidates before what was sent, until one holds.
class Search {
 public:
  explicit Search(const PathInputs& inputs) : inputs_(inputs) {
    for (const Certificate& candidate : inputs.candidates) AddToPool(candidate);
    for (size_t i = 1; i < inputs.chain.size(); ++i) AddToPool(inputs.chain[i]);
  }

  PathResult Run() {
    const Certificate& leaf = inputs_.chain.front();
    for (const Certificate& anchor : inputs_.anchors) {
      if (anchor == leaf) {
        return Failure(PathError::kNoPath, 0,
                       absl::StrCat(NameOf(0, leaf), " is an anchor, expected one that it issued"));
      }
    }
    Attempt path = {&leaf};
    Extend(&path);
    if (found_.has_value()) return *std::move(found_);
    if (failure_.has_value()) return *std::move(failure_);
    const Certificate& last = *longest_.back();
    return Failure(
        PathError::kNoPath, longest_.size() - 1,
        absl::StrCat(NameOf(longest_.size() - 1, last), " was issued by ",
                     Short(last.fields().issuer),
                     ", which is neither an anchor nor among the certificates sent or known"));
  }

 private:
  // A self-signed certificate leads nowhere unless it is an anchor: twins and roots stay out.
  void AddToPool(const Certificate& certificate) {
    if ((X509_get_extension_flags(certificate.x509()) & EXFLAG_SS) != 0) return;
    for (const Certificate* known : pool_) {
      if (*known == certificate) return;
    }
    pool_.push_back(&certificate);
  }

  // By names and key ids; the signature is checked later.
  bool MayHaveIssued(const Certificate& issuer, const Certificate& subject) {
    return ++steps_ <= kMostSteps &&
           X509_check_issued(issuer.x509(), subject.x509()) != X509_V_ERR_SUBJECT_ISSUER_MISMATCH &&
           KeyIdsAgree(issuer, subject);
  }
  static bool KeyIdsAgree(const Certificate& issuer, const Certificate& subject) {
    const std::string& wanted = subject.fields().authority_key_id;
    const std::string& held = issuer.fields().subject_key_id;
    return wanted.empty() || held.empty() || wanted == held;
  }

  bool Done() const {
    return found_.has_value() || attempts_ >= kMostAttempts || steps_ >= kMostSteps;
  }

  void Extend(Attempt* path) {
    if (path->size() > longest_.size()) longest_ = *path;
    const Certificate& current = *path->back();
    for (const Certificate& anchor : inputs_.anchors) {
      if (Done()) return;
      if (!MayHaveIssued(anchor, current)) continue;
      path->push_back(&anchor);
      Try(*path);
      path->pop_back();
    }
    if (path->size() + 1 >= kMostCertificates) return;
    for (const Certificate* issuer : pool_) {
      if (Done()) return;
      if (std::find(path->begin(), path->end(), issuer) != path->end()) continue;
      if (*issuer == inputs_.chain.front() || !MayHaveIssued(*issuer, current)) continue;
      path->push_back(issuer);
      Extend(path);
      path->pop_back();
    }
  }

  void Try(const Attempt& path) {
    ++attempts_;
    PathResult result = Verify(path, inputs_);
    if (result.ok()) {
      found_ = std::move(result);
    } else if (!failure_.has_value() || (failure_->error == PathError::kBadSignature &&
                                         result.error != PathError::kBadSignature)) {
      // A namesake's bad signature says less than the fault of the path that was signed.
      failure_ = std::move(result);
    }
  }

  const PathInputs& inputs_;
  std::vector<const Certificate*> pool_;
  Attempt longest_;
  int attempts_ = 0;
  int steps_ = 0;
  std::optional<PathResult> found_;
  std::optional<PathResult> failure_;
};

}  // namespace

PathResult ValidatePath(const PathInputs& inputs) {
  ErrorQueueScope scope;
  if (inputs.chain.empty()) return Failure(PathError::kNoPath, 0, "no certificate was sent");
  if (inputs.chain.size() > kMostSent) {
    return Failure(PathError::kInvalid, 0,
                   absl::StrFormat("%d certificates were sent; at most %d are looked at",
                                   inputs.chain.size(), kMostSent));
  }
  return Search(inputs).Run();
}

}  // namespace linchpin::x509
