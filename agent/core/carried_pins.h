// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// What files carry for the pins, and what became of it. A value.
#pragma once

#include <string>

#include "trust/pin_upkeep.h"

namespace linchpin::agent {

struct CarriedPins {
  trust::Carriers documents;
  // The version and the roots and issuers that they, and a relax document of the CA, were tried at
  // last: what was of no use then may be of use under others. Empty: they are to be tried.
  std::string tried_at;
  std::string faults;  // said last, of whatever came beside the CA's stream
};

}  // namespace linchpin::agent
