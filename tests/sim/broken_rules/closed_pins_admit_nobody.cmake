# Pins that expired and say fail_closed go on as before.
set(SOURCE trust/judge.cc)
set(FROM [==[  if (pins.expired() && pins.on_expiry() == v1::PinSet::FAIL_CLOSED) {
]==])
set(TO [==[  if (false) {
]==])
