// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Everything that reads bytes of a stranger, each as one function. libFuzzer runs one of them for
// as long as it is told to; the unit tests run all of them over their seeds.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace linchpin::fuzz {

// Aborts if the bytes break a promise of the parser; returns for good and bad input alike.
struct Target {
  Target(void (*of_bytes)(absl::string_view)) : run(of_bytes) {}  // NOLINT: a table's entry
  Target(std::function<void(absl::string_view)> of_bytes, const google::protobuf::Message& of)
      : run(std::move(of_bytes)), shape(&of) {}

  void operator()(absl::string_view bytes) const { run(bytes); }

  std::function<void(absl::string_view)> run;
  const google::protobuf::Message* shape = nullptr;  // of the bytes, where they are a message
};

// A target whose bytes are a message; others are passed over.
template <typename Message>
Target Of(void (*of_message)(const Message&)) {
  return Target(
      [of_message](absl::string_view bytes) {
        Message message;
        if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
        of_message(message);
      },
      Message::default_instance());
}

// By name. The seeds of a target are the files of tests/fuzz/corpus/NAME.
const std::map<std::string, Target>& Targets();

}  // namespace linchpin::fuzz
