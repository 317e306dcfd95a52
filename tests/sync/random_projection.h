// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Projections and trust states that a seed reproduces.
#pragma once

#include "sync/projection.h"
#include "tests/support/seeded_random.h"

namespace linchpin::test {

// Up to `most` identities and rules each, drawn from a small world so that two projections overlap.
sync::Projection RandomProjection(SeededRandom& random, size_t most);
trust::v1::TrustState RandomTrust(SeededRandom& random, size_t most_revocations);

sync::Projection ProjectionOf(size_t identities, size_t selector_bytes);

}  // namespace linchpin::test
