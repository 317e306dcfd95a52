// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Stored records as people read them: what a change did, as JSON before and after. Pure.
#pragma once

#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "linchpin/ca/v1/operator.pb.h"

namespace linchpin::ca {

inline constexpr size_t kMaxRecordText = 2048;  // bytes; cut beyond

// What a record of each kind holds, by the beginning of its key, or the whole key.
const std::vector<std::pair<absl::string_view, const google::protobuf::Message*>>& RecordKinds();
// The message that the value of a store's record is; null where the kind is not known, or the value
// is no such message.
std::unique_ptr<google::protobuf::Message> ParseRecord(absl::string_view key,
                                                       absl::string_view value);

// What became of the record `key`. A null message: it was, or is, not there. Of a record that stays
// only the fields that differ. Field names are as in the .proto; times are RFC 3339; bytes are hex,
// beyond 64 of them length and SHA-256; a signed pin set shows the set. Fields that are named as
// secrets are never shown.
v1::ChangedRecord DescribeChange(absl::string_view key, const google::protobuf::Message* before,
                                 const google::protobuf::Message* after);

}  // namespace linchpin::ca
