# A relax document is honoured under a set that it was not made for.
set(SOURCE trust/relax.cc)
set(FROM [==[  if (ended) return absl::OkStatus();
]==])
set(TO [==[  static_cast<void>(ended);
]==])
set(FROM_2 [==[  if (cursor.signers.empty() || relax.message.version() != cursor.version) {
]==])
set(TO_2 [==[  if (cursor.signers.empty()) {
]==])
