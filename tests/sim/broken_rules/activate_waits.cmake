# The new issuer signs before everybody trusts it.
set(SOURCE ca/core/rotation.cc)
set(FROM [==[  if (!gate.open()) return GateClosed("linchpin rotate activate", gate);
]==])
set(TO [==[
]==])
