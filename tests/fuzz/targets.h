// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Everything that reads bytes of a stranger, each as one function. libFuzzer runs one of them for
// as long as it is told to; the unit tests run all of them over their seeds.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace linchpin::fuzz {

// Aborts if the bytes break a promise of the parser; returns for good and bad input alike.
using Target = std::function<void(absl::string_view)>;

// By name. The seeds of a target are the files of tests/fuzz/corpus/NAME.
const std::map<std::string, Target>& Targets();

}  // namespace linchpin::fuzz
