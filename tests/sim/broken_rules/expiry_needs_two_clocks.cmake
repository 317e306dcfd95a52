# Pins expire by whichever clock comes to it first.
set(SOURCE trust/pin_upkeep.cc)
set(FROM [==[(for_good ? times.agreed_once : times.agreed) >= ExpiryOf(held);
]==])
set(TO [==[times.latest >= ExpiryOf(held);
]==])
