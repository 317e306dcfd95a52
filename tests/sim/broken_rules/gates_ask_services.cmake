# A node covers an epoch although a service on it does not enforce it yet.
set(SOURCE ca/core/coverage.cc)
set(FROM [==[    covered = std::min(covered, EpochOf(*node, consumer, now));
]==])
set(TO [==[    static_cast<void>(EpochOf(*node, consumer, now));
]==])
