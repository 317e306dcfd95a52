// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "trust/statement.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "trust/unknown_fields.h"

namespace linchpin::trust {
namespace {

constexpr size_t kMaxPayload = 4096;

}  // namespace

absl::Status MalformedStatement(absl::string_view what, absl::string_view entry,
                                absl::string_view fault) {
  return absl::InvalidArgumentError(
      absl::StrCat("the ", what, " is malformed: ", entry, ": ", fault));
}

absl::Status ParseStatement(absl::string_view what, absl::string_view payload,
                            google::protobuf::Message* message) {
  if (payload.empty() || payload.size() > kMaxPayload) {
    return MalformedStatement(
        what, "payload",
        absl::StrCat("it has ", payload.size(), " bytes, 1 to ", kMaxPayload, " are expected"));
  }
  if (!message->ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return MalformedStatement(
        what, "payload",
        absl::StrCat("these bytes are no ", message->GetDescriptor()->name(), " message"));
  }
  if (std::string unknown = FirstUnknownField(*message); !unknown.empty()) {
    return MalformedStatement(what, unknown,
                              "it is unknown here; a newer program is needed to read it");
  }
  return absl::OkStatus();
}

absl::StatusOr<TrustDomain> CheckStatement(absl::string_view what, absl::string_view trust_domain,
                                           uint64_t version, int64_t issued_at) {
  absl::StatusOr<TrustDomain> parsed = TrustDomain::FromName(trust_domain);
  if (!parsed.ok()) return MalformedStatement(what, "trust_domain", parsed.status().message());
  if (version == 0) {
    return MalformedStatement(what, "version", "it is 0; versions begin at 1, set 0 is unsigned");
  }
  if (issued_at <= 0 || issued_at > kLatestTime) {
    return MalformedStatement(what, "issued_at", absl::StrCat(issued_at, " is no time of issue"));
  }
  return parsed;
}

}  // namespace linchpin::trust
