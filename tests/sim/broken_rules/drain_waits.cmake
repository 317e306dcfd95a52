# The old issuer leaves while certificates of it are valid.
set(SOURCE ca/core/rotation.cc)
set(FROM [==[  if (until > on.now) return NotDrained(on.tables, *issuer, until, on.now);
  return draft.Reach(v1::DRAINED]==])
set(TO [==[  static_cast<void>(until);
  return draft.Reach(v1::DRAINED]==])
