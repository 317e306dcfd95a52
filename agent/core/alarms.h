// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Alarms that more than one event raises.
#pragma once

#include "agent/core/actions.h"
#include "trust/trust_acceptance.h"

namespace linchpin::agent {

// Wrong twins are left out and said: services that judge for themselves need none, those that
// cannot go on with the right ones. At most three sentences, however many there are.
void AlarmWrongTwins(const trust::TrustHeld& held, Actions* out);

}  // namespace linchpin::agent
