// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Alarms and notes that more than one event raises.
#pragma once

#include "agent/core/actions.h"
#include "trust/trust_acceptance.h"

namespace linchpin::agent {

// Wrong twins are left out and said: services that judge for themselves need none, those that
// cannot go on with the right ones. At most three sentences, however many there are.
void AlarmWrongTwins(const trust::TrustHeld& held, Actions* out);

// Of trust that follows set 0: who was installed as signers, if anybody was. That happens once.
void NoteSigners(const trust::TrustHeld& held, Actions* out);

}  // namespace linchpin::agent
