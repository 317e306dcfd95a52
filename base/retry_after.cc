// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "base/retry_after.h"

#include <google/protobuf/duration.pb.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/cord.h"

namespace linchpin::base {
namespace {

constexpr absl::Duration kMost = absl::Hours(24);
// message RetryInfo { google.protobuf.Duration retry_delay = 1; }
constexpr char kRetryDelayTag = 0x0a;
constexpr size_t kLongestDelay = 64;

}  // namespace

absl::Status WithRetryAfter(absl::Status status, absl::Duration delay) {
  delay = std::clamp(delay, absl::ZeroDuration(), kMost);
  google::protobuf::Duration message;
  message.set_seconds(absl::IDivDuration(delay, absl::Seconds(1), &delay));
  message.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(delay)));
  const std::string bytes = message.SerializeAsString();
  std::string info{kRetryDelayTag, static_cast<char>(bytes.size())};
  info += bytes;
  status.SetPayload(kRetryInfoType, absl::Cord(info));
  return status;
}

std::optional<absl::Duration> RetryAfter(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryInfoType);
  if (!payload.has_value()) return std::nullopt;
  const std::string info(*payload);
  if (info.size() < 2 || info.size() > kLongestDelay || info[0] != kRetryDelayTag ||
      static_cast<size_t>(info[1]) != info.size() - 2) {
    return std::nullopt;
  }
  google::protobuf::Duration message;
  if (!message.ParseFromString(info.substr(2))) return std::nullopt;
  const absl::Duration delay =
      absl::Seconds(message.seconds()) + absl::Nanoseconds(message.nanos());
  if (delay < absl::ZeroDuration()) return std::nullopt;
  return std::min(delay, kMost);
}

}  // namespace linchpin::base
