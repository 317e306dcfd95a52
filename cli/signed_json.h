// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What the JSON files of signed documents share: payload and signatures beside what people read,
// refused where the two disagree, so that nobody signs what they did not see.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "linchpin/trust/v1/trust.pb.h"

namespace linchpin::cli {

using Json = nlohmann::ordered_json;
using Signatures = google::protobuf::RepeatedPtrField<trust::v1::Signature>;

inline constexpr size_t kMaxPinSetDocument = 1 << 20;

// A name that is there twice is refused: JSON leaves open which of the two counts, and a signer who
// reads the file may see the other one. Discarded if it is no JSON.
absl::StatusOr<Json> ParseUnambiguous(absl::string_view text);

// Which kind of document this is, by the field that all of a kind begin with; "" if it is none.
std::string DocumentKind(const Json& json);

// INVALID_ARGUMENT: another form than the one that is known here, or a field that is none of
// `fields`.
absl::Status CheckForm(const Json& json, const std::string& kind,
                       const std::vector<std::string>& fields);

absl::StatusOr<std::string> Base64Field(const Json& object, const char* field);

// "payload" and "signatures" (at most 64).
struct SignedParts {
  std::string payload;
  Signatures signatures;
};
absl::StatusOr<SignedParts> DecodeSignedParts(const Json& json);
void EncodeSignedParts(absl::string_view payload, const Signatures& signatures, Json* json);

// INVALID_ARGUMENT unless json[field] shows just what `readable` does.
absl::Status CheckShown(const Json& json, const std::string& field, const Json& readable);

std::string DumpDocument(const Json& json);

}  // namespace linchpin::cli
