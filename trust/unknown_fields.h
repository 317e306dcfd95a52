// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Finds fields that a message has and this program does not know: in a signed document, something
// that its signers meant and that would silently not be enforced.
#pragma once

#include <google/protobuf/message.h>

#include <string>

namespace linchpin::trust {

// "field 99 of linchpin.trust.v1.PinSet", or nothing. Looks into every message inside.
std::string FirstUnknownField(const google::protobuf::Message& message);

}  // namespace linchpin::trust
