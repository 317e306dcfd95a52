// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "cli/output.h"

#include <google/protobuf/util/json_util.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "x509/spki_pin.h"

namespace linchpin::cli {

absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message, bool indented) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = indented;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto done = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!done.ok()) return absl::InternalError(absl::StrCat("no JSON: ", done.ToString()));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

absl::Status PrintJson(Session& session, const google::protobuf::Message& message) {
  ASSIGN_OR_RETURN(const std::string text, ToJson(message, true));
  session.out << text << "\n";
  return absl::OkStatus();
}

absl::Status PrintJsonLine(Session& session, const google::protobuf::Message& message) {
  ASSIGN_OR_RETURN(const std::string text, ToJson(message, false));
  session.out << text << std::endl;
  return absl::OkStatus();
}

std::string PinText(absl::string_view bytes) {
  const absl::StatusOr<x509::SpkiPin> pin = x509::SpkiPin::FromBytes(bytes);
  return pin.ok() ? pin->ToString() : absl::StrCat("malformed:", absl::BytesToHexString(bytes));
}

std::string TimeText(int64_t seconds) {
  return seconds == 0 ? "-" : TimeText(absl::FromUnixSeconds(seconds));
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string DurationText(int64_t seconds) {
  return seconds == 0 ? "default" : absl::FormatDuration(absl::Seconds(seconds));
}

std::string YesNo(bool yes) { return yes ? "yes" : "no"; }

std::string RelaxedText(int64_t until) {
  return until == 0 ? "" : absl::StrCat(", RELAXED until ", TimeText(until));
}

}  // namespace linchpin::cli
