# Nobody waits for a node that is not connected.
set(SOURCE ca/core/coverage_gate.cc)
set(FROM [==[  if (now <= LeavesAt(view, node)) return true;
]==])
set(TO [==[  static_cast<void>(now);
]==])
