# A service counts for the policy of now whatever rules it says that it enforces.
set(SOURCE ca/core/policy_coverage.cc)
set(FROM [==[  if (now_digest.empty() || consumer.said.trust_digest() != now_digest) {
]==])
set(TO [==[  if (now_digest.empty()) {
]==])
