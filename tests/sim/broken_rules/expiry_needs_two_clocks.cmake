# Pins expire by whichever clock comes to it first.
set(SOURCE trust/pin_upkeep.cc)
set(FROM [==[  const bool expired = times.agreed >= ExpiryOf(held);
]==])
set(TO [==[  const bool expired = times.latest >= ExpiryOf(held);
]==])
