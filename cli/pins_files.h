// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// The files that `pins` commands work on, and the set in force, as they need them.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "cli/pins_document.h"
#include "cli/relax_document.h"
#include "cli/session.h"
#include "linchpin/trust/v1/trust.pb.h"

namespace linchpin::cli {

using AnyDocument = std::variant<PinSetDocument, RelaxDocument, FreshnessDocument>;

// INVALID_ARGUMENT names the file: none of the three kinds, or one that is refused.
absl::StatusOr<AnyDocument> ReadAnyDocument(const std::string& path);
absl::StatusOr<PinSetDocument> ReadPinSetDocument(const std::string& path);

// What the CA carries; the last set of it, if there is one.
absl::StatusOr<trust::v1::TrustState> TrustOfCa(const Session& session);
absl::StatusOr<std::optional<PinSetDocument>> PublishedOf(const trust::v1::TrustState& state);

// The file's set, or the published one where no file is named. NOT_FOUND says how to begin.
absl::StatusOr<PinSetDocument> NamedOrPublished(const Session& session, const std::string& file);

// pins draft; pins relax, pins fresh.
void AddDraftCommand(CLI::App& group, Session& session);
void AddRelaxCommands(CLI::App& group, Session& session);

}  // namespace linchpin::cli
