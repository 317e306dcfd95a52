// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "rpc/status.h"

#include <algorithm>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"
#include "base/retry_after.h"
#include "linchpin/rpc/v1/status_details.pb.h"

namespace linchpin::rpc {
namespace {

constexpr size_t kMostBytes = 4096;
constexpr size_t kMostSaid = 1024;

// What goes along beside code and message; empty if nothing does.
std::string DetailsOf(const absl::Status& status, const std::string& message) {
  const auto retry = status.GetPayload(base::kRetryInfoType);
  if (!retry.has_value()) return "";
  v1::StatusDetails details;
  details.set_code(static_cast<int32_t>(status.code()));
  details.set_message(message);
  google::protobuf::Any* detail = details.add_details();
  detail->set_type_url(base::kRetryInfoType);
  detail->set_value(std::string(*retry));
  return details.SerializeAsString();
}

}  // namespace

absl::Status Shortened(const absl::Status& status) {
  const absl::string_view said = status.message();
  size_t size = std::min(said.size(), kMostSaid);
  while (size < said.size() && size > 0 && (said[size] & 0xc0) == 0x80) --size;  // within UTF-8
  absl::Status shortened(status.code(), said.substr(0, size));
  const auto retry = status.GetPayload(base::kRetryInfoType);
  if (retry.has_value() && retry->size() <= kMostBytes) {
    shortened.SetPayload(base::kRetryInfoType, *retry);
  }
  return shortened;
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string message(status.message().substr(0, kMostBytes));
  for (char& c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = ' ';
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      DetailsOf(status, message));
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const int code = static_cast<int>(status.error_code());
  const bool known = code > 0 && code <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  absl::Status result(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown,
                      status.error_message());
  v1::StatusDetails details;
  if (status.error_details().size() > kMostBytes ||
      !details.ParseFromString(status.error_details())) {
    return result;
  }
  for (const google::protobuf::Any& detail : details.details()) {
    if (detail.type_url() == base::kRetryInfoType) {
      result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
    }
  }
  return result;
}

}  // namespace linchpin::rpc
